"""Answers that anybody may see, kept encoded for a moment and looked up in front of the router.

A hot page costs a dictionary look-up: no routing, no encoding, no compression. What is kept is told by the answer's own
`Cache-Control`: public, with a life left. It is kept a second at most, so nothing here needs to be invalidated.
"""

import time
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]

LONGEST_KEPT = 1.0
MOST_KEPT = 1_000


@dataclass(slots=True)
class PublicPage:
    """A whole answer: its headers but for `Age`, `max-age` and what depends on the encoding asked for."""

    template: str
    headers: Headers
    etag: bytes
    body: bytes
    max_age: int
    age: int
    kept_at: float
    until: float
    gzipped: bytes | None = field(default=None)


class PublicPages:
    """The answers kept now, by target and host. Bounded: when it is full, the oldest go."""

    def __init__(self) -> None:
        self._pages: dict[tuple[object, ...], PublicPage] = {}

    def find(self, key: tuple[object, ...]) -> PublicPage | None:
        """The answer kept under `key`, if its moment is not over."""
        page = self._pages.get(key)
        if page is not None and time.monotonic() >= page.until:
            del self._pages[key]
            return None
        return page

    def keep(self, key: tuple[object, ...], page: PublicPage) -> None:
        """Keep an answer for its moment."""
        while len(self._pages) >= MOST_KEPT:
            del self._pages[next(iter(self._pages))]
        self._pages[key] = page
