"""Whom a worker turns away when more is asked than it can do: first searches, then other reads, then writes."""

import itertools
import time
from collections.abc import Callable
from typing import Any, Literal

from litestar.types import Receive

from moviehub.application.flights import Flights
from moviehub.domain.errors import Unavailable
from moviehub.entrypoints.http import problems
from moviehub.entrypoints.http.exchange import Exchange
from moviehub.entrypoints.http.limits import UNLIMITED

Kind = Literal["search", "read", "write", "entry"]
Headers = list[tuple[bytes, bytes]]

LONGEST_BURST = 0.3
"""Seconds for which all places may be taken: a crowd that lasts longer is a queue, and a long one helps nobody."""

_SEARCH = ("/api/movies/search", "/api/v1/movies/search")


class Overloaded(Unavailable):
    """More is asked of the server just now than it can do."""

    slug = "overloaded"
    title = "Overloaded"


class Overload:
    """Counts the requests that a worker has under way, and tells which more of them are turned away.

    It has `most` places: searches may fill half of them, other reads three quarters, and what people write all. A burst
    finds them all. When they have not been nearly empty for `LONGEST_BURST`, the crowd is no burst but a queue, in
    which everybody waits for nothing: then there is a quarter of the places, which is enough to keep a worker busy.
    (Maurer, "Fail at Scale", 2015, has the idea.)

    Whoever waits for work that others may wait for too, or still sends a body, takes no place, for it keeps nobody
    from anything. What strangers send, to sign in and the like, has as many places of its own: nearly all of that waits
    for the few threads that hash passwords, so a flood of it takes no place from others, nor they from it. `under_way`
    tells how many of each kind there are.
    """

    def __init__(self, most: int, flights: Flights, watch: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._flights = flights
        self._watch = watch
        self.under_way: dict[Kind, int] = {"search": 0, "read": 0, "write": 0, "entry": 0}
        self._calm_at = 0.0
        self._refusal = problems.prebuilt(Overloaded("More is asked of the server just now than it can do."))
        self._seconds = itertools.cycle((b"1", b"2", b"3"))  # by turns, so that not all come back at once

    @staticmethod
    def kind_of(exchange: Exchange) -> Kind | None:
        """What a request is, or None if it is never turned away: health and metrics."""
        if exchange.path in UNLIMITED:
            return None
        if exchange.method in ("GET", "HEAD"):
            return "search" if exchange.path.startswith(_SEARCH) else "read"
        return "entry" if exchange.authorization is None else "write"

    def is_full(self, kind: Kind) -> bool:
        """Whether one more of this kind is turned away now."""
        if kind == "entry":
            return self.under_way["entry"] >= self._most
        here, most = self.under_way, self._most
        crowd = here["search"] + here["read"] + here["write"] - self._flights.waiting
        now = self._watch()
        if crowd <= most // 16:
            self._calm_at = now
        if now - self._calm_at > LONGEST_BURST:
            most //= 4
        if kind == "write":
            return crowd >= most
        # Flights have bounds of their own, so they count only when there are more of them than can be meant.
        return crowd >= (most // 2 if kind == "search" else most * 3 // 4) or len(self._flights) >= self._most

    def begin(self, kind: Kind, receive: Receive) -> Receive:
        """A request takes its place; with what it gives back, a body can be waited for without one."""
        self._count(kind, 1)
        if kind not in ("write", "entry"):
            return receive

        async def received() -> Any:
            self._count(kind, -1)
            try:
                return await receive()
            finally:
                self._count(kind, 1)

        return received

    def end(self, kind: Kind) -> None:
        """It gives its place back."""
        self._count(kind, -1)

    def refusal(self, exchange: Exchange) -> tuple[Headers, bytes]:
        """Headers and body of the answer to whoever is turned away, as cheap as can be: there are many of them."""
        body = self._refusal(exchange)
        exchange.refusal = Overloaded.slug
        return [
            (b"content-type", problems.MEDIA_TYPE.encode()),
            (b"cache-control", b"no-store"),
            (b"retry-after", next(self._seconds)),
            (b"content-length", b"%d" % len(body)),
        ], body

    def _count(self, kind: Kind, change: int) -> None:
        self.under_way[kind] += change
