"""Films: what a catalogue tells of them, what the hub keeps, and how a list of them is narrowed and ordered."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from moviehub.domain.errors import Invalid, NotFound
from moviehub.domain.favorites import Favorite
from moviehub.domain.ratings import Rating, Score
from moviehub.domain.text import checked, faults, folded

FRESH_FOR = timedelta(days=1)
"""A film that the catalogue has not confirmed for longer than this is asked for again when it is shown."""

ORDERINGS = ("popularity", "vote_average", "release_date", "title", "created_at")


class MovieNotFound(NotFound):
    """There is no such film, here or in the catalogue."""

    slug = "movie-not-found"
    title = "No such movie"


@dataclass(frozen=True, slots=True)
class Genre:
    """A kind of film, by the catalogue's number and name."""

    id: int
    name: str


GENRES = tuple(
    Genre(number, name)
    for number, name in (
        (28, "Action"),
        (12, "Adventure"),
        (16, "Animation"),
        (35, "Comedy"),
        (80, "Crime"),
        (99, "Documentary"),
        (18, "Drama"),
        (10751, "Family"),
        (14, "Fantasy"),
        (36, "History"),
        (27, "Horror"),
        (10402, "Music"),
        (9648, "Mystery"),
        (10749, "Romance"),
        (878, "Science Fiction"),
        (10770, "TV Movie"),
        (53, "Thriller"),
        (10752, "War"),
        (37, "Western"),
    )
)
"""TMDb's film genres in English: what the hub says when the catalogue cannot be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieFacts:
    """What a catalogue tells of a film. It has no id of ours yet."""

    tmdb_id: int
    title: str
    overview: str = ""
    release_date: date | None = None
    poster_path: str | None = None
    backdrop_path: str | None = None
    popularity: float = 0.0
    vote_average: float = 0.0
    vote_count: int = 0
    original_language: str = ""
    genre_ids: tuple[int, ...] = ()

    @property
    def title_key(self) -> str:
        """The title as it is searched and ordered."""
        return folded(self.title)


@dataclass(frozen=True, slots=True, kw_only=True)
class Movie:
    """A film that the hub keeps: the catalogue's facts under an id of ours.

    `updated_at` is when the facts last changed, `fetched_at` when the catalogue was last asked about them and answered,
    `dropped_at` since when it has the film no more.
    """

    id: int
    facts: MovieFacts
    created_at: datetime
    updated_at: datetime
    fetched_at: datetime
    dropped_at: datetime | None = None

    def is_stale(self, now: datetime) -> bool:
        """Whether the catalogue should be asked again before the film is shown."""
        return now - self.fetched_at > FRESH_FOR

    def needs_rewrite(self, facts: MovieFacts, now: datetime) -> bool:
        """Whether `facts`, told now, are worth a write: they are news, or the last confirmation is half outlived."""
        return facts != self.facts or self.dropped_at is not None or now - self.fetched_at > FRESH_FOR / 2


@dataclass(frozen=True, slots=True)
class MovieDetail:
    """A film with what this hub's people think of it."""

    movie: Movie
    score: Score


@dataclass(frozen=True, slots=True)
class Mark:
    """What one person has said about one film."""

    favorite: Favorite | None = None
    rating: Rating | None = None


@dataclass(frozen=True, slots=True)
class MarkedMovie:
    """A film as one person sees it; for a stranger the mark is blank."""

    movie: Movie
    mark: Mark = field(default_factory=Mark)


def check_search(search: str) -> str:
    """`search`, if it is text of at most 200 characters."""
    return checked("search", search, most=200)


def check_year(year: int) -> int:
    """`year`, if films can be of it: 1870 to 2200."""
    if not 1870 <= year <= 2200:
        raise Invalid.field("release_year", "out_of_range", "expected a year from 1870 to 2200")
    return year


def check_language(language: str) -> str:
    """`language`, if it can be a language tag."""
    return checked("language", language, least=1, most=35)


def check_ordering(ordering: str) -> str:
    """`ordering`, if lists can be ordered by it."""
    if ordering.removeprefix("-") not in ORDERINGS:
        raise Invalid.field(
            "ordering", "unknown", f"expected one of {', '.join(ORDERINGS)}, with - in front for descending"
        )
    return ordering


def _check_within(name: str, most: float) -> Callable[[float], float]:
    def check(value: float) -> float:
        if not 0 <= value <= most:  # NaN fails this too
            raise Invalid.field(name, "out_of_range", f"expected a number from 0 to {most:g}")
        return value

    return check


RULES: Mapping[str, Callable[[Any], object]] = {
    "search": check_search,
    "release_year": check_year,
    "min_rating": _check_within("min_rating", 10),
    "max_rating": _check_within("max_rating", 10),
    "min_popularity": _check_within("min_popularity", 1e9),
    "ordering": check_ordering,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieFilter:
    """Which films a list shows, and in which order.

    `search` is sought anywhere in the title, without case and accents; of several genres or languages any will do;
    `except_id` is left out.
    Every order ends in the id, and films without a date come last in either direction.
    """

    search: str = ""
    genres: tuple[int, ...] = ()
    languages: tuple[str, ...] = ()
    release_year: int | None = None
    min_rating: float | None = None
    max_rating: float | None = None
    min_popularity: float | None = None
    except_id: int | None = None
    ordering: str = "-popularity"

    def __post_init__(self) -> None:
        found = faults({name: getattr(self, name) for name in RULES}, RULES)
        for language in self.languages:
            found += faults({"language": language}, {"language": check_language})
        if found:
            raise Invalid(found)

    @property
    def search_key(self) -> str:
        """The text that must stand in a film's `title_key`."""
        return folded(self.search)

    @property
    def column(self) -> str:
        """What the list is ordered by."""
        return self.ordering.removeprefix("-")

    @property
    def descending(self) -> bool:
        """Whether the greatest comes first."""
        return self.ordering.startswith("-")

    def matches(self, movie: Movie) -> bool:
        """Whether a film belongs to the list."""
        facts = movie.facts
        year = facts.release_date.year if facts.release_date else None
        return (
            self.search_key in facts.title_key
            and movie.id != self.except_id
            and (not self.genres or not set(self.genres).isdisjoint(facts.genre_ids))
            and (not self.languages or facts.original_language in self.languages)
            and (self.release_year is None or year == self.release_year)
            and (self.min_rating is None or facts.vote_average >= self.min_rating)
            and (self.max_rating is None or facts.vote_average <= self.max_rating)
            and (self.min_popularity is None or facts.popularity >= self.min_popularity)
        )

    def sorted(self, movies: Iterable[Movie]) -> list[Movie]:
        """`movies` in this order."""
        dated = [(self.key(movie), movie.id, movie) for movie in movies]
        known = sorted((row for row in dated if row[0] is not None), key=lambda row: row[:2], reverse=self.descending)
        unknown = sorted((row for row in dated if row[0] is None), key=lambda row: row[1], reverse=self.descending)
        return [row[2] for row in known + unknown]

    def key(self, movie: Movie) -> Any:
        """What the film is ordered by."""
        if self.column == "title":
            return movie.facts.title_key  # by code points, which is the byte order of the database's "C" collation
        if self.column == "created_at":
            return movie.created_at
        return getattr(movie.facts, self.column)


def name_genres(ids: Iterable[int], genres: Iterable[Genre]) -> tuple[Genre, ...]:
    """The genres of `ids`, in their order; numbers that nobody knows are left out."""
    known = {genre.id: genre for genre in genres}
    return tuple(known[number] for number in ids if number in known)
