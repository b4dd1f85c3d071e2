"""Answers that anybody may see, kept encoded for a moment and looked up in front of the router.

A hot page costs a dictionary look-up: no routing, no encoding, no compression. What is kept is told by the answer's own
`Cache-Control`: public, with a life left, or none if its topics are known, whose news end it. A second is the most.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from moviehub.application.kept import Kept

Headers = list[tuple[bytes, bytes]]

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
    gzipped: bytes | None = field(default=None)

    @classmethod
    def of(
        cls, template: str, headers: Headers, etag: bytes, body: bytes, topics: Sequence[str]
    ) -> "PublicPage | None":
        """The page that is kept of an answer with these headers, if they or its topics allow it."""
        told = dict(headers)
        life = _MAX_AGE.fullmatch(told.get(b"cache-control", b""))
        if life is None or not (int(life[1]) or topics):
            return None
        return cls(
            template=template,
            headers=[pair for pair in headers if pair[0] not in _OF_ONE_ANSWER],
            etag=etag,
            body=body,
            max_age=int(life[1]),
            age=int(told.get(b"age", b"0")),
            kept_at=time.monotonic(),
        )


PublicPages = Kept[tuple[object, ...], PublicPage]
"""The answers kept now, by target and host."""
