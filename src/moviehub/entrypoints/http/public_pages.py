"""Answers that anybody may see, kept encoded for a moment and looked up in front of the router.

A hot page costs a dictionary look-up: no routing, no encoding, no compression. What is kept is told by the answer's own
`Cache-Control`: public, with a life left. It is kept a second at most, so nothing here needs to be invalidated.
"""

import re
import time
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]

LONGEST_KEPT = 1.0
MOST_KEPT = 1_000

_MAX_AGE = re.compile(rb"public, max-age=([0-9]+)")
_OF_ONE_ANSWER = (
    *(b"cache-control", b"age", b"x-request-id", b"content-length", b"cache-status"),
    *(b"ratelimit-policy", b"ratelimit"),
)


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

    @classmethod
    def of(cls, template: str, headers: Headers, etag: bytes, body: bytes) -> "PublicPage | None":
        """The page that is kept of an answer with these headers, if they allow it."""
        told = dict(headers)
        life = _MAX_AGE.fullmatch(told.get(b"cache-control", b""))
        if life is None or int(life[1]) == 0:
            return None
        now = time.monotonic()
        return cls(
            template=template,
            headers=[pair for pair in headers if pair[0] not in _OF_ONE_ANSWER],
            etag=etag,
            body=body,
            max_age=int(life[1]),
            age=int(told.get(b"age", b"0")),
            kept_at=now,
            until=now + min(LONGEST_KEPT, int(life[1])),
        )


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
