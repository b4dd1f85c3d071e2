"""The access log: one line of JSON for each request that is wanted, which does not tell what was asked for."""

import math
from datetime import UTC, datetime

import msgspec

from moviehub.entrypoints import logs
from moviehub.entrypoints.http.exchange import Exchange
from moviehub.entrypoints.http.limits import UNLIMITED
from moviehub.entrypoints.http.metrics import METHODS

SLOW = 1.0
"""Seconds from which on a request is told whatever came of it, unless none is."""

_FROM = {"off": (math.inf, math.inf), "errors": (500, SLOW), "all": (0, 0.0)}

_LEVELS = {500: "error", 503: "warning"}
"""Who is told to come back later met no mistake of ours."""


class _Line(msgspec.Struct, tag_field="event", tag="request", omit_defaults=True):
    """What is told. No path and no query, for searches are private, and no address: the audit trail has those it needs.

    All of it is ASCII, for nothing is as the client wrote it but the ids, which are checked.
    """

    level: str
    timestamp: datetime
    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    bytes: int
    trace_id: str = ""
    user_id: int | None = None
    refusal: str = ""


class AccessLog:
    """Tells of a request if its status or its seconds reach the least that is wanted.

    The edge compares, so that what is not told costs nothing more. Neither goes it through the processors of other
    events: they take longer than most requests.
    """

    def __init__(self, wanted: str) -> None:
        self.least_status, self.least_seconds = _FROM[wanted]
        self.every = wanted == "all"

    def tell(self, exchange: Exchange, route: str, seconds: float) -> None:
        """Write the line of a request that was answered; of health and metrics only if they failed."""
        failed = exchange.status >= 500
        if exchange.path in UNLIMITED and not failed:
            return
        line = _Line(
            level=_LEVELS.get(exchange.status, "info"),
            timestamp=datetime.now(UTC),
            request_id=exchange.request_id,
            method=exchange.method if exchange.method in METHODS else "OTHER",
            route=route,
            status=exchange.status,
            seconds=round(seconds, 6),
            bytes=exchange.sent,
            trace_id=logs.trace_id(),
            user_id=exchange.user_id,
            refusal=exchange.refusal,
        )
        logs.write(msgspec.json.encode(line).decode())
