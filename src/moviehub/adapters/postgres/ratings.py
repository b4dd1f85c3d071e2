"""Ratings and reviews in Postgres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    SmallInteger,
    Subquery,
    Text,
    and_,
    delete,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert

from moviehub.adapters.postgres.films import VERSIONED, IdentityMap
from moviehub.adapters.postgres.rows import MOVIE, favorite_of, mark_of, movie_of, rating_of
from moviehub.adapters.postgres.statements import (
    Columns,
    Row,
    Runs,
    Statement,
    a_list,
    an_id,
    behind,
    cut,
    first,
    ids,
    of_many,
    possible,
    window,
)
from moviehub.adapters.postgres.tables import favorites, labelled, movies, ratings, scores, users
from moviehub.adapters.postgres.together import Together
from moviehub.application.batch import Batch
from moviehub.application.storage import Ratings
from moviehub.domain.errors import MovieHubError, Unavailable
from moviehub.domain.movies import Mark, MarkedMovie, MovieNotFound
from moviehub.domain.pages import MOST_COUNTED, Cursor, Page, PageRequest
from moviehub.domain.ratings import Opinion, Rating, RatingNotFound, Review

_OF_USER = ratings.c.user_id == an_id("user_id")
_THE_ONE = and_(_OF_USER, ratings.c.movie_id == an_id("movie_id"))
_GET = select(*labelled(ratings)).where(_THE_ONE)

_told = (
    func.unnest(
        ids("user_ids"),
        ids("movie_ids"),
        a_list("scores", SmallInteger()),
        a_list("reviews", Text()),
        a_list("instants", DateTime(timezone=True)),
    )
    .table_valued("user_id", "movie_id", "rating", "review", "at")
    .render_derived("told")
)
# In the order of the scores that they count in, or two who write the same would wait for each other.
_insert = insert(ratings).from_select(
    ["user_id", "movie_id", "rating", "review", "created_at", "updated_at"],
    select(_told.c.user_id, _told.c.movie_id, _told.c.rating, _told.c.review, _told.c.at, _told.c.at).order_by(
        _told.c.movie_id, literal_column("told.user_id % 8"), _told.c.user_id
    ),
)
_saved = (
    _insert.on_conflict_do_update(
        index_elements=[ratings.c.user_id, ratings.c.movie_id],
        set_={name: _insert.excluded[name] for name in ("rating", "review", "updated_at")},
    )
    # This statement has just taken a number, which a new row has and one that was there has not. (What is more common,
    # to look at xmax, cannot be done where the table is partitioned.)
    .returning(*ratings.c, (ratings.c.id == func.lastval()).label("created"))
    .cte("saved")
)
# One by one: of a small table, the planner would read all that there is for each statement.
_marked = (
    select(favorites)
    .where(favorites.c.user_id == _saved.c.user_id, favorites.c.movie_id == _saved.c.movie_id)
    .limit(literal_column("1"))
    .lateral("marked")
)
SAVE = Statement(
    select(*labelled(_saved, ratings), *MOVIE, *labelled(_marked, favorites))
    .select_from(_saved)
    .join(movies, movies.c.id == _saved.c.movie_id)
    .outerjoin(_marked, true()),
    reads=False,
)
GET = Statement(_GET)
GET_LOCKED = Statement(_GET.with_for_update(key_share=True), reads=False)
REMOVE = Statement(delete(ratings).where(_THE_ONE).returning(ratings.c.id.label("id")))

_AFTER = behind(ratings.c.updated_at, ratings.c.id)
_ORDER = (ratings.c.updated_at.desc(), ratings.c.id.desc())


def _newest_first(found: Columns) -> Sequence[ColumnElement[Any]]:
    return [found["ratings_updated_at"].desc(), found["ratings_id"].desc()]


def _listed(page: Subquery) -> Select[*tuple[Any, ...]]:
    return (
        select(*labelled(page, ratings), *VERSIONED, *labelled(favorites))
        .select_from(page)
        .join(movies, movies.c.id == page.c.movie_id)
        .outerjoin(favorites, and_(favorites.c.user_id == page.c.user_id, favorites.c.movie_id == page.c.movie_id))
        .order_by(page.c.updated_at.desc(), page.c.id.desc())
    )


_list = _listed(cut(ratings, _OF_USER, *_ORDER)).add_columns(
    select(func.count()).select_from(ratings).where(_OF_USER).scalar_subquery().label("total")
)
_list_after = _listed(cut(ratings, and_(_OF_USER, _AFTER), *_ORDER))
LIST, LIST_AFTER = Statement(_list), Statement(_list_after)
LISTS, LISTS_AFTER = of_many(_list, _newest_first), of_many(_list_after, _newest_first)
_REVIEWS = and_(ratings.c.movie_id == an_id("movie_id"), ratings.c.review.is_not(None))
_reviewed = select(func.coalesce(func.sum(scores.c.reviews_count), 0)).where(scores.c.movie_id == an_id("movie_id"))


def _reviewed_by(page: Subquery) -> Select[*tuple[Any, ...]]:
    # A film without a review on this page gives one row without a name, an unknown one gives none.
    return (
        select(users.c.username, *labelled(page, ratings))
        .select_from(movies)
        .outerjoin(page.join(users, users.c.id == page.c.user_id), true())
        .where(movies.c.id == an_id("movie_id"))
        .order_by(page.c.updated_at.desc(), page.c.id.desc())
    )


_reviews = _reviewed_by(cut(ratings, _REVIEWS, *_ORDER)).add_columns(
    func.least(_reviewed.scalar_subquery(), literal_column(str(MOST_COUNTED))).label("total")
)
_reviews_after = _reviewed_by(cut(ratings, and_(_REVIEWS, _AFTER), *_ORDER))
LIST_REVIEWS, LIST_REVIEWS_AFTER = Statement(_reviews), Statement(_reviews_after)
LISTS_OF_REVIEWS, LISTS_OF_REVIEWS_AFTER = of_many(_reviews, _newest_first), of_many(_reviews_after, _newest_first)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What one person says of one film, each time they say it."""

    user_id: int
    movie_id: int
    opinion: Opinion
    at: datetime


