"""What people can do with the hub's own films: list them and look at them."""

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from moviehub.application.flights import Flights
from moviehub.application.kept import MOVIES
from moviehub.application.marks import seen_by
from moviehub.application.ports import Cache, Cached, Catalogue, Clock, News
from moviehub.application.storage import Storage
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import FoundGenres, Provenance
from moviehub.domain.movies import (
    FRESH_FOR,
    GENRES,
    Genre,
    Mark,
    MarkedMovie,
    Movie,
    MovieDetail,
    MovieFacts,
    MovieFilter,
    MovieNotFound,
    name_genres,
)
from moviehub.domain.pages import Page, PageRequest

GENRES_KEPT = timedelta(days=1)
FAILURE_KEPT = timedelta(seconds=60)

OLDEST = timedelta(days=150)
"""A film that was last confirmed before then is confirmed before anybody asks."""

MOST_CHANGES = timedelta(days=13)
"""So far back the catalogue tells what changed: 14 days with today."""

CHANGES_SEEN = "changes_seen"
ASKED_AT_ONCE = 500
MOST_FAILED = 5
"""After so many films in a row that cannot be had, all of the catalogue is taken to be out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMovies:
    """A page of the hub's own films, narrowed and ordered."""

    storage: Storage

    async def __call__(
        self, *, wanted: MovieFilter, page: PageRequest, user_id: int | None = None
    ) -> Page[MarkedMovie]:
        async with self.storage.reading() as uow:
            movies = await uow.movies.list(wanted, page)
        return await seen_by(self.storage, movies, user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListGenres:
    """Every genre by number and name; the built-in English names when the catalogue is out and none are cached."""

    catalogue: Catalogue
    cache: Cache
    clock: Clock
    flights: Flights
    stale: timedelta

    async def __call__(self) -> FoundGenres:
        cached, now = await self._cached(), self.clock.now()
        hit = cached is not None
        if cached is None:
            own = FoundGenres(GENRES, Provenance("local", False, now, now))
            if await self.cache.find("genres_missed", bool) is not None:
                return own  # the catalogue was out a moment ago: nobody waits for it again so soon
            try:
                cached = await self.flights.join("genres", self._fetch, self._cached)
            except Unavailable:
                await self.cache.keep("genres_missed", Cached(True, now, now + FAILURE_KEPT))
                return own
        elif now >= cached.best_before:
            self.flights.behind("genres", self._fetch, self._fresh)
        return FoundGenres(cached.value, Provenance("tmdb", hit, cached.since, cached.best_before))

    async def _cached(self) -> Cached[tuple[Genre, ...]] | None:
        return await self.cache.find("genres", tuple[Genre, ...])

    async def _fresh(self) -> Cached[tuple[Genre, ...]] | None:
        cached = await self._cached()
        return cached if cached is not None and self.clock.now() < cached.best_before else None

    async def _fetch(self) -> Cached[tuple[Genre, ...]]:
        genres, now = await self.catalogue.genres(), self.clock.now()
        cached = Cached(genres, now, now + GENRES_KEPT + self.stale, now + GENRES_KEPT)
        await self.cache.keep("genres", cached)
        return cached


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshMovie:
    """A film as the catalogue tells it now, kept so; None if it has the film no more, which is marked then."""

    catalogue: Catalogue
    storage: Storage
    clock: Clock
    news: News

    async def __call__(self, *, movie: Movie) -> MovieFacts | None:
        try:
            facts = await self.catalogue.movie(movie.facts.tmdb_id)
        except MovieNotFound:
            async with self.storage.autocommit() as uow:
                await uow.movies.drop(movie.id, self.clock.now())
            return None
        async with self.storage.autocommit() as uow:
            await uow.movies.remember([facts], self.clock.now())
        if facts != movie.facts:
            await self.news.tell(MOVIES)
        return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class GetMovie:
    """One film with the hub's own score and its genres' names.

    Older than a day, it is fetched anew behind the answer.
    """

    catalogue: Catalogue
    cache: Cache
    storage: Storage
    clock: Clock
    flights: Flights
    ttl: timedelta
    list_genres: ListGenres
    refresh_movie: RefreshMovie

    async def __call__(self, *, movie_id: int, user_id: int | None = None) -> "SeenMovie":
        mark = Mark()
        async with self.storage.reading(by=user_id) as uow:
            detail = await uow.movies.detail(movie_id)
            if user_id is not None:
                mark = (await uow.movies.marks(user_id, [movie_id])).get(movie_id, mark)
        if detail.movie.is_stale(self.clock.now()):
            await self._refresh(detail.movie)
        genres = name_genres(detail.movie.facts.genre_ids, (await self.list_genres()).genres)
        return SeenMovie(detail, mark, genres)

    async def _refresh(self, movie: Movie) -> None:
        key = f"movie_details_{movie.id}"

        async def asked() -> MovieFacts | None:
            found = await self.cache.find(key, MovieFacts)
            return found.value if found else None

        async def fetch() -> MovieFacts:
            facts, kept = movie.facts, FAILURE_KEPT
            with suppress(Unavailable):  # what we have is better than nothing
                facts, kept = await self.refresh_movie(movie=movie) or facts, self.ttl
            now = self.clock.now()
            await self.cache.keep(key, Cached(facts, now, now + kept))
            return facts

        if await asked() is None:
            self.flights.behind(key, fetch, asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetMovieByTmdbId:
    """The same film by the catalogue's id, fetched and kept if the hub has not met it."""

    get_movie: GetMovie

    async def __call__(self, *, tmdb_id: int, user_id: int | None = None) -> "SeenMovie":
        movie = await self._find(tmdb_id)
        if movie is None:
            movie = await self.get_movie.flights.join(
                f"met_movie_{tmdb_id}", lambda: self._meet(tmdb_id), lambda: self._find(tmdb_id)
            )
        return await self.get_movie(movie_id=movie.id, user_id=user_id)

    async def _find(self, tmdb_id: int) -> Movie | None:
        async with self.get_movie.storage.reading() as uow:
            return await uow.movies.find_by_tmdb(tmdb_id)

    async def _meet(self, tmdb_id: int) -> Movie:
        get, key = self.get_movie, f"no_movie_{tmdb_id}"
        if await get.cache.find(key, bool) is not None:
            raise MovieNotFound()  # there was none a moment ago
        try:
            facts = await get.catalogue.movie(tmdb_id)
        except MovieNotFound:
            now = get.clock.now()
            await get.cache.keep(key, Cached(True, now, now + FAILURE_KEPT))
            raise
        async with get.storage.autocommit() as uow:
            (movie,) = await uow.movies.remember([facts], get.clock.now())
        await get.refresh_movie.news.tell(MOVIES)
        return movie


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How many films the catalogue confirmed, and how many it has no more."""

    confirmed: int = 0
    dropped: int = 0

    def __add__(self, other: "Refreshed") -> "Refreshed":
        return Refreshed(self.confirmed + other.confirmed, self.dropped + other.dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshChangedMovies:
    """The films that the catalogue says changed since it was last asked, confirmed before anybody looks at them.

    Unavailable if the catalogue is out; what was done by then is kept.
    """

    catalogue: Catalogue
    cache: Cache
    storage: Storage
    clock: Clock
    refresh_movie: RefreshMovie

    async def __call__(self) -> Refreshed:
        begun = self.clock.now()
        last = await self.cache.find(CHANGES_SEEN, datetime)
        since = last.value if last else begun - FRESH_FOR
        # From a day before: what was confirmed after `since` and changed later that day is confirmed by this run alone.
        first = max(since - FRESH_FOR, begun - MOST_CHANGES)
        changed = sorted(await self.catalogue.changed(first.date(), begun.date()))
        done = Refreshed()
        for start in range(0, len(changed), ASKED_AT_ONCE):
            ids = changed[start : start + ASKED_AT_ONCE]
            async with self.storage.autocommit() as uow:
                movies = await uow.movies.outdated(since, ASKED_AT_ONCE, tmdb_ids=ids)
            done += await _refreshed(movies, self.refresh_movie)
        await self.cache.keep(CHANGES_SEEN, Cached(begun, begun, begun + MOST_CHANGES + FRESH_FOR))
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshOldMovies:
    """Up to 500 of the films that nobody has asked about for five months, confirmed.

    So that nothing is kept for six, as TMDb's terms have it. Unavailable if the catalogue is out.
    """

    storage: Storage
    clock: Clock
    refresh_movie: RefreshMovie

    async def __call__(self) -> Refreshed:
        async with self.storage.autocommit() as uow:
            movies = list(await uow.movies.outdated(self.clock.now() - OLDEST, ASKED_AT_ONCE))
        random.shuffle(movies)  # or some that can never be had would always be first, and the last that are asked for
        return await _refreshed(movies, self.refresh_movie)


async def _refreshed(movies: Sequence[Movie], refresh_movie: RefreshMovie) -> Refreshed:
    done, failed = Refreshed(), 0
    for movie in movies:
        try:
            facts = await refresh_movie(movie=movie)
        except Unavailable:  # of this film alone, if the others can be had
            failed += 1
            if failed == MOST_FAILED:
                raise
            continue
        failed = 0
        done += Refreshed(confirmed=facts is not None, dropped=facts is None)
    return done


@dataclass(frozen=True, slots=True)
class SeenMovie:
    """A film in detail, as one person sees it."""

    detail: MovieDetail
    mark: Mark
    genres: tuple[Genre, ...]
