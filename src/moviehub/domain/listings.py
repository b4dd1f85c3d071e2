"""Listings: questions to the catalogue that are values; each is at once the question, its cache key and its page."""

import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal, Self
from urllib.parse import quote

from moviehub.domain.errors import Invalid
from moviehub.domain.movies import Genre, MarkedMovie, Movie, MovieFacts
from moviehub.domain.pages import MOST_COUNTED, Page
from moviehub.domain.text import LONGEST_NORMALIZED, checked

PAGE_SIZE = 20
"""How many films the catalogue puts on a page."""

LAST_PAGE = MOST_COUNTED // PAGE_SIZE
"""The catalogue serves no page after this one."""

Window = Literal["day", "week"]


def normalized_query(text: str) -> str:
    """What somebody looks for, in the form that makes one key of it: NFC, trimmed, spaces collapsed, case-folded.

    Raises Invalid naming `q` unless 1 to 200 characters are left.
    """
    checked("q", text, most=LONGEST_NORMALIZED)
    query = unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", text).casefold().split()))
    return checked("q", query, least=1, most=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list of films that the catalogue keeps, by its own pages (from 1 to 500, 20 films each)."""

    name: ClassVar[str] = ""
    page: int = 1

    @property
    def key(self) -> str:
        """The name under which this page is cached."""
        return f"{self.name}_page_{self.page}"

    def on_page(self, page: int) -> Self:
        """The same list at another page."""
        return replace(self, page=page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Popular(Listing):
    """What many people look at now."""

    name = "popular_movies"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopRated(Listing):
    """What people have liked best."""

    name = "top_rated_movies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trending(Listing):
    """What is rising today or this week."""

    window: Window = "week"

    def __post_init__(self) -> None:
        if self.window not in ("day", "week"):
            raise Invalid.field("time_window", "unknown", "expected day or week")

    @property
    def key(self) -> str:
        return f"trending_movies_{self.window}_page_{self.page}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Listing):
    """Films whose title has to do with `query` (as `normalized_query` gives it), perhaps of one year."""

    query: str
    year: int | None = None

    @property
    def key(self) -> str:
        # Quoted, so that no query can pretend to be another with a year or a page behind it.
        year = f"?year={self.year}" if self.year else ""
        return f"search_movies_{quote(self.query, safe=' ')}_page_{self.page}{year}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended(Listing):
    """Films for those who liked the film of this `tmdb_id`."""

    tmdb_id: int

    @property
    def key(self) -> str:
        return f"recommended_movies_{self.tmdb_id}_page_{self.page}"


@dataclass(frozen=True, slots=True)
class CataloguePage:
    """One page as the catalogue tells it: at most 20 films, and how many there are on all pages."""

    facts: tuple[MovieFacts, ...]
    total: int


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One page of a listing whose films the hub has met."""

    movies: tuple[Movie, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer came from: the catalogue or our own shelves, from the cache or not, since when and until when."""

    source: Literal["tmdb", "local"]
    cached: bool
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class FoundGenres:
    """Every genre, and where they came from."""

    genres: tuple[Genre, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Found:
    """A page of films as one person sees them, and where it came from."""

    page: Page[MarkedMovie]
    provenance: Provenance
