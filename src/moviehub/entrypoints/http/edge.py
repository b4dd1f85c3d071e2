"""What is true of every exchange: ids, limits, headers, conditional requests, compression, and one answer for HEAD."""

import gzip
import hashlib
import random
import re
import time
from datetime import timedelta

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Send

from moviehub.application.flights import CALLER
from moviehub.application.kept import LONGEST_KEPT
from moviehub.application.ports import Clock
from moviehub.domain.errors import MovieHubError
from moviehub.domain.limits import RateLimited
from moviehub.entrypoints.http import problems
from moviehub.entrypoints.http.access import AccessLog
from moviehub.entrypoints.http.bounds import LARGEST_HEADERS, drain, refusal_of
from moviehub.entrypoints.http.cors import Cors
from moviehub.entrypoints.http.exchange import Exchange, Proxies
from moviehub.entrypoints.http.limits import UNLIMITED, Gate, told
from moviehub.entrypoints.http.metrics import Metrics
from moviehub.entrypoints.http.negotiation import LEAST_COMPRESSED, accepts_gzip, encoded, etag_matches
from moviehub.entrypoints.http.overload import Overload
from moviehub.entrypoints.http.public_pages import Headers, PublicPage, PublicPages
from moviehub.entrypoints.logs import REQUEST
from moviehub.entrypoints.settings import Settings

