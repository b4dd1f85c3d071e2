"""The statements about films; lists have one for each combination of filters and order, made when first asked for."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Date,
    Double,
    Integer,
    Table,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from moviehub.adapters.postgres.films import VERSIONED
from moviehub.adapters.postgres.rows import MOVIE
from moviehub.adapters.postgres.signposts import MOST_BEHIND
from moviehub.adapters.postgres.statements import (
    MOST_INTEGER,
    Statement,
    a_number,
    a_text,
    an_id,
    an_instant,
    behind,
    containing,
    ids,
    possible,
    unseen,
)
from moviehub.adapters.postgres.tables import favorites, labelled, movies, ratings, scores
from moviehub.domain.movies import FRESH_FOR, MovieFacts, MovieFilter
from moviehub.domain.pages import MOST_COUNTED, MOST_PER_PAGE
from moviehub.domain.text import LIKE_ENOUGH, indexed_words

GET = Statement(select(*MOVIE).where(movies.c.id == an_id("movie_id")))
FIND_BY_TMDB = Statement(select(*MOVIE).where(movies.c.tmdb_id == an_id("tmdb_id")))
DROP = Statement(
    update(movies)
    .where(movies.c.id == an_id("movie_id"))
    .values(dropped_at=func.coalesce(movies.c.dropped_at, an_instant("at")), fetched_at=an_instant("at"))
    .returning(movies.c.id.label("id"))
)
_outdated = (
    select(*MOVIE)
    .where(movies.c.fetched_at < an_instant("fetched_before"))
    .order_by(movies.c.fetched_at, movies.c.id)
    .limit(a_number("most"))
)
OUTDATED = Statement(_outdated)
OUTDATED_OF = Statement(_outdated.where(movies.c.tmdb_id == func.any(ids("tmdb_ids"))))

_scores = (
    select(
        scores.c.movie_id,
        func.sum(scores.c.ratings_sum).label("score_sum"),
        func.sum(scores.c.ratings_count).label("score_count"),
    )
    .where(scores.c.movie_id == func.any(ids("movie_ids")))
    .group_by(scores.c.movie_id)
    .subquery("scores")
)
DETAIL = Statement(
    select(*MOVIE, _scores.c.score_sum, _scores.c.score_count)
    .outerjoin_from(movies, _scores, _scores.c.movie_id == movies.c.id)
    .where(movies.c.id == func.any(ids("movie_ids")))
)

_seen = func.unnest(ids("user_ids"), ids("movie_ids")).table_valued("user_id", "movie_id").render_derived("seen")


def _of_seen(table: Table) -> ColumnElement[bool]:
    return and_(table.c.user_id == _seen.c.user_id, table.c.movie_id == _seen.c.movie_id)


MARKS = Statement(  # of pairs of a person and a film, so that one statement can answer many people
    select(*labelled(favorites), *labelled(ratings), _seen.c.user_id, _seen.c.movie_id)
    .select_from(_seen.outerjoin(favorites, _of_seen(favorites)).outerjoin(ratings, _of_seen(ratings)))
    .where(or_(favorites.c.id.is_not(None), ratings.c.id.is_not(None)))
)

_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "search": movies.c.title_key.like(a_text("search")),
    # Not for an index. Of what is no column, the planner takes it that few have it, and does not walk to find one.
    "sought": (movies.c.title_key + literal_column("''")).like(a_text("sought")),
    "genres": movies.c.genre_ids.overlap(bindparam("genres", type_=ARRAY(Integer))),
    "languages": movies.c.original_language == func.any(bindparam("languages", type_=ARRAY(Text))),
    "release_year": and_(
        movies.c.release_date >= bindparam("release_year", type_=Date),
        movies.c.release_date < bindparam("next_year", type_=Date),
    ),
    "min_rating": movies.c.vote_average >= bindparam("min_rating", type_=Double),
    "max_rating": movies.c.vote_average <= bindparam("max_rating", type_=Double),
    "min_popularity": movies.c.popularity >= bindparam("min_popularity", type_=Double),
    "except_id": movies.c.id != an_id("except_id"),
}


def filter_values(wanted: MovieFilter) -> dict[str, Any]:
    """The filters that narrow something, as parameters."""
    values: dict[str, Any] = {
        "min_rating": wanted.min_rating,
        "max_rating": wanted.max_rating,
        "min_popularity": wanted.min_popularity,
    }
    if wanted.search_key:
        values["search"] = containing(wanted.search_key)
        if len(set(words := indexed_words(wanted.search_key))) > 1:  # of one word too many would be found
            values |= {"search": containing(*words), "sought": containing(wanted.search_key)}
    if wanted.genres:  # without those that cannot be, even if that leaves none: then no film has any of them
        values["genres"] = [number for number in wanted.genres if abs(number) <= MOST_INTEGER]
    if wanted.languages:
        values["languages"] = wanted.languages
    if wanted.release_year is not None:
        values["release_year"] = date(wanted.release_year, 1, 1)
        values["next_year"] = date(wanted.release_year + 1, 1, 1)
    if wanted.except_id is not None:
        values["except_id"] = possible(wanted.except_id)
    return {name: value for name, value in values.items() if value is not None}


def _key_column(column: str) -> Column[Any]:
    return movies.c.title_key if column == "title" else movies.c[column]


Part = Literal["all", "behind", "keyless"]
"""Of which part of a list to tell: all of it, what has a key and comes after a place, what has none and does."""


@lru_cache(maxsize=512)
def list_statement(narrowed_by: frozenset[str], column: str, descending: bool, part: Part = "all") -> Statement:
    """A page of the films that meet these conditions, in this order: which they are, and the key of each.

    Behind a place at most `MOST_BEHIND` may be skipped.
    """
    key = _key_column(column)
    last = movies.c.id.desc() if descending else movies.c.id.asc()
    order = [key.desc() if descending else key.asc(), last]
    if column == "release_date":
        order[0] = order[0].nulls_last()
    conditions = [condition for name, condition in _CONDITIONS.items() if name in narrowed_by]
    if part == "behind":
        conditions.append(behind(key, movies.c.id, descending=descending, hidden=not narrowed_by))
    elif part == "keyless":
        after = an_id("after_id") if narrowed_by else unseen(an_id("after_id"))
        conditions += [key.is_(None), movies.c.id < after if descending else movies.c.id > after]
    found = select(*VERSIONED, key.label("key")).order_by(*order)
    if narrowed_by:
        # Which they are is found on an index alone where one has all that the conditions ask for, and only the films of
        # the page itself are read.
        page = select(movies.c.id).where(*conditions).order_by(*order)
        page = page.limit(a_number("size")).offset(a_number("skipped"))
        return Statement(found.where(movies.c.id == func.any(func.array(page.scalar_subquery()))))
    # How to read the whole list is plain whatever the page, and planning it anew each time costs more than reading it.
    # Conditions the planner should see.
    size, skipped = unseen(a_number("size")), unseen(a_number("skipped"))
    if part == "all":  # skipping is done on the index alone, and only the films of the page itself are read
        page = select(movies.c.id).order_by(*order).limit(size).offset(skipped)
        return Statement(found.where(movies.c.id == func.any(func.array(page.scalar_subquery()))))
    # This number the planner sees: else it would take them for a part of all, and think of reading all.
    few = found.where(*conditions).limit(literal_column(str(MOST_BEHIND + MOST_PER_PAGE + 1))).subquery("few")
    return Statement(select(few).limit(size).offset(skipped))


@lru_cache(maxsize=256)
def count_statement(narrowed_by: frozenset[str]) -> Statement:
    """How many films meet these conditions, up to the number at which counting stops."""
    conditions = [condition for name, condition in _CONDITIONS.items() if name in narrowed_by]
    found = select(literal_column("1")).select_from(movies).where(*conditions).limit(MOST_COUNTED).subquery()
    return Statement(select(func.count().label("total")).select_from(found))


COMPARES_TITLES = Statement("SELECT to_regoperator('%>(text,text)') IS NOT NULL AS compares", reads=True)
"""Whether the server has pg_trgm."""


@lru_cache(maxsize=256)
def closest_statement(narrowed_by: frozenset[str]) -> Statement:
    """A page of the films whose title is most like a search, and that meet these conditions.

    Each of the `words` must be in it with a typing error at most; the index is asked for the `longest`.
    """
    # What is like enough for the operator that an index knows is a setting. It is set where the operator's argument is
    # read, thus before the first comparison, and until the end of this transaction alone.
    settled = func.set_config("pg_trgm.word_similarity_threshold", str(LIKE_ENOUGH), true())
    longest = select(a_text("longest")).select_from(settled).scalar_subquery()
    word = func.unnest(bindparam("words", type_=ARRAY(Text))).column_valued("word")
    each = select(func.word_similarity(word, movies.c.title_key)).correlate(movies).scalar_subquery()
    likeness = func.word_similarity(a_text("sought"), movies.c.title_key).label("likeness")
    conditions = [condition for name, condition in _CONDITIONS.items() if name in narrowed_by]
    order: list[Any] = [literal_column("likeness").desc(), movies.c.popularity.desc(), movies.c.id]
    found = (
        select(movies.c.id, likeness)
        .where(
            movies.c.title_key.op("%>", is_comparison=True)(longest),
            literal_column(str(LIKE_ENOUGH)) <= func.all(each),
            *conditions,
        )
        .order_by(*order)
        .limit(literal_column(str(MOST_COUNTED)))
        .cte("found")
    )
    return Statement(
        select(*MOVIE, select(func.count()).select_from(found).scalar_subquery().label("total"))
        .join_from(found, movies, movies.c.id == found.c.id)
        .order_by(*order)
        .limit(a_number("size"))
        .offset(a_number("skipped"))
    )


_TOLD = {
    "tmdb_id": "bigint",
    "title": "text",
    "title_key": "text",
    "overview": "text",
    "release_date": "date",
    "poster_path": "text",
    "backdrop_path": "text",
    "popularity": "double precision",
    "vote_average": "double precision",
    "vote_count": "bigint",
    "original_language": "text",
    "genre_ids": "text",  # as '{1,2}', since unnest would flatten a list of lists
}
_FACTS = [name for name in _TOLD if name not in ("tmdb_id", "title_key")]


def _each(names: Iterable[str], form: str) -> str:
    return ", ".join(form.format(name) for name in names)


_AT, _OLD_BEFORE = f"${len(_TOLD) + 1}", f"${len(_TOLD) + 2}"
_OLD_FACTS = _each(_FACTS, "movies.{}")

# Rows that need no write are left out before the upsert, which else would lock them and use up an id for each. They
# are written in the order of their ids, so that two such statements at once wait for each other but never in a circle.
REMEMBER = Statement(
    f"""
    WITH told AS (
        SELECT {_each(_FACTS[:-1], "{}")}, tmdb_id, title_key, genre_ids::integer[] AS genre_ids
        FROM unnest({", ".join(f"${number}::{kind}[]" for number, kind in enumerate(_TOLD.values(), 1))})
            AS told ({_each(_TOLD, "{}")})
    ), known AS (
        SELECT movies.*, ({_OLD_FACTS}) IS DISTINCT FROM ({_each(_FACTS, "told.{}")}) AS changed
        FROM told JOIN movies USING (tmdb_id)
    ), written AS (
        INSERT INTO movies ({_each(_TOLD, "{}")}, created_at, updated_at, fetched_at)
        SELECT {_each(_TOLD, "told.{}")}, {_AT}, {_AT}, {_AT}
        FROM told LEFT JOIN known USING (tmdb_id)
        WHERE known.id IS NULL OR known.changed OR known.dropped_at IS NOT NULL OR known.fetched_at < {_OLD_BEFORE}
        ORDER BY tmdb_id
        ON CONFLICT (tmdb_id) DO UPDATE SET
            {_each([*_FACTS, "title_key"], "{0} = excluded.{0}")},
            updated_at = CASE
                WHEN ({_OLD_FACTS}) IS DISTINCT FROM ({_each(_FACTS, "excluded.{}")}) THEN excluded.updated_at
                ELSE movies.updated_at
            END,
            fetched_at = excluded.fetched_at,
            dropped_at = NULL
        WHERE ({_OLD_FACTS}) IS DISTINCT FROM ({_each(_FACTS, "excluded.{}")})
            OR movies.dropped_at IS NOT NULL OR movies.fetched_at < {_OLD_BEFORE}
        RETURNING id, tmdb_id, created_at, updated_at, fetched_at
    )
    SELECT id, tmdb_id, created_at, updated_at, fetched_at FROM written
    UNION ALL
    SELECT id, tmdb_id, created_at, updated_at, fetched_at FROM known
    WHERE NOT EXISTS (SELECT FROM written WHERE written.id = known.id)
    """,  # noqa: S608 - only the column names above are put in
    *_TOLD,
    "at",
    "old_before",
    reads=False,
)
READ_REMEMBERED = Statement(
    select(movies.c.id, movies.c.tmdb_id, movies.c.created_at, movies.c.updated_at, movies.c.fetched_at).where(
        movies.c.tmdb_id == func.any(ids("tmdb_ids"))
    )
)


def remember_values(facts: Iterable[MovieFacts], at: datetime) -> dict[str, Any]:
    """The parameters of `REMEMBER`: a list for each column."""
    told = list(facts)
    values: dict[str, Any] = {name: [getattr(one, name) for one in told] for name in _TOLD if name != "genre_ids"}
    values["genre_ids"] = ["{" + ",".join(map(str, one.genre_ids)) + "}" for one in told]
    return {**values, "at": at, "old_before": at - FRESH_FOR / 2}
