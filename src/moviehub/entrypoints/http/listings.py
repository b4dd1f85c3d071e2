"""Lists that the catalogue keeps, over HTTP: trending, popular, top-rated, search and recommendations."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from msgspec import Meta

from moviehub.application.listings import DiscoverMovies, RecommendMovies, SearchMovies
from moviehub.application.movies import ListGenres
from moviehub.domain.listings import Found, Listing, Popular, Provenance, TopRated, Trending, normalized_query
from moviehub.domain.movies import MarkedMovie
from moviehub.entrypoints.http.auth import PublicRequest
from moviehub.entrypoints.http.calls import answer, call
from moviehub.entrypoints.http.exchange import exchange_of
from moviehub.entrypoints.http.inputs import WORDS, Query, path_id
from moviehub.entrypoints.http.movies import RULES, FilterIn, GenreOut, MovieOut, cache_headers, markable, movie_json
from moviehub.entrypoints.http.pages import PAGE_RULES, PageIn, PageOut, envelope


class ListedMoviesOut(PageOut[MovieOut], kw_only=True):
    """A page of films and where it came from: TMDb, or our own shelves while TMDb is out."""

    source: Literal["tmdb", "local"]


class DiscoverIn(PageIn, frozen=True):
    """Which page."""


class TrendingIn(PageIn, frozen=True):
    """Which page of which time window."""

    time_window: Literal["day", "week"] = "week"


class SearchIn(FilterIn, kw_only=True, frozen=True):
    """Which words, and which of the hits."""

    q: Annotated[str, Meta(extra_json_schema={"maxLength": 200, "pattern": WORDS})]


DISCOVER = Query(DiscoverIn, PAGE_RULES)
TRENDING = Query(TrendingIn, {**PAGE_RULES, "time_window": lambda window: Trending(window=window)})
SEARCH = Query(SearchIn, {**RULES, "q": normalized_query}, aliases={"query": "q"})


class ListingsController(Controller):
    """Lists that the catalogue keeps."""

    path = "/api/movies"
    tags = ["Discovery"]

    @get("/trending", opt=call(auth="optional", query=TRENDING, answers={200: ListedMoviesOut}, refusals=(404,)))
    async def trending(
        self, request: PublicRequest, discover_movies: NamedDependency[DiscoverMovies]
    ) -> Response[bytes]:
        """List what is trending today or this week."""
        wanted = TRENDING.read(request)
        return await _discovered(request, discover_movies, Trending(window=wanted.time_window), wanted)

    @get("/popular", opt=call(auth="optional", query=DISCOVER, answers={200: ListedMoviesOut}, refusals=(404,)))
    async def popular(
        self, request: PublicRequest, discover_movies: NamedDependency[DiscoverMovies]
    ) -> Response[bytes]:
        """List what is popular now."""
        return await _discovered(request, discover_movies, Popular(), DISCOVER.read(request))

    @get("/top_rated", opt=call(auth="optional", query=DISCOVER, answers={200: ListedMoviesOut}, refusals=(404,)))
    async def top_rated(
        self, request: PublicRequest, discover_movies: NamedDependency[DiscoverMovies]
    ) -> Response[bytes]:
        """List what has been rated best."""
        return await _discovered(request, discover_movies, TopRated(), DISCOVER.read(request))

    @get("/search", opt=call(auth="optional", query=SEARCH, answers={200: ListedMoviesOut}, refusals=(404,)))
    async def search(self, request: PublicRequest, search_movies: NamedDependency[SearchMovies]) -> Response[bytes]:
        """Search films by title. The year narrows the search itself, other filters its first 100 hits."""
        wanted = SEARCH.read(request)
        found = await search_movies(
            query=wanted.q,
            page=wanted.request_of(request),
            wanted=wanted.filter(),
            ordered=wanted.ordering is not None,
        )
        return _found(request, found)

    @get(
        "/{movie_id:str}/recommendations",
        opt=call(auth="optional", query=DISCOVER, answers={200: ListedMoviesOut}, refusals=(404,)),
    )
    async def recommendations(
        self, request: PublicRequest, recommend_movies: NamedDependency[RecommendMovies]
    ) -> Response[bytes]:
        """List films for those who liked this one."""
        movie_id, wanted = path_id(request, "movie_id"), DISCOVER.read(request)
        page = wanted.request_of(request)
        found = await recommend_movies(movie_id=movie_id, page=page)
        return _found(request, found)

    @get("/genres", opt=call(auth="optional", answers={200: list[GenreOut]}))
    async def genres(self, request: PublicRequest, list_genres: NamedDependency[ListGenres]) -> Response[bytes]:
        """List every genre."""
        found = await list_genres()
        named = [GenreOut(genre.id, genre.name) for genre in found.genres]
        return answer(named, headers=_told(request, found.provenance))


async def _discovered(
    request: PublicRequest, discover: DiscoverMovies, listing: Listing, wanted: PageIn
) -> Response[bytes]:
    page = wanted.request_of(request)
    return _found(request, await discover(listing=listing, page=page))


def _found(request: PublicRequest, found: Found) -> Response[bytes]:
    results = [movie_json(marked) for marked in found.page.items]
    body = ListedMoviesOut(
        **envelope(request, found.page),  # type: ignore[arg-type]
        results=results,
        source=found.provenance.source,
    )
    return answer(body, headers=_told(request, found.provenance, found.page.items))


def _told(request: PublicRequest, provenance: Provenance, shown: Sequence[MarkedMovie] | None = None) -> dict[str, str]:
    """The caching headers of an answer from the catalogue, if it is a list with the films that it shows."""
    exchange = exchange_of(request.scope)
    now = exchange.clock.now()
    left = math.floor((provenance.until - now).total_seconds())
    max_age = min(max(0, left), exchange.settings.public_max_age)
    headers = cache_headers(request, max_age) if shown is None else markable(request, shown, max_age)
    headers["age"] = str(max(0, int((now - provenance.since).total_seconds())))
    if provenance.source == "local":
        exchange.cache, told = "local", "fwd=miss; detail=local"
    elif provenance.cached:
        exchange.cache, told = ("hit", "hit") if left >= 0 else ("stale", f"hit; ttl={left}")
    else:
        exchange.cache, told = "miss", "fwd=miss; stored"
    headers["cache-status"] = f"moviehub; {told}"
    return headers