LONGEST_REMEMBERED = 200

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_OF_A_BODY = (b"content-type", b"content-length", b"content-encoding")
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class Edge:
    """The outermost ASGI application of a worker, around the router."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        gate: Gate,
        overload: Overload,
        pages: PublicPages,
    ) -> None:
        self.cors = Cors(app, settings.cors_origins) if settings.cors_origins else None
        self.app: ASGIApp = self.cors or app
        self.gate = gate
        self.overload = overload
        self.settings = settings
        self.clock = clock
        self.pages = pages
        self.proxies = Proxies(settings)
        self.metrics = metrics
        self.access = AccessLog(settings.access_log)
        self.origins = frozenset(origin.encode() for origin in settings.cors_origins)

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = time.perf_counter()
        path = scope["path"]
        size = 0
        request_id = host = authorization = length = origin = None
        encoding = condition = b""
        media = b"application/json"
        for name, value in scope["headers"]:
            size += len(name) + len(value) + 4
            if name == b"host":
                host = value if host is None else b""  # two of them are none
            elif name == b"accept-encoding":
                encoding = encoding + b"," + value if encoding else value
            elif name == b"authorization":
                authorization = value if authorization is None else b""
            elif name == b"if-none-match":
                condition = condition + b"," + value if condition else value
            elif name == b"x-request-id":
                request_id = value
            elif name == b"content-type":
                media = value
            elif name == b"content-length":
                length = value
            elif name == b"origin":
                origin = value
        if request_id is None or not _SANE_ID.fullmatch(request_id):
            request_id = b"%032x" % random.getrandbits(128)
        method = scope["method"]
        gzipped = accepts_gzip(encoding[:LONGEST_REMEMBERED])
        exchange = Exchange(
            scope=scope,
            path=path,
            method=method,
            request_id=request_id.decode(),
            host=(host or b"").decode("latin-1"),
            authorization=None if authorization is None else authorization.decode("latin-1"),
            content_type=media.decode("latin-1"),
            proxies=self.proxies,
            settings=self.settings,
            clock=self.clock,
            moment=self.pages.moment,
        )
        REQUEST.set((exchange.request_id, scope["headers"]))
        key = page = None
        if authorization is None and host and size <= LARGEST_HEADERS and method in ("GET", "HEAD"):
            seen = (exchange.scheme, exchange.base_url) if self.proxies.any else (scope["scheme"], host)
            key = (path, scope["query_string"], *seen, origin if origin in self.origins else None)
            page = self.pages.find(key)
        # A page that is kept costs no more than a refusal. A refusal comes before all else, for it must cost nothing.
        kind = self.overload.kind_of(exchange) if page is None else None
        if kind is not None and self.overload.is_full(kind):
            headers, body = self.overload.refusal(exchange)
            headers = headers if self.cors is None else self.cors.marked(headers, origin)
            await exchange.answer(send, 503, self._common(headers, exchange), body)
            self.metrics.count_turned_away(kind)
            if self.access.every:  # of a crowd it is enough to know how many
                self.access.tell(exchange, "(none)", time.perf_counter() - started)
            return
        receive = self.overload.begin(kind, receive)
        try:
            limited = None
            if authorization is None and path not in UNLIMITED:
                try:
                    await self.gate.pass_stranger(exchange)
                except RateLimited as refusal:
                    limited = refusal
            if page is not None and limited is None:
                await self._send_page(page, exchange, gzipped, condition, send)
                scope["path_template"] = page.template
                template, exchange.cache = page.template, "kept"
            else:
                fault = limited or refusal_of(scope, host, size, length)
                template = await self._serve(scope, receive, send, exchange, fault, origin, gzipped, condition, key)
        finally:
            self.overload.end(kind)
        seconds = time.perf_counter() - started
        self.metrics.count(method, template, exchange.status, seconds)
        if exchange.cache:
            self.metrics.catalogue_answers[template, exchange.cache] += 1
        access = self.access
        if seconds >= access.least_seconds or exchange.status >= access.least_status:
            access.tell(exchange, template, seconds)

    async def _serve(
        self,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        exchange: Exchange,
        fault: MovieHubError | None,
        origin: bytes | None,
        gzipped: bool,
        condition: bytes,
        key: tuple[object, ...] | None,
    ) -> str:
        """Ask the router unless there is a fault already. The template of the path."""
        path, method = exchange.path, exchange.method
        scope["moviehub"] = exchange  # type: ignore[typeddict-unknown-key]
        CALLER.set(object())
        answer = _Answer()
        if path.startswith("/api/v1/"):
            scope["path"] = "/api/" + path[8:]
            scope["raw_path"] = scope["path"].encode()
        if method == "HEAD":
            scope["method"] = "GET"
        try:
            try:
                if fault is None:
                    await self.app(scope, receive, answer.take)
            finally:
                if not exchange.counted and path not in UNLIMITED:
                    await self.gate.pass_stranger(exchange)  # whoever says who they are where nobody asks
        except Exception as raised:
            fault = problems.fault_of(raised, exchange, scope.get("path_template"))
        if fault is not None:
            answer.problem(fault, exchange)
            if self.cors is not None:
                answer.headers = self.cors.marked(answer.headers, origin)
        if answer.status == 429:
            for standing in exchange.standings:
                if standing.refused:
                    self.metrics.count_refusal(standing.limit.name)
        if answer.status == 413:
            await drain(receive)
        if method == "OPTIONS" and answer.status == 405:
            answer.status = 204
        template = scope.get("path_template") or "(none)"
        if answer.status == 200 and method in ("GET", "HEAD"):
            await self._send_good(answer, exchange, gzipped, condition, send, key, template)
        else:
            headers = self._common(answer.headers, exchange)
            if answer.status == 204:
                body, headers = b"", [pair for pair in headers if pair[0] != b"content-type"]
            else:
                body, headers = encoded(answer.body, headers, gzipped)
            await exchange.answer(send, answer.status, headers, body)
        return template

    def _common(self, headers: Headers, exchange: Exchange) -> Headers:
        """The answer's own headers and those that every answer has."""
        names = {name for name, _ in headers}
        common = [*headers, *_SECURITY, (b"x-request-id", exchange.request_id.encode())]
        if exchange.standings:
            common += told(exchange.standings)
        if b"content-security-policy" not in names:
            common.append(_POLICY)
        if exchange.scheme == "https":
            common.append(_HSTS)
        if b"vary" not in names:
            common.append((b"vary", b"Accept-Encoding"))
        return common

    async def _send_good(
        self,
        answer: "_Answer",
        exchange: Exchange,
        gzipped: bool,
        condition: bytes,
        send: Send,
        key: tuple[object, ...] | None,
        template: str,
    ) -> None:
        headers = self._common(answer.headers, exchange)
        control = next((value for name, value in headers if name == b"cache-control"), b"")
        if b"no-store" in control:
            body, headers = encoded(answer.body, headers, gzipped)
            await exchange.answer(send, 200, headers, body)
            return
        etag = b'"%s"' % hashlib.sha256(answer.body).hexdigest()[:32].encode()
        if key is not None and (page := PublicPage.of(template, headers, etag, answer.body, exchange.topics)):
            life = timedelta(seconds=page.max_age) if page.max_age else LONGEST_KEPT
            self.pages.keep(key, page, exchange.topics, moment=exchange.moment, life=life)
        body, headers = encoded(answer.body, headers, gzipped, etag)
        if condition and etag_matches(condition, etag):
            await exchange.answer(send, 304, [pair for pair in headers if pair[0] not in _OF_A_BODY], b"")
            return
        await exchange.answer(send, 200, headers, body)

    async def _send_page(
        self, page: PublicPage, exchange: Exchange, gzipped: bool, condition: bytes, send: Send
    ) -> None:
        waited = int(time.monotonic() - page.kept_at)
        headers = [
            *page.headers,
            (b"x-request-id", exchange.request_id.encode()),
            (b"cache-control", b"public, max-age=%d" % max(0, page.max_age - waited)),
            (b"age", b"%d" % (page.age + waited)),
            (b"cache-status", b"moviehub; hit"),
        ]
        if exchange.standings:
            headers += told(exchange.standings)
        body = page.body
        if gzipped and len(body) > LEAST_COMPRESSED:
            if page.gzipped is None:
                page.gzipped = gzip.compress(body, 6, mtime=0)
            body = page.gzipped
            headers += ((b"content-encoding", b"gzip"), (b"etag", page.etag[:-1] + b'-gzip"'))
        else:
            headers.append((b"etag", page.etag))
        if condition and etag_matches(condition, page.etag):
            await exchange.answer(send, 304, [pair for pair in headers if pair[0] not in _OF_A_BODY], b"")
            return
        headers.append((b"content-length", b"%d" % len(body)))
        await exchange.answer(send, 200, headers, body)


class _Answer:
    """An answer of the router, taken whole: ours are small and never streamed."""

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status = 500
        self.headers: Headers = []
        self.body = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.lower(), value) for name, value in message["headers"]]
            self.headers = [pair for pair in self.headers if pair[0] != b"content-length"]
        elif message["type"] == "http.response.body":
            self.body += message["body"]

    def problem(self, fault: MovieHubError, exchange: Exchange) -> None:
        self.status, headers, self.body = problems.document(fault, exchange)
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.headers.append((b"content-type", problems.MEDIA_TYPE.encode()))
