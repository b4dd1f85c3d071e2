"""Films over HTTP: lists from the catalogue, the hub's own list, details, recommendations and genres."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from msgspec import Meta

from moviehub.application.kept import MOVIES, about_movie
from moviehub.application.movies import (
    GetMovie,
    GetMovieByTmdbId,
    ListMovies,
    SeenMovie,
)
from moviehub.domain import movies as domain
from moviehub.domain.movies import Mark, MarkedMovie, Movie, MovieFilter
from moviehub.domain.ratings import Rating
from moviehub.entrypoints.http.auth import PublicRequest, viewer_id
from moviehub.entrypoints.http.calls import Instant, answer, call
from moviehub.entrypoints.http.cursors import CursorText, Moment, Whole
from moviehub.entrypoints.http.exchange import exchange_of
from moviehub.entrypoints.http.inputs import LINE, AnyRequest, Query, path_id
from moviehub.entrypoints.http.pages import PAGE_RULES, PageIn, ScrollOut, scroll_envelope

PERSONAL = "Authorization, Accept-Encoding"
IMAGES = "https://image.tmdb.org/t/p/"

Year = Annotated[int, Meta(extra_json_schema={"minimum": 1870, "maximum": 2200})]
Vote = Annotated[float, Meta(extra_json_schema={"minimum": 0, "maximum": 10})]
Language = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 35, "pattern": LINE})]
Ordering = Literal[
    "popularity",
    "-popularity",
    "vote_average",
    "-vote_average",
    "release_date",
    "-release_date",
    "title",
    "-title",
    "created_at",
    "-created_at",
]


class UserRatingOut(msgspec.Struct):
    """The caller's own rating of a film."""

    rating: int
    review: str | None
    created_at: Instant


class MovieOut(msgspec.Struct):
    """A film as the caller sees it; `vote_average` and `vote_count` are the catalogue's."""

    id: int
    tmdb_id: int
    title: str
    overview: str
    release_date: date | None
    poster_path: str | None
    poster_url: str | None
    backdrop_path: str | None
    backdrop_url: str | None
    popularity: float
    vote_average: float
    vote_count: int
    original_language: str
    genre_ids: Sequence[int]
    is_favorite: bool
    user_rating: UserRatingOut | None
    created_at: Instant
    updated_at: Instant


class GenreOut(msgspec.Struct):
    """A kind of film."""

    id: int
    name: str


class MovieDetailOut(MovieOut):
    """A film with its genres' names and what this hub's people think of it."""

    genres: Sequence[GenreOut]
    average_rating: float | None
    ratings_count: int


def movie_values(marked: MarkedMovie) -> tuple[Any, ...]:
    """The fields of a MovieOut, in order."""
    movie, facts, rating = marked.movie, marked.movie.facts, marked.mark.rating
    poster, backdrop = facts.poster_path, facts.backdrop_path
    return (
        movie.id,
        facts.tmdb_id,
        facts.title,
        facts.overview,
        facts.release_date,
        poster,
        f"{IMAGES}w500{poster}" if poster else None,
        backdrop,
        f"{IMAGES}w1280{backdrop}" if backdrop else None,
        facts.popularity,
        facts.vote_average,
        facts.vote_count,
        facts.original_language,
        facts.genre_ids,
        marked.mark.favorite is not None,
        _rating_out(rating) if rating else None,
        movie.created_at,
        movie.updated_at,
    )


def movie_out(marked: MarkedMovie) -> MovieOut:
    """A film as JSON."""
    return MovieOut(*movie_values(marked))


UNMARKED = b'"is_favorite":false,"user_rating":null'
"""What JSON tells of a film that nobody in particular looks at. No text can hold it, for there a quote is escaped."""

MOST_ENCODED = 2_000
_encoded: OrderedDict[int, tuple[Movie, bytes, bytes]] = OrderedDict()
"""By the identity of a film: its JSON before and after what one person has said of it."""


def movie_json(marked: MarkedMovie) -> Any:
    """A film as JSON that is encoded already, once as long as the same film is at hand; it stands for a MovieOut."""
    movie, known = marked.movie, _encoded.get(id(marked.movie))
    if known is None or known[0] is not movie:
        while len(_encoded) >= MOST_ENCODED:
            _encoded.popitem(last=False)
        head, tail = msgspec.json.encode(movie_out(MarkedMovie(movie))).split(UNMARKED)
        known = _encoded[id(movie)] = movie, head, tail
    return msgspec.Raw(known[1] + mark_json(marked.mark) + known[2])


def mark_json(mark: Mark | None) -> bytes:
    """What one person has said of a film, as members of its JSON object."""
    if mark is None or (mark.favorite is None and mark.rating is None):
        return UNMARKED
    rating = b"null" if mark.rating is None else msgspec.json.encode(_rating_out(mark.rating))
    return b'"is_favorite":%b,"user_rating":%b' % (b"false" if mark.favorite is None else b"true", rating)


def marked_body(body: bytes, movie_ids: Sequence[int], marks: Mapping[int, Mark]) -> bytes:
    """An answer that shows these films as a stranger sees them, with the marks of one person put in."""
    if not marks:
        return body
    parts = body.split(UNMARKED)
    told = [mark_json(marks.get(movie_id)) for movie_id in movie_ids]
    return b"".join([piece for pair in zip(parts, [*told, b""], strict=True) for piece in pair])


def _rating_out(rating: Rating) -> UserRatingOut:
    return UserRatingOut(rating.opinion.score, rating.opinion.review, rating.created_at)


