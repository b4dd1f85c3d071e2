"""What people can do with the hub's own films: list them and look at them."""

from dataclasses import dataclass
from datetime import timedelta

from moviehub.application.flights import Flights
from moviehub.application.marks import seen_by
from moviehub.application.ports import Cache, Cached, Catalogue, Clock
from moviehub.application.storage import Storage
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import FoundGenres, Provenance
from moviehub.domain.movies import (
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
    """Every genre by number and name; the built-in English names when the catalogue is out."""

    catalogue: Catalogue
    cache: Cache
    clock: Clock

    async def __call__(self) -> FoundGenres:
        cached = await self.cache.find("genres", tuple[Genre, ...])
        if cached is not None:
            return FoundGenres(cached.value, Provenance("tmdb", True, cached.since, cached.until))
        now = self.clock.now()
        own = FoundGenres(GENRES, Provenance("local", False, now, now))
        if await self.cache.find("genres_missed", bool) is not None:
            return own  # the catalogue was out a moment ago: nobody waits for it again so soon
        try:
            genres = await self.catalogue.genres()
        except Unavailable:
            await self.cache.keep("genres_missed", Cached(True, now, now + FAILURE_KEPT))
            return own
        await self.cache.keep("genres", Cached(genres, now, now + GENRES_KEPT))
        return FoundGenres(genres, Provenance("tmdb", False, now, now + GENRES_KEPT))


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

    async def __call__(self, *, movie_id: int, user_id: int | None = None) -> "SeenMovie":
        async with self.storage.reading() as uow:
            detail = await uow.movies.detail(movie_id)
        if detail.movie.is_stale(self.clock.now()):
            await self._refresh(detail.movie)
        mark = Mark()
        if user_id is not None:
            async with self.storage.reading() as uow:
                mark = (await uow.movies.marks(user_id, [movie_id])).get(movie_id, mark)
        genres = name_genres(detail.movie.facts.genre_ids, (await self.list_genres()).genres)
        return SeenMovie(detail, mark, genres)

    async def _refresh(self, movie: Movie) -> None:
        key = f"movie_details_{movie.id}"

        async def asked() -> MovieFacts | None:
            found = await self.cache.find(key, MovieFacts)
            return found.value if found else None

        async def fetch() -> MovieFacts:
            try:
                facts, kept = await self.catalogue.movie(movie.facts.tmdb_id), self.ttl
            except (Unavailable, MovieNotFound):
                facts, kept = movie.facts, FAILURE_KEPT  # what we have is better than nothing
            else:
                async with self.storage.autocommit() as uow:
                    await uow.movies.remember([facts], self.clock.now())
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
        get = self.get_movie
        async with get.storage.reading() as uow:
            movie = await uow.movies.find_by_tmdb(tmdb_id)
        if movie is None:
            movie = await self._meet(tmdb_id)
        return await get(movie_id=movie.id, user_id=user_id)

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
        return movie


@dataclass(frozen=True, slots=True)
class SeenMovie:
    """A film in detail, as one person sees it."""

    detail: MovieDetail
    mark: Mark
    genres: tuple[Genre, ...]
