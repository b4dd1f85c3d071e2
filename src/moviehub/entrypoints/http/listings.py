"""Lists that the catalogue keeps, over HTTP: trending, popular, top-rated, search and recommendations."""

import math
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from msgspec import Meta

from moviehub.application.listings import DiscoverMovies, RecommendMovies, SearchMovies
from moviehub.application.movies import ListGenres
from moviehub.domain.listings import Found, Listing, Popular, Provenance, TopRated, Trending, normalized_query
from moviehub.domain.movies import MarkedMovie, Movie
from moviehub.entrypoints.http.auth import PublicRequest, viewer_id
from moviehub.entrypoints.http.calls import answer, call
from moviehub.entrypoints.http.exchange import exchange_of
from moviehub.entrypoints.http.inputs import WORDS, Query, path_id
from moviehub.entrypoints.http.movies import RULES, FilterIn, GenreOut, MovieOut, cache_headers, movie_out
from moviehub.entrypoints.http.pages import PAGE_RULES, PageIn, PageOut, envelope

MOST_ENCODED = 2_000
_strangers: dict[int, tuple[Movie, msgspec.Raw]] = {}
"""By the identity of a film that a stranger would see: its JSON."""


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
            user_id=viewer_id(request),
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
        found = await recommend_movies(movie_id=movie_id, page=page, user_id=viewer_id(request))
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
    return _found(request, await discover(listing=listing, page=page, user_id=viewer_id(request)))


def _found(request: PublicRequest, found: Found) -> Response[bytes]:
    results: Any = [_film(marked) for marked in found.page.items]
    body = ListedMoviesOut(
        **envelope(request, found.page),  # type: ignore[arg-type]
        results=results,
        source=found.provenance.source,
    )
    return answer(body, headers=_told(request, found.provenance))


def _film(marked: MarkedMovie) -> MovieOut | msgspec.Raw:
    """A film as JSON: as a stranger sees it, it is encoded once as long as the catalogue's page is at hand."""
    if marked.mark.favorite is not None or marked.mark.rating is not None:
        return movie_out(marked)
    movie, known = marked.movie, _strangers.get(id(marked.movie))
    if known is None or known[0] is not movie:
        while len(_strangers) >= MOST_ENCODED:
            del _strangers[next(iter(_strangers))]
        known = _strangers[id(movie)] = movie, msgspec.Raw(msgspec.json.encode(movie_out(marked)))
    return known[1]


def _told(request: PublicRequest, provenance: Provenance) -> dict[str, str]:
    """The caching headers of an answer from the catalogue."""
    exchange = exchange_of(request.scope)
    now = exchange.clock.now()
    left = math.floor((provenance.until - now).total_seconds())
    headers = cache_headers(request, min(max(0, left), exchange.settings.public_max_age))
    headers["age"] = str(max(0, int((now - provenance.since).total_seconds())))
    if provenance.source == "local":
        exchange.cache, told = "local", "fwd=miss; detail=local"
    elif provenance.cached:
        exchange.cache, told = ("hit", "hit") if left >= 0 else ("stale", f"hit; ttl={left}")
    else:
        exchange.cache, told = "miss", "fwd=miss; stored"
    headers["cache-status"] = f"moviehub; {told}"
    return headers
