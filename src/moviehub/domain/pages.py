"""Pages: which slice of an ordered whole somebody asked for, and the slice itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from moviehub.domain.errors import FieldError, Invalid, NotFound

T = TypeVar("T")
U = TypeVar("U")

MOST_PER_PAGE = 100
MOST_COUNTED = 10_000
"""Counts of long lists stop here, as TMDb's own do: nobody turns a thousand pages."""


class NoSuchPage(NotFound):
    """A page past the end."""

    slug = "no-such-page"
    title = "No such page"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an ordered whole: behind the thing with this key, which is what it is ordered by, and this id.

    What has no key comes last.
    """

    key: Any
    id: int


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Page `number` (from 1) of `size` (1 to 100) things; with `after` and number 1, the things behind that place."""

    number: int = 1
    size: int = 10
    after: Cursor | None = None

    def __post_init__(self) -> None:
        errors = []
        if self.number < 1:
            errors.append(FieldError("page", "out_of_range", "expected an integer from 1"))
        if not 1 <= self.size <= MOST_PER_PAGE:
            errors.append(FieldError("page_size", "out_of_range", f"expected an integer from 1 to {MOST_PER_PAGE}"))
        if errors:
            raise Invalid(errors)

    @property
    def offset(self) -> int:
        """How many things come before this page."""
        return (self.number - 1) * self.size

    def refuse_past(self, total: int) -> None:
        """Raise NoSuchPage if this page starts past `total` things; page 1 of nothing is an empty page."""
        if self.number > 1 and self.offset >= total:
            raise NoSuchPage(f"There is no page {self.number} of {self.size} here.")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The things on one page, and how many there are on all; after a cursor nobody has counted.

    `end` is the place behind the last of them if more follow and the whole can be read on from there.
    """

    items: tuple[T, ...]
    total: int | None
    request: PageRequest
    end: Cursor | None = None

    def __post_init__(self) -> None:
        if self.total is not None:
            self.request.refuse_past(self.total)

    @classmethod
    def cut(
        cls, found: Sequence[T], size: int, total: int | None, request: PageRequest, place: Callable[[T], Cursor]
    ) -> "Page[T]":
        """The first `size` of the things found from the start of the page on; if there is one more, more follow."""
        items = tuple(found[:size])
        return cls(items, total, request, place(items[-1]) if items and len(found) > size else None)

    @property
    def pages(self) -> int | None:
        """How many pages there are on the whole, if that was counted; 1 when there is nothing."""
        return None if self.total is None else max(1, -(-self.total // self.request.size))

    def map(self, change: Callable[[T], U]) -> "Page[U]":
        """The same page of changed things."""
        return Page(tuple(change(item) for item in self.items), self.total, self.request, self.end)
