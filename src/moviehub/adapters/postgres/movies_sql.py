"""The statements about films, but for lists of them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Table,
    and_,
    func,
    or_,
    select,
    update,
)

from moviehub.adapters.postgres.rows import MOVIE
from moviehub.adapters.postgres.statements import (
    Statement,
    a_number,
    an_id,
    an_instant,
    ids,
)
from moviehub.adapters.postgres.tables import favorites, labelled, movies, ratings, scores
from moviehub.domain.movies import FRESH_FOR, MovieFacts

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
