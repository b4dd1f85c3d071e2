"""Which pages of other origins may read the answers: those in the settings, none by default."""

from collections.abc import Iterable

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from moviehub.entrypoints.http.calls import send_whole

Headers = list[tuple[bytes, bytes]]

_EXPOSED = (
    b"access-control-expose-headers",
    b"Age, Cache-Status, ETag, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID",
)
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, If-None-Match, X-Request-ID, traceparent"),
    (b"access-control-max-age", b"600"),
]


class Cors:
    """Answers preflights, and tells on every other answer who may read it. Nobody may send cookies: there are none."""

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        self.app = app
        self.origins = frozenset(origin.encode() for origin in origins)
        self.anybody = b"*" in self.origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        asks = origin is not None and b"access-control-request-method" in headers
        if asks and scope.get("method") == "OPTIONS":
            told = self._told(origin)
            await send_whole(send, 204, self._varying(told + _PREFLIGHT if told else []), b"")
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self.marked([*message["headers"]], origin)
            await send(message)

        await self.app(scope, receive, marked)

    def marked(self, headers: Headers, origin: bytes | None) -> Headers:
        """The headers of an answer, and who may read it."""
        return self._varying([*headers, *self._told(origin)])

    def _told(self, origin: bytes | None) -> Headers:
        if self.anybody:  # on every answer, asked from elsewhere or not: a cache may keep it for both
            return [(b"access-control-allow-origin", b"*"), _EXPOSED]
        if origin in self.origins:
            return [(b"access-control-allow-origin", origin or b""), _EXPOSED]
        return []

    def _varying(self, headers: Headers) -> Headers:
        if self.anybody:
            return headers
        vary = [value for name, value in headers if name.lower() == b"vary"] or [b"Accept-Encoding"]
        others = [pair for pair in headers if pair[0].lower() != b"vary"]
        return [*others, (b"vary", b", ".join([*vary, b"Origin"]))]
