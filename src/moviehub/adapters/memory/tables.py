"""What the memory storage keeps: a dict for each table, copied whole for a transaction."""

from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import count
from types import MappingProxyType
from typing import TypeVar

from moviehub.domain.audit import Recorded
from moviehub.domain.errors import Invalid
from moviehub.domain.favorites import Favorite
from moviehub.domain.movies import Mark, MarkedMovie, Movie
from moviehub.domain.pages import Cursor, Page, PageRequest
from moviehub.domain.ratings import Rating
from moviehub.domain.sessions import Session
from moviehub.domain.users import User

T = TypeVar("T")


@dataclass(slots=True)
class Tables:
    """Every row by its id or, where a person has one for a film, by the ids of both. Entities never change in place."""

    users: MutableMapping[int, User] = field(default_factory=dict)
    sessions: MutableMapping[int, Session] = field(default_factory=dict)
    movies: MutableMapping[int, Movie] = field(default_factory=dict)
    favorites: MutableMapping[tuple[int, int], Favorite] = field(default_factory=dict)
    ratings: MutableMapping[tuple[int, int], Rating] = field(default_factory=dict)
    audit: MutableMapping[int, Recorded] = field(default_factory=dict)
    logins: MutableMapping[tuple[str, str], int] = field(default_factory=dict)
    """Users by `("username", key)` and `("email", key)`."""
    tmdb_ids: MutableMapping[int, int] = field(default_factory=dict)
    """Films by the catalogue's id."""

    def copy(self) -> "Tables":
        """Tables to work in, that nobody else sees."""
        return Tables(*(dict(getattr(self, each.name)) for each in fields(self)))

    def show(self, tables: "Tables") -> None:
        """Hold what these tables hold, for those who only read: a write is a TypeError."""
        for each in fields(self):
            setattr(self, each.name, MappingProxyType(getattr(tables, each.name)))

    def marked(self, user_id: int, movie_id: int) -> MarkedMovie:
        """A film as this person sees it."""
        key = (user_id, movie_id)
        return MarkedMovie(self.movies[movie_id], Mark(self.favorites.get(key), self.ratings.get(key)))


class Ids:
    """Numbers for new rows. Like a database's sequences they do not go back when a transaction does."""

    def __init__(self) -> None:
        self.users, self.sessions, self.movies = count(1), count(1), count(1)
        self.favorites, self.ratings, self.audit = count(1), count(1), count(1)


def page_of(items: Sequence[T], page: PageRequest, *, most: int | None = None) -> Page[T]:
    """The page of these items, as if there were at most `most`."""
    counted = items[:most]
    return Page(tuple(counted[page.offset : page.offset + page.size]), len(counted), page)


def scrolled(
    items: Sequence[T],
    page: PageRequest,
    place: Callable[[T], Cursor],
    *,
    most: int | None = None,
    descending: bool = True,
) -> Page[T]:
    """The page of these items, which can be read on from any `place`; numbered pages end as if there were `most`."""
    if page.after is not None:
        rest = [each for each in items if _follows(place(each), page.after, descending=descending)]
        return Page.cut(rest, page.size, None, page, place)
    total = len(items[:most])
    size = max(0, min(page.size, total - page.offset))
    return Page.cut(items[page.offset : page.offset + size + 1], size, total, page, place)


def _follows(one: Cursor, other: Cursor, *, descending: bool) -> bool:
    if (one.key is None) != (other.key is None):
        return one.key is None
    here, there = ((each.id,) if each.key is None else (each.key, each.id) for each in (one, other))
    return here < there if descending else here > there


def refuse_unstorable(*texts: str | None) -> None:
    """Raise Invalid for text that no database takes: with NUL or lone surrogates."""
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for text in texts for c in text or ""):
        raise Invalid(detail="a value cannot be stored")


def refuse_beyond(bits: int, numbers: Iterable[int]) -> None:
    """Raise Invalid for numbers that do not fit into so many bits."""
    if any(not -(1 << bits - 1) <= number < 1 << bits - 1 for number in numbers):
        raise Invalid(detail="a value cannot be stored")
