"""How a page of things is asked for and answered over HTTP."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from msgspec import Meta

from moviehub.domain.errors import Invalid
from moviehub.domain.pages import Cursor, Page, PageRequest
from moviehub.entrypoints.http.cursors import CursorText, Whole
from moviehub.entrypoints.http.exchange import exchange_of
from moviehub.entrypoints.http.inputs import LONGEST_REMEMBERED, AnyRequest, Rules

T = TypeVar("T")

_PLAIN = re.compile(rb"[\w.~-]+=[\w.~+-]*(?:&[\w.~-]+=[\w.~+-]*)*")
"""A query that says the same when it is taken apart and put together again."""


class PageIn(msgspec.Struct, kw_only=True, frozen=True):
    """Which page, from 1, and how many things on it, 1 to 100."""

    page: Annotated[int, Meta(extra_json_schema={"default": 1})] | None = None
    page_size: int | None = None

    def request_of(self, request: AnyRequest, after: Cursor | None = None) -> PageRequest:
        """The page asked for, of the size in the settings when none is named; or the one after a place."""
        if after is not None and self.page is not None:
            raise Invalid.field("cursor", "ambiguous", "expected a page or a cursor, not both")
        size = exchange_of(request.scope).settings.page_size if self.page_size is None else self.page_size
        return PageRequest(self.page or 1, size, after)


class ScrollIn(PageIn, frozen=True):
    """Which page, by its number or by the `next_cursor` of the one before."""

    cursor: CursorText | None = None


PAGE_RULES: Rules = {"page": PageRequest, "page_size": lambda size: PageRequest(1, size)}


class PageOut(msgspec.Struct, Generic[T], kw_only=True):
    """A page of things and the way to its neighbours."""

    count: int
    page: int
    page_size: int
    total_pages: int
    next: str | None
    previous: str | None
    results: Sequence[T]


class ScrollOut(msgspec.Struct, Generic[T], kw_only=True):
    """A page of things, the way to its neighbours, and `next_cursor` if more follow, be it past the last number.

    On a page by cursor nothing is counted: `count`, `page`, `total_pages` and `previous` are null.
    """

    count: int | None
    page: int | None
    page_size: int
    total_pages: int | None
    next: str | None
    previous: str | None
    next_cursor: str | None
    results: Sequence[T]


def envelope(request: AnyRequest, page: Page[object]) -> dict[str, object]:
    """Everything of a PageOut but its results."""
    number, pages = page.request.number, page.pages or 1
    target = _target(request)
    # The same few queries are asked again and again; long ones are not worth the room.
    link = _link if len(target[1]) <= LONGEST_REMEMBERED else _link.__wrapped__
    return {
        "count": page.total,
        "page": number,
        "page_size": page.request.size,
        "total_pages": page.pages,
        "next": link(*target, number + 1) if number < pages else None,
        "previous": link(*target, min(number - 1, pages)) if number > 1 else None,
    }


def scroll_envelope(request: AnyRequest, page: Page[object], whole: Whole) -> dict[str, object]:
    """Everything of a ScrollOut but its results."""
    told = {**envelope(request, page), "next_cursor": None if page.end is None else whole.tell(page.end)}
    if page.request.after is not None:
        told["page"] = None
        if told["next_cursor"] is not None:
            told["next"] = _with(*_target(request), ("cursor", str(told["next_cursor"])))
    return told


def _target(request: AnyRequest) -> tuple[str, bytes]:
    here = exchange_of(request.scope)
    return here.base_url + quote(here.path), request.scope["query_string"]


@lru_cache(2048)
def _link(url: str, query: bytes, number: int) -> str:
    return _with(url, query, *([("page", str(number))] if number > 1 else []))


def _with(url: str, query: bytes, *place: tuple[str, str]) -> str:
    if _PLAIN.fullmatch(query):
        parts = [part for part in query.decode().split("&") if not part.startswith(("page=", "cursor="))]
        parts += [f"{name}={value}" for name, value in place]
        return f"{url}?{'&'.join(parts)}" if parts else url
    kept = [pair for pair in parse_qsl(query.decode(), keep_blank_values=True) if pair[0] not in ("page", "cursor")]
    kept += place
    return f"{url}?{urlencode(kept)}" if kept else url
