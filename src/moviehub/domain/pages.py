"""Pages: which slice of an ordered whole somebody asked for, and the slice itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

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
class PageRequest:
    """Page `number` (from 1) of `size` (1 to 100) things."""

    number: int = 1
    size: int = 10

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
    """The things on one page, and how many there are on all."""

    items: tuple[T, ...]
    total: int
    request: PageRequest

    def __post_init__(self) -> None:
        self.request.refuse_past(self.total)

    @property
    def pages(self) -> int:
        """How many pages there are on the whole; 1 when there is nothing."""
        return max(1, -(-self.total // self.request.size))

    def map(self, change: Callable[[T], U]) -> "Page[U]":
        """The same page of changed things."""
        return Page(tuple(change(item) for item in self.items), self.total, self.request)
