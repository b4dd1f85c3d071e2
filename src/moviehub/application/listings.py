"""What people can do with the catalogue's lists: discover, search, and find more of what they liked."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from moviehub.application.flights import Flights
from moviehub.application.kept import MOVIES
from moviehub.application.marks import seen_by
from moviehub.application.ports import Cache, Cached, Catalogue, Clock, News
from moviehub.application.storage import Storage
from moviehub.domain.errors import MovieHubError, Unavailable
from moviehub.domain.listings import (
    PAGE_SIZE,
    CataloguePage,
    Found,
    ListedPage,
    Listing,
    Popular,
    Provenance,
    Recommended,
    Search,
    TopRated,
    Trending,
    normalized_query,
)
from moviehub.domain.movies import Movie, MovieFilter, MovieNotFound
from moviehub.domain.pages import MOST_COUNTED, NoSuchPage, Page, PageRequest

MOST_UPSTREAM = 6
"""No request asks the catalogue for more pages than this."""

SEARCHED_PAGES = 5
"""Filters that the catalogue's search lacks see this many of its pages: the first 100 hits."""

WARM_PAGES = 5
"""Of each list that everybody looks at, so many of the catalogue's pages are kept warm."""

NOT_FOUND_KEPT = timedelta(seconds=60)
"""For so long nobody asks again for more like a film that the catalogue does not have."""