def _detail_out(seen: SeenMovie) -> MovieDetailOut:
    score = seen.detail.score
    return MovieDetailOut(  # type: ignore[call-arg]  # mypy does not count a starred tuple
        *movie_values(MarkedMovie(seen.detail.movie, seen.mark)),
        [GenreOut(genre.id, genre.name) for genre in seen.genres],
        score.average,
        score.count,
    )


class FilterIn(PageIn, frozen=True):
    """Which films, in which order; of several genres or languages any will do."""

    genre: tuple[int, ...] = ()
    language: tuple[Language, ...] = ()
    release_year: Year | None = None
    min_rating: Vote | None = None
    max_rating: Vote | None = None
    min_popularity: Annotated[float, Meta(extra_json_schema={"minimum": 0, "maximum": 1e9})] | None = None
    ordering: Ordering | None = None

    def filter(self, search: str = "") -> MovieFilter:
        """The domain's filter."""
        return _filter(self, search)


@lru_cache(1024)
def _filter(wanted: FilterIn, search: str) -> MovieFilter:
    return MovieFilter(
        search=search,
        genres=wanted.genre,
        languages=wanted.language,
        release_year=wanted.release_year,
        min_rating=wanted.min_rating,
        max_rating=wanted.max_rating,
        min_popularity=wanted.min_popularity,
        ordering=wanted.ordering or "-popularity",
    )


class ListIn(FilterIn, frozen=True):
    """Which of the hub's own films; `search` is sought in the title."""

    search: Annotated[str, Meta(extra_json_schema={"maxLength": 200, "pattern": LINE})] = ""
    cursor: CursorText | None = None


_KEYS: Mapping[str, Any] = {
    "popularity": float,
    "vote_average": float,
    "release_date": date | None,
    "title": str,
    "created_at": Moment,
}
"""The type of what each order goes by."""


@lru_cache(1024)
def _whole(wanted: MovieFilter) -> Whole:
    # What narrows nothing is left out, so that a filter that is new in a later version does not end older cursors.
    narrowed = [(each.name, told) for each in fields(wanted) if (told := getattr(wanted, each.name)) != each.default]
    return Whole(("movies", wanted.ordering, *narrowed), _KEYS[wanted.column])


RULES = {**PAGE_RULES, **domain.RULES, "language": domain.check_language}
LIST = Query(ListIn, RULES)


class MoviesController(Controller):
    """Films."""

    path = "/api/movies"
    tags = ["Movies"]

    @get("/", opt=call(auth="optional", query=LIST, answers={200: ScrollOut[MovieOut]}, refusals=(404,)))
    async def list_own(self, request: PublicRequest, list_movies: NamedDependency[ListMovies]) -> Response[bytes]:
        """List the films that this hub knows."""
        wanted = LIST.read(request)
        narrowed = wanted.filter(wanted.search)
        whole = _whole(narrowed)
        place = wanted.request_of(request, whole.place(wanted.cursor))
        page = await list_movies(wanted=narrowed, page=place)
        results = [movie_json(marked) for marked in page.items]
        exchange_of(request.scope).topics = (MOVIES,)
        body = ScrollOut(**scroll_envelope(request, page, whole), results=results)  # type: ignore[arg-type]
        return answer(body, headers={**markable(request, page.items, 0), "age": "0"})

    @get("/{movie_id:str}", opt=call(auth="optional", answers={200: MovieDetailOut}, refusals=(404,)))
    async def detail(self, request: PublicRequest, get_movie: NamedDependency[GetMovie]) -> Response[bytes]:
        """Show one film."""
        seen = await get_movie(movie_id=path_id(request, "movie_id"), user_id=viewer_id(request))
        return _shown(request, seen)

    @get("/tmdb/{tmdb_id:str}", opt=call(auth="optional", answers={200: MovieDetailOut}, refusals=(404,)))
    async def detail_by_tmdb_id(
        self, request: PublicRequest, get_movie_by_tmdb_id: NamedDependency[GetMovieByTmdbId]
    ) -> Response[bytes]:
        """Show one film by TMDb's id, fetched and kept if this hub has not met it."""
        seen = await get_movie_by_tmdb_id(tmdb_id=path_id(request, "tmdb_id"), user_id=viewer_id(request))
        return _shown(request, seen)


def _shown(request: PublicRequest, seen: SeenMovie) -> Response[bytes]:
    exchange_of(request.scope).topics = (about_movie(seen.detail.movie.id), MOVIES)
    return answer(_detail_out(seen), headers=own_headers(request))


def own_headers(request: AnyRequest) -> dict[str, str]:
    """The caching headers of what was read from our own storage just now: it may be kept, and asked for again."""
    return {**cache_headers(request, 0), "age": "0"}


def markable(request: AnyRequest, shown: Sequence[MarkedMovie], max_age: int) -> dict[str, str]:
    """The caching headers of a list of films as a stranger sees them; who is signed in has their marks put in."""
    exchange_of(request.scope).movie_ids = tuple(marked.movie.id for marked in shown)
    return {"cache-control": f"public, max-age={max_age}", "vary": PERSONAL}


def cache_headers(request: AnyRequest, max_age: int) -> dict[str, str]:
    """What a cache may do with a catalogue answer: a stranger's is anybody's for `max_age` seconds."""
    who = "private, max-age=0" if request.user else f"public, max-age={max_age}"
    return {"cache-control": who, "vary": PERSONAL}