Saved = tuple[MarkedMovie, bool]

MOST_TOGETHER = 100
"""So many ratings one statement keeps at most."""


class PostgresRatings(Ratings):
    """Ratings; with `locking`, `get` keeps the row from others until the transaction ends.

    With `together`, calls of `save` that come at once are one transaction, so that all wait for the disk once. If
    `sharing`, calls of `list` that coincide share statements, and those of `reviews`.
    """

    def __init__(
        self, run: Runs, films: IdentityMap, *, locking: bool, together: bool = False, sharing: bool = False
    ) -> None:
        self._run = run
        self._films = films
        self._get = GET_LOCKED if locking else GET
        self._batch: Batch[Told, Saved | MovieHubError] | None = None
        if together:
            self._batch = Batch(lambda told: saved_each(run, told))
        self._list = Together(run, LIST, LISTS if sharing else None)
        self._list_after = Together(run, LIST_AFTER, LISTS_AFTER if sharing else None)
        self._reviews = Together(run, LIST_REVIEWS, LISTS_OF_REVIEWS if sharing else None)
        self._reviews_after = Together(run, LIST_REVIEWS_AFTER, LISTS_OF_REVIEWS_AFTER if sharing else None)

    async def save(self, user_id: int, movie_id: int, opinion: Opinion, at: datetime) -> Saved:
        told = Told(possible(user_id), possible(movie_id), opinion, at)
        if self._batch is None:
            return (await saved(self._run, [told]))[told]
        found = await self._batch.find(told)
        assert found is not None
        if isinstance(found, MovieHubError):
            raise found
        return found

    async def get(self, user_id: int, movie_id: int) -> Rating:
        row = first(await self._run.rows(self._get, user_id=possible(user_id), movie_id=possible(movie_id)))
        rating = rating_of(row) if row else None
        if rating is None:
            raise RatingNotFound()
        return rating

    async def remove(self, user_id: int, movie_id: int) -> None:
        if not await self._run.rows(REMOVE, user_id=possible(user_id), movie_id=possible(movie_id)):
            raise RatingNotFound()

    async def list(self, user_id: int, page: PageRequest) -> Page[MarkedMovie]:
        asked = self._list if page.after is None else self._list_after
        rows = await asked.rows(user_id=possible(user_id), **window(page))
        # No row on a later page means that it is past the end, wherever that is.
        total = None if page.after else rows[0]["total"] if rows else 0
        found = Page.cut(rows, page.size, total, page, _place)
        return await self._films.fill(self._run, found, lambda row, movie: MarkedMovie(movie, mark_of(row)))

    async def reviews(self, movie_id: int, page: PageRequest) -> Page[Review]:
        start = min(page.offset, MOST_COUNTED)
        size = min(page.size, MOST_COUNTED - start)
        asked = self._reviews if page.after is None else self._reviews_after
        rows = await asked.rows(movie_id=possible(movie_id), **{**window(page), "size": size + 1, "skipped": start})
        if not rows:
            raise MovieNotFound()
        written = [row for row in rows if row["username"]]
        return Page.cut(written, size, None if page.after else rows[0]["total"], page, _place).map(_review)


def _place(row: Row) -> Cursor:
    return Cursor(row["ratings_updated_at"], row["ratings_id"])


def _review(row: Row) -> Review:
    return Review(row["username"], row["ratings_rating"], row["ratings_review"], row["ratings_updated_at"])


async def saved(run: Runs, told: Sequence[Told]) -> Mapping[Told, Saved]:
    """What was told, kept by one statement: of each person and film once."""
    rows = await run.rows(
        SAVE,
        user_ids=[one.user_id for one in told],
        movie_ids=[one.movie_id for one in told],
        scores=[one.opinion.score for one in told],
        reviews=[one.opinion.review for one in told],
        instants=[one.at for one in told],
    )
    found = {(row["ratings_user_id"], row["ratings_movie_id"]): row for row in rows}
    return {one: _saved_of(one, found[one.user_id, one.movie_id]) for one in told}


def _saved_of(told: Told, row: Row) -> Saved:
    rating = Rating(
        id=row["ratings_id"],
        user_id=told.user_id,
        movie_id=told.movie_id,
        opinion=told.opinion,
        created_at=row["ratings_created_at"],
        updated_at=row["ratings_updated_at"],
    )
    return MarkedMovie(movie_of(row), Mark(favorite_of(row), rating)), row["ratings_created"]


async def saved_each(run: Runs, told: Sequence[Told]) -> Mapping[Told, Saved | MovieHubError]:
    """The same for any number of opinions; what keeps one of them from being kept is told of that one alone."""
    done: dict[Told, Saved | MovieHubError] = {}
    while left := [one for one in told if one not in done]:
        turn: dict[tuple[int, int], Told] = {}
        for one in left[:MOST_TOGETHER]:  # who says two things of one film has the second in the next turn
            turn.setdefault((one.user_id, one.movie_id), one)
        some = list(turn.values())
        try:
            done |= await saved(run, some)
        except Unavailable as fault:
            done |= dict.fromkeys(left, fault)
        except MovieHubError as fault:
            if len(some) == 1:
                done[some[0]] = fault
            else:  # of one of them, and none is kept yet
                for one in some:
                    done |= await saved_each(run, [one])
    return done
