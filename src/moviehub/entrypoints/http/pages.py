"""How a page of things is asked for and answered over HTTP."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from moviehub.domain.pages import Page, PageRequest
from moviehub.entrypoints.http.exchange import exchange_of
from moviehub.entrypoints.http.inputs import LONGEST_REMEMBERED, AnyRequest, Rules

T = TypeVar("T")


class PageIn(msgspec.Struct, kw_only=True, frozen=True):
    """Which page, from 1, and how many things on it, 1 to 100."""

    page: int = 1
    page_size: int | None = None

    def request_of(self, request: AnyRequest) -> PageRequest:
        """The page asked for, of the size in the settings when none is named."""
        size = exchange_of(request.scope).settings.page_size if self.page_size is None else self.page_size
        return PageRequest(self.page, size)


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


def envelope(request: AnyRequest, page: Page[object]) -> dict[str, object]:
    """Everything of a PageOut but its results."""
    number = page.request.number
    here = exchange_of(request.scope)
    target = (here.base_url + quote(here.path), request.scope["query_string"])
    # The same few queries are asked again and again; long ones are not worth the room.
    link = _link if len(target[1]) <= LONGEST_REMEMBERED else _link.__wrapped__
    return {
        "count": page.total,
        "page": number,
        "page_size": page.request.size,
        "total_pages": page.pages,
        "next": link(*target, number + 1) if number < page.pages else None,
        "previous": link(*target, min(number - 1, page.pages)) if number > 1 else None,
    }


@lru_cache(2048)
def _link(url: str, query: bytes, number: int) -> str:
    kept = [pair for pair in parse_qsl(query.decode(), keep_blank_values=True) if pair[0] != "page"]
    if number > 1:
        kept.append(("page", str(number)))
    return f"{url}?{urlencode(kept)}" if kept else url
