"""Ratings and reviews in Postgres."""

from datetime import datetime

from sqlalchemy import and_, delete, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import insert

from moviehub.adapters.postgres.rows import marked_of, rating_of
from moviehub.adapters.postgres.statements import Runs, Statement, an_id, cut, first, possible, skipped
from moviehub.adapters.postgres.tables import favorites, labelled, movies, parameters, ratings, scores, users
from moviehub.application.storage import Ratings
from moviehub.domain.movies import MarkedMovie, MovieNotFound
from moviehub.domain.pages import MOST_COUNTED, Page, PageRequest
from moviehub.domain.ratings import Opinion, Rating, RatingNotFound, Review

_OF_USER = ratings.c.user_id == an_id("user_id")
_THE_ONE = and_(_OF_USER, ratings.c.movie_id == an_id("movie_id"))
_GET = select(*labelled(ratings)).where(_THE_ONE)

_insert = insert(ratings).values(parameters(ratings))
_saved = (
    _insert.on_conflict_do_update(
        index_elements=[ratings.c.user_id, ratings.c.movie_id],
        set_={name: _insert.excluded[name] for name in ("rating", "review", "updated_at")},
    )
    # A row that was there has been locked by this statement and says so in xmax; a new one has nothing there.
    .returning(*ratings.c, literal_column("(xmax = 0)").label("created"))
    .cte("saved")
)
SAVE = Statement(
    select(*labelled(_saved, ratings), *labelled(movies), *labelled(favorites))
    .select_from(_saved)
    .join(movies, movies.c.id == _saved.c.movie_id)
    .outerjoin(favorites, and_(favorites.c.user_id == _saved.c.user_id, favorites.c.movie_id == _saved.c.movie_id)),
    reads=False,
)
GET = Statement(_GET)
GET_LOCKED = Statement(_GET.with_for_update(key_share=True), reads=False)
REMOVE = Statement(delete(ratings).where(_THE_ONE).returning(ratings.c.id.label("id")))
_page = cut(ratings, _OF_USER, ratings.c.updated_at.desc(), ratings.c.id.desc())
LIST = Statement(
    select(
        *labelled(_page, ratings),
        *labelled(movies),
        *labelled(favorites),
        select(func.count()).select_from(ratings).where(_OF_USER).scalar_subquery().label("total"),
    )
    .select_from(_page)
    .join(movies, movies.c.id == _page.c.movie_id)
    .outerjoin(favorites, and_(favorites.c.user_id == _page.c.user_id, favorites.c.movie_id == _page.c.movie_id))
    .order_by(_page.c.updated_at.desc(), _page.c.id.desc())
)
_REVIEWS = and_(ratings.c.movie_id == an_id("movie_id"), ratings.c.review.is_not(None))
_reviews = cut(ratings, _REVIEWS, ratings.c.updated_at.desc(), ratings.c.id.desc())
_reviewed = select(func.coalesce(func.sum(scores.c.reviews_count), 0)).where(scores.c.movie_id == an_id("movie_id"))
LIST_REVIEWS = Statement(
    # A film without a review on this page gives one row without a name, an unknown one gives none.
    select(
        users.c.username,
        _reviews.c.rating,
        _reviews.c.review,
        _reviews.c.updated_at,
        func.least(_reviewed.scalar_subquery(), literal_column(str(MOST_COUNTED))).label("total"),
    )
    .select_from(movies)
    .outerjoin(_reviews.join(users, users.c.id == _reviews.c.user_id), true())
    .where(movies.c.id == an_id("movie_id"))
    .order_by(_reviews.c.updated_at.desc(), _reviews.c.id.desc())
)


class PostgresRatings(Ratings):
    """Ratings; with `locking`, `get` keeps the row from others until the transaction ends."""

    def __init__(self, run: Runs, *, locking: bool) -> None:
        self._run = run
        self._get = GET_LOCKED if locking else GET

    async def save(self, user_id: int, movie_id: int, opinion: Opinion, at: datetime) -> tuple[MarkedMovie, bool]:
        (row,) = await self._run.rows(
            SAVE,
            user_id=possible(user_id),
            movie_id=possible(movie_id),
            rating=opinion.score,
            review=opinion.review,
            created_at=at,
            updated_at=at,
        )
        return marked_of(row), row["ratings_created"]

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
        values = {"user_id": possible(user_id), "size": page.size, "skipped": skipped(page)}
        rows = await self._run.rows(LIST, **values)
        # No row on a later page means that it is past the end, wherever that is.
        return Page(tuple(map(marked_of, rows)), rows[0]["total"] if rows else 0, page)

    async def reviews(self, movie_id: int, page: PageRequest) -> Page[Review]:
        start = min(page.offset, MOST_COUNTED)
        size = min(page.size, MOST_COUNTED - start)
        rows = await self._run.rows(LIST_REVIEWS, movie_id=possible(movie_id), size=size, skipped=start)
        if not rows:
            raise MovieNotFound()
        reviews = (
            Review(row["username"], row["rating"], row["review"], row["updated_at"]) for row in rows if row["username"]
        )
        return Page(tuple(reviews), rows[0]["total"], page)
