"""Films in Postgres."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from moviehub.adapters.postgres.counts import Counts
from moviehub.adapters.postgres.films import IdentityMap
from moviehub.adapters.postgres.lists_sql import (
    COMPARES_TITLES,
    Part,
    closest_statement,
    count_statement,
    filter_values,
    list_statement,
)
from moviehub.adapters.postgres.movies_sql import (
    DETAIL,
    DROP,
    FIND_BY_TMDB,
    GET,
    MARKS,
    OUTDATED,
    OUTDATED_OF,
    READ_REMEMBERED,
    REMEMBER,
    remember_values,
)
from moviehub.adapters.postgres.rows import mark_of, movie_of
from moviehub.adapters.postgres.signposts import Places, Signposts
from moviehub.adapters.postgres.statements import MOST_BIGINT, Row, Runs, first, place_values, possible
from moviehub.adapters.postgres.together import Together
from moviehub.application.batch import Batch, Turns
from moviehub.application.storage import Movies
from moviehub.domain.movies import Mark, Movie, MovieDetail, MovieFacts, MovieFilter, MovieNotFound
from moviehub.domain.pages import MOST_COUNTED, Cursor, Page, PageRequest
from moviehub.domain.ratings import Score
from moviehub.domain.text import telling_words

MOST_PAIRS = 500
"""Of so many people and films one statement tells the marks. Asked of very many, Postgres would read all there are."""

Sight = tuple[int, tuple[int, ...]]
"""Who looks, at which films."""


class PostgresMovies(Movies):
    """Films; if `sharing`, calls of `detail`, `marks` and `list` that coincide share statements.

    Of lists those that are narrowed do so only if they are equal.
    """

    def __init__(
        self, run: Runs, films: IdentityMap, counts: Counts, signposts: Signposts, *, sharing: bool = False
    ) -> None:
        self._run = run
        self._films = films
        self._counts = counts
        self._signposts = signposts
        self._batch = Batch(lambda movie_ids: details(run, movie_ids)) if sharing else None
        self._marks: Batch[Sight, dict[int, Mark]] | None = None
        self._turns: Turns[tuple[MovieFilter, PageRequest], Page[Movie]] | None = None
        if sharing:
            self._marks = Batch(lambda sights: marks_of(run, sights))
            self._turns = Turns(lambda key: self._list(key[0], filter_values(key[0]), key[1]))
        self._sharing = sharing
        self._whole: dict[tuple[str, bool, Part], Together] = {}

    async def remember(self, facts: Sequence[MovieFacts], at: datetime) -> tuple[Movie, ...]:
        told: dict[int, MovieFacts] = {}
        for one in facts:
            told.setdefault(one.tmdb_id, one)
        if not told:
            return ()
        rows = list(await self._run.rows(REMEMBER, **remember_values(told.values(), at)))
        self._films.forget(row["id"] for row in rows if row["fetched_at"] == at)
        if any(row["updated_at"] == at for row in rows):
            self._signposts.forget()
        if missing := told.keys() - {row["tmdb_id"] for row in rows}:
            # Somebody else kept the very same facts after this statement had begun: it could not see those rows.
            rows += await self._run.rows(READ_REMEMBERED, tmdb_ids=list(missing))
        movies = {row["tmdb_id"]: _remembered(row, told) for row in rows}
        return tuple(movies[one.tmdb_id] for one in facts)

    async def get(self, movie_id: int) -> Movie:
        row = first(await self._run.rows(GET, movie_id=possible(movie_id)))
        if not row:
            raise MovieNotFound()
        return movie_of(row)

    async def find_by_tmdb(self, tmdb_id: int) -> Movie | None:
        row = first(await self._run.rows(FIND_BY_TMDB, tmdb_id=possible(tmdb_id)))
        return movie_of(row) if row else None

    async def drop(self, movie_id: int, at: datetime) -> None:
        if not await self._run.rows(DROP, movie_id=possible(movie_id), at=at):
            raise MovieNotFound()
        self._films.forget([movie_id])

    async def outdated(
        self, fetched_before: datetime, most: int, *, tmdb_ids: Sequence[int] | None = None
    ) -> Sequence[Movie]:
        values = {"fetched_before": fetched_before, "most": most}
        if tmdb_ids is None:
            rows = await self._run.rows(OUTDATED, **values)
        else:
            rows = await self._run.rows(OUTDATED_OF, **values, tmdb_ids=list(map(possible, tmdb_ids)))
        return tuple(map(movie_of, rows))

    async def detail(self, movie_id: int) -> MovieDetail:
        wanted = possible(movie_id)
        found = await self._batch.find(wanted) if self._batch else (await details(self._run, [wanted])).get(wanted)
        if found is None:
            raise MovieNotFound()
        return found

    async def list(self, wanted: MovieFilter, page: PageRequest) -> Page[Movie]:
        page.refuse_past(MOST_COUNTED)
        values = filter_values(wanted)
        if values and self._turns:
            return await self._turns.find((wanted, page))
        return await self._list(wanted, values, page)

    async def _list(self, wanted: MovieFilter, values: Mapping[str, Any], page: PageRequest) -> Page[Movie]:
        def place(row: Row) -> Cursor:
            return Cursor(row["key"], row["movies_id"])

        if page.after is not None:
            rows = await self._after(wanted, values, page.after, page.size + 1)
            found = Page.cut(rows, page.size, None, page, place)
        else:
            places = self._signposts.places
            size = min(page.size, MOST_COUNTED - page.offset)
            rows = await self._numbered(wanted, values, page.offset, size + 1, places)
            end = page.offset + min(len(rows), size)
            # A page that no film follows tells by itself how many there are, or that it is past the end.
            total = end if 0 < len(rows) <= size else await self._count(values, at_least=end) if rows else 0
            found = Page.cut(rows, size, total, page, place)
            if found.end is not None:
                places.keep(wanted, end, found.end)
        return await self._films.fill(self._run, found, lambda _, movie: movie)

    async def _numbered(
        self, wanted: MovieFilter, values: Mapping[str, Any], offset: int, size: int, places: Places
    ) -> Sequence[Row]:
        """So many films from this offset on, without skipping again what is known to come before it."""
        known = places.nearest(wanted, offset)
        # Behind films with a date come those without one, in another statement that would not know how many to skip.
        if known is not None and (known[0] == offset or wanted.column != "release_date"):
            return await self._after(wanted, values, known[1], size, skipped=offset - known[0])
        return await self._read(wanted, values, "all", size=size, skipped=offset)

    async def _after(
        self, wanted: MovieFilter, values: Mapping[str, Any], place: Cursor, size: int, *, skipped: int = 0
    ) -> Sequence[Row]:
        """So many films behind this place: those with a key, and then those without, each by an index."""
        rows: list[Row] = []
        if place.key is not None:
            rows += await self._read(wanted, values, "behind", **place_values(place), size=size, skipped=skipped)
            place = Cursor(None, MOST_BIGINT if wanted.descending else 0)
        if len(rows) < size and wanted.column == "release_date":
            left = size - len(rows)
            rows += await self._read(wanted, values, "keyless", after_id=place.id, size=left, skipped=0)
        return rows

    async def _read(self, wanted: MovieFilter, values: Mapping[str, Any], part: Part, **page: Any) -> Sequence[Row]:
        """A part of a list; of the whole one, together with others who read it at this moment."""
        order = wanted.column, wanted.descending, part
        if values:
            return await self._run.rows(list_statement(frozenset(values), *order), **values, **page)
        together = self._whole.get(order)
        if together is None:
            one, many = (list_statement(frozenset(), *order, many=many) for many in (False, True))
            together = self._whole[order] = Together(self._run, one, many if self._sharing else None)
        return await together.rows(**page)

    async def closest(self, wanted: MovieFilter, page: PageRequest) -> Page[Movie]:
        page.refuse_past(MOST_COUNTED)
        words = telling_words(wanted.search_key)
        if not words or not (await self._run.rows(COMPARES_TITLES))[0]["compares"]:
            return Page((), 0, page)
        values = filter_values(replace(wanted, search=""))
        rows = await self._run.rows(
            closest_statement(frozenset(values)),
            **values,
            sought=wanted.search_key,
            words=words,
            longest=max(words, key=len),
            size=page.size,
            skipped=page.offset,
        )
        return Page(tuple(map(movie_of, rows)), rows[0]["total"] if rows else 0, page)

    async def marks(self, user_id: int, movie_ids: Sequence[int]) -> dict[int, Mark]:
        sight = possible(user_id), tuple(map(possible, movie_ids))
        found = await self._marks.find(sight) if self._marks else (await marks_of(self._run, [sight]))[sight]
        return found or {}

    async def _count(self, values: Mapping[str, Any], *, at_least: int) -> int:
        key = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in values.items())
        total = self._counts.find(key)
        if total is None:
            (row,) = await self._run.rows(count_statement(frozenset(values)), **values)
            total = row["total"]
            self._counts.keep(key, total)
        return max(total, at_least)


async def details(run: Runs, movie_ids: Sequence[int]) -> Mapping[int, MovieDetail]:
    """The films of these ids that exist, each with the hub's own score."""
    rows = await run.rows(DETAIL, movie_ids=movie_ids)
    return {row["movies_id"]: MovieDetail(movie_of(row), _score_of(row)) for row in rows}


async def marks_of(run: Runs, sights: Sequence[Sight]) -> Mapping[Sight, dict[int, Mark]]:
    """What each of these people has said of the films that they look at."""
    pairs = list({(user_id, movie_id): None for user_id, movie_ids in sights for movie_id in movie_ids})
    marks: dict[tuple[int, int], Mark] = {}
    for some in (pairs[start : start + MOST_PAIRS] for start in range(0, len(pairs), MOST_PAIRS)):
        user_ids, movie_ids = zip(*some, strict=True)
        rows = await run.rows(MARKS, user_ids=user_ids, movie_ids=movie_ids)
        marks |= {(row["user_id"], row["movie_id"]): mark_of(row) for row in rows}
    return {
        (user_id, looked_at): {each: marks[user_id, each] for each in looked_at if (user_id, each) in marks}
        for user_id, looked_at in sights
    }


def _score_of(row: Row) -> Score:
    count = row["score_count"]
    return Score(row["score_sum"] / count, count) if count else Score()


def _remembered(row: Row, told: Mapping[int, MovieFacts]) -> Movie:
    return Movie(
        id=row["id"],
        facts=told[row["tmdb_id"]],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        fetched_at=row["fetched_at"],
    )