EARLY = timedelta(seconds=1)
"""How long a page of the catalogue takes to come; what is asked for often is renewed some such times ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The catalogue's pages with films that the hub has met: from the cache, else from the catalogue and kept.

    A page is fresh for `ttl`, or up to a tenth less so that pages do not all end at once, and kept for `stale` longer:
    so long an old one is shown at once while a new one is fetched behind it. Nobody waits for a page that is asked for
    often: it is renewed before it ends, by chance and the sooner the more ask (Vattani, Chierichetti and Lowenstein,
    "Optimal Probabilistic Cache Stampede Prevention", 2015).
    """

    catalogue: Catalogue
    cache: Cache
    storage: Storage
    clock: Clock
    news: News
    flights: Flights
    ttl: timedelta
    stale: timedelta

    async def pages(self, listing: Listing, first: int, last: int) -> list[tuple[Cached[ListedPage], bool]]:
        """Pages `first` to `last` as far as there are any, each with whether the cache had it."""
        head = await self._page(listing.on_page(first))
        end = min(last, -(-head[0].value.total // PAGE_SIZE))
        rest = (self._page(listing.on_page(number)) for number in range(first + 1, end + 1))
        return [head, *await asyncio.gather(*rest)]

    async def warm(self, listing: Listing, ahead: timedelta) -> bool:
        """Have this page in the cache for `ahead` from now; whether it was fetched for that."""
        cached = await self.cache.find(listing.key, ListedPage)
        if cached is not None and cached.best_before > self.clock.now() + ahead:
            return False
        await self.flights.join(listing.key, lambda: self._fetch(listing), lambda: self._newer(listing, cached))
        return True

    async def _page(self, listing: Listing) -> tuple[Cached[ListedPage], bool]:
        cached = await self.cache.find(listing.key, ListedPage)
        if cached is None:
            fetched = self.flights.join(listing.key, lambda: self._fetch(listing), lambda: self._newer(listing, cached))
            return await fetched, False
        if self.clock.now() >= _renewal(cached):
            self.flights.behind(listing.key, lambda: self._fetch(listing), lambda: self._newer(listing, cached))
        return cached, True

    async def _newer(self, listing: Listing, known: Cached[ListedPage] | None) -> Cached[ListedPage] | None:
        found = await self.cache.find(listing.key, ListedPage)
        return found if found is not None and (known is None or found.since > known.since) else None

    async def _fetch(self, listing: Listing) -> Cached[ListedPage]:
        told = await self._told(listing)
        now = self.clock.now()
        async with self.storage.autocommit() as uow:
            movies = await uow.movies.remember(told.facts, now)
        if any(movie.updated_at == now for movie in movies):
            await self.news.tell(MOVIES)
        fresh_until = now + self.ttl * random.uniform(0.9, 1.0)  # noqa: S311
        entry = Cached(ListedPage(movies, min(told.total, MOST_COUNTED)), now, fresh_until + self.stale, fresh_until)
        await self.cache.keep(listing.key, entry)
        return entry

    async def _told(self, listing: Listing) -> CataloguePage:
        if not isinstance(listing, Recommended):
            return await self.catalogue.page(listing)
        missing = f"no_movie_{listing.tmdb_id}"
        if await self.cache.find(missing, bool) is not None:
            raise MovieNotFound()  # there was none a moment ago
        try:
            return await self.catalogue.page(listing)
        except MovieNotFound:
            now = self.clock.now()
            await self.cache.keep(missing, Cached(True, now, now + NOT_FOUND_KEPT))
            raise


def _renewal(cached: Cached[ListedPage]) -> datetime:
    """When the page is fetched anew: some time before it ends, another one for each who asks."""
    return cached.best_before + EARLY * math.log(1 - random.random())  # noqa: S311


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverMovies:
    """A page of what is trending, popular, top-rated, recommended or found by name, as the person sees it.

    Our pages are cut from the catalogue's. A film that stands in the catalogue's pages twice is shown once: neither a
    page nor two neighbouring ones (of up to 50 films) repeat it. When the catalogue is out and nothing is cached, the
    hub's own films answer.
    """

    shelf: Shelf
    storage: Storage
    clock: Clock

    async def __call__(self, *, listing: Listing, page: PageRequest, user_id: int | None = None) -> Found:
        page.refuse_past(MOST_COUNTED)  # the catalogue serves no such page: do not even ask
        last = (min(page.offset + page.size, MOST_COUNTED) - 1) // PAGE_SIZE + 1
        before = max(0, page.offset - page.size) // PAGE_SIZE + 1
        first = max(before, last - MOST_UPSTREAM + 1)
        try:
            shelved = await self.shelf.pages(listing, first, last)
        except (Unavailable, MovieNotFound) as fault:
            return await self.from_own(await self._like(listing, fault), page, user_id, fault)
        total = shelved[0][0].value.total
        page.refuse_past(total)
        movies = _cut(shelved, (first - 1) * PAGE_SIZE, page)
        return await _found(self.storage, Page(movies, total, page), user_id, _provenance(shelved))

    async def from_own(
        self, wanted: MovieFilter, page: PageRequest, user_id: int | None, fault: MovieHubError
    ) -> Found:
        """A page of the hub's own films in place of the catalogue's; `fault` if there is none of them on it."""
        async with self.storage.reading() as uow:
            try:
                movies = await _if_any(uow.movies.list, wanted, page)
                if movies is None and wanted.search_key:  # perhaps it is not written quite like this
                    movies = await _if_any(uow.movies.closest, wanted, page)
            except NoSuchPage:
                if isinstance(fault, Unavailable):
                    raise fault from None  # the catalogue may well have such a page
                raise
        if movies is None:
            raise fault  # an empty list would be no answer
        now = self.clock.now()
        return await _found(self.storage, movies, user_id, Provenance("local", False, now, now))

    async def _like(self, listing: Listing, fault: MovieHubError) -> MovieFilter:
        """Which of the hub's own films are most like what a listing asks for."""
        match listing:
            case Search():
                return MovieFilter(search=listing.query, release_year=listing.year)
            case TopRated():
                return MovieFilter(ordering="-vote_average")
            case Recommended():
                async with self.storage.reading() as uow:
                    movie = await uow.movies.find_by_tmdb(listing.tmdb_id)
                if movie is None:
                    raise fault
                return MovieFilter(genres=movie.facts.genre_ids, except_id=movie.id)
        return MovieFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchMovies:
    """A page of films whose title has to do with some words, perhaps narrowed and ordered.

    The catalogue can narrow by year; every other filter and any order work on the first 100 hits that it ranks.
    """

    discover_movies: DiscoverMovies

    async def __call__(
        self,
        *,
        query: str,
        page: PageRequest,
        wanted: MovieFilter | None = None,
        ordered: bool = False,
        user_id: int | None = None,
    ) -> Found:
        """`ordered` says whether the hits take `wanted`'s order; else they keep the catalogue's."""
        wanted = wanted or MovieFilter()
        listing = Search(query=normalized_query(query), year=wanted.release_year)
        discover = self.discover_movies
        if not ordered and wanted == MovieFilter(release_year=wanted.release_year, ordering=wanted.ordering):
            return await discover(listing=listing, page=page, user_id=user_id)
        try:
            shelved = await discover.shelf.pages(listing, 1, SEARCHED_PAGES)
        except Unavailable as fault:
            return await discover.from_own(replace(wanted, search=listing.query), page, user_id, fault)
        hits = _cut(shelved, 0, PageRequest(1, SEARCHED_PAGES * PAGE_SIZE))
        narrowed = replace(wanted, release_year=None)  # of which the catalogue has its own idea
        kept = [movie for movie in hits if narrowed.matches(movie)]
        if ordered:
            kept = wanted.sorted(kept)
        page.refuse_past(len(kept))
        cut = Page(tuple(kept[page.offset : page.offset + page.size]), len(kept), page)
        return await _found(discover.storage, cut, user_id, _provenance(shelved))


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmListings:
    """What everybody looks at, in the cache for `ahead` from now; how many pages were fetched for that.

    Unavailable if one of them cannot be had, which keeps nobody from the others.
    """

    shelf: Shelf

    async def __call__(self, *, ahead: timedelta) -> int:
        listings = (Trending(window="day"), Trending(window="week"), Popular(), TopRated())
        pages = [listing.on_page(number) for listing in listings for number in range(1, WARM_PAGES + 1)]
        fetched, fault = 0, None
        for page in pages:
            try:
                fetched += await self.shelf.warm(page, ahead)
            except Unavailable as failure:
                fault = failure
        if fault is not None:
            raise fault
        return fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendMovies:
    """A page of films for those who liked this one."""

    discover_movies: DiscoverMovies

    async def __call__(self, *, movie_id: int, page: PageRequest, user_id: int | None = None) -> Found:
        async with self.discover_movies.storage.reading() as uow:
            movie = await uow.movies.get(movie_id)
        listing = Recommended(tmdb_id=movie.facts.tmdb_id)
        return await self.discover_movies(listing=listing, page=page, user_id=user_id)


async def _if_any(
    ask: Callable[[MovieFilter, PageRequest], Awaitable[Page[Movie]]], wanted: MovieFilter, page: PageRequest
) -> Page[Movie] | None:
    """The page of this list, or None if there is no film on any page of it."""
    try:
        movies = await ask(wanted, page)
    except NoSuchPage:
        if (await ask(wanted, replace(page, number=1))).total:
            raise
        return None
    return movies if movies.total else None


def _cut(shelved: Sequence[tuple[Cached[ListedPage], bool]], skipped: int, page: PageRequest) -> tuple[Movie, ...]:
    """The films of `page` out of the catalogue's pages that begin after `skipped` films; none that came before."""
    seen: set[int] = set()
    cut: list[Movie] = []
    begin, end = page.offset, page.offset + page.size
    for number, (cached, _) in enumerate(shelved):
        for place, movie in enumerate(cached.value.movies, skipped + number * PAGE_SIZE):
            if place >= end:
                break
            if movie.id not in seen and place >= begin:
                cut.append(movie)
            seen.add(movie.id)
    return tuple(cut)


def _provenance(shelved: Sequence[tuple[Cached[ListedPage], bool]]) -> Provenance:
    return Provenance(
        "tmdb",
        all(hit for _, hit in shelved),
        min(cached.since for cached, _ in shelved),
        min(cached.best_before for cached, _ in shelved),
    )


async def _found(storage: Storage, page: Page[Movie], user_id: int | None, provenance: Provenance) -> Found:
    return Found(await seen_by(storage, page, user_id), provenance)
