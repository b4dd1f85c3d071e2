"""Answers that anybody may see, kept encoded for a moment and looked up in front of the router.

A hot page costs a dictionary look-up: no routing, no encoding, no compression. What is kept is told by the answer's own
`Cache-Control`: public, with a life left, or none if its topics are known, whose news end it. A second is the most.
"""

import re
import time
from dataclasses import dataclass, field
from datetime import timedelta

from moviehub.application.kept import LONGEST_KEPT, Kept
from moviehub.entrypoints.http.exchange import Exchange
from moviehub.entrypoints.http.negotiation import Headers, etag_of

_MAX_AGE = re.compile(rb"public, max-age=([0-9]+)")
_OF_ONE_ANSWER = (b"cache-control", b"age", b"cache-status")


@dataclass(slots=True)
class PublicPage:
    """An answer of the router: its body, and its headers but for those that depend on when it is asked for.

    If it is a list, `movie_ids` are the films that it shows, for whoever wants to see what they have said of them.
    `shared` are its headers with those that every answer has alike.
    """

    template: str
    headers: Headers
    body: bytes
    max_age: int
    age: int
    kept_at: float
    etag: bytes
    movie_ids: tuple[int, ...] | None
    shared: Headers = field(default_factory=list)
    gzipped: bytes | None = None
    _now: tuple[int, Headers] = (-1, [])
    """How many seconds it has waited, and what its headers are then."""

    @classmethod
    def of(cls, template: str, headers: Headers, body: bytes, exchange: Exchange) -> "PublicPage | None":
        """The page that is kept of an answer with these headers, if they or its topics allow it."""
        told = dict(headers)
        life = _MAX_AGE.fullmatch(told.get(b"cache-control", b""))
        if life is None or not (int(life[1]) or exchange.topics):
            return None
        return cls(
            template=template,
            headers=[pair for pair in headers if pair[0] not in _OF_ONE_ANSWER],
            body=body,
            max_age=int(life[1]),
            age=int(told.get(b"age", b"0")),
            kept_at=time.monotonic(),
            etag=etag_of(body),
            movie_ids=exchange.movie_ids,
        )

    def headers_now(self) -> Headers:
        """The headers that depend on when it is asked for: now."""
        waited = int(time.monotonic() - self.kept_at)
        if self._now[0] != waited:
            left = max(0, self.max_age - waited)
            self._now = (
                waited,
                [
                    (b"cache-control", b"public, max-age=%d" % left),
                    (b"age", b"%d" % (self.age + waited)),
                    (b"cache-status", b"moviehub; hit"),
                ],
            )
        return self._now[1]

    @property
    def life(self) -> timedelta:
        """How long it is kept, if nobody ends it before."""
        return timedelta(seconds=self.max_age) if self.max_age else LONGEST_KEPT


PublicPages = Kept[tuple[object, ...], PublicPage]
"""The answers kept now, by target and host."""
