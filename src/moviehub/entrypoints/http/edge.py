"""What is true of every exchange: ids, limits, headers, conditional requests, compression, and one answer for HEAD."""

import gzip
import random
import re
import time

from litestar.types import ASGIApp, HTTPScope, Receive, Send

from moviehub.application.callers import CALLER, Caller
from moviehub.application.marks import ReadMarks
from moviehub.application.ports import Clock
from moviehub.domain.errors import MovieHubError
from moviehub.domain.limits import RateLimited
from moviehub.entrypoints.http import problems
from moviehub.entrypoints.http.access import AccessLog
from moviehub.entrypoints.http.auth import BearerAuth
from moviehub.entrypoints.http.bounds import LARGEST_HEADERS, drain, refusal_of
from moviehub.entrypoints.http.cors import Cors
from moviehub.entrypoints.http.draft import Draft
from moviehub.entrypoints.http.exchange import Exchange, Proxies
from moviehub.entrypoints.http.limits import UNLIMITED
from moviehub.entrypoints.http.limits import told as standings_told
from moviehub.entrypoints.http.metrics import Metrics
from moviehub.entrypoints.http.negotiation import (
    LEAST_COMPRESSED,
    Headers,
    accepts_gzip,
    encoded,
    etag_matches,
    etag_of,
)
from moviehub.entrypoints.http.overload import Overload
from moviehub.entrypoints.http.public_pages import PublicPage, PublicPages
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
        auth: BearerAuth,
        read_marks: ReadMarks,
        overload: Overload,
        pages: PublicPages,
    ) -> None:
        self.cors = Cors(app, settings.cors_origins) if settings.cors_origins else None
        self.app: ASGIApp = self.cors or app
        self.auth = auth
        self.gate = auth.gate
        self.read_marks = read_marks
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
        key: tuple[object, ...] | None = None
        page = None
        if host and size <= LARGEST_HEADERS and method in ("GET", "HEAD"):
            shown_to = origin if origin in self.origins else None
            if self.proxies.any:
                key = (path, scope["query_string"], exchange.scheme, exchange.base_url, shown_to)
            else:
                key = (path, scope["query_string"], scope["scheme"], host, shown_to)
            page = self.pages.find(key)
            if authorization is not None and page is not None and page.movie_ids is None:
                page = None  # it may be another one for who is signed in
        hot = page is not None and authorization is None
        # A hot page costs no more than a refusal. A refusal comes before all else, for it must cost nothing.
        kind = None if hot else self.overload.kind_of(exchange)
        if kind is not None and self.overload.is_full(kind):
            headers, body = self.overload.refusal(exchange)
            headers = headers if self.cors is None else self.cors.marked(headers, origin)
            await exchange.answer(send, 503, self._common(headers, exchange), body)
            self.metrics.count_turned_away(kind)
            if self.access.every:  # of a crowd it is enough to know how many
                self.access.tell(exchange, "(none)", time.perf_counter() - started)
            return
        if kind is not None:
            receive = self.overload.begin(kind, receive)
        try:
            limited = None
            if authorization is None and path not in UNLIMITED:
                try:
                    if not self.gate.passes_at_once(exchange):
                        await self.gate.pass_stranger(exchange)
                except RateLimited as refusal:
                    limited = refusal
            if page is not None and authorization is None and limited is None:
                await exchange.answer(send, *_hot(page, exchange, gzipped, condition))
            else:
                fault = limited or refusal_of(scope, host, size, length)
                draft = await self._draft(scope, receive, exchange, fault, origin, page, key)
                await self._send(draft, exchange, gzipped, condition, send)
        finally:
            if kind is not None:
                self.overload.end(kind)
        seconds = time.perf_counter() - started
        template = scope.get("path_template") or "(none)"
        self.metrics.count(method, template, exchange.status, seconds)
        if exchange.cache:
            self.metrics.catalogue_answers[template, exchange.cache] += 1
        access = self.access
        if seconds >= access.least_seconds or exchange.status >= access.least_status:
            access.tell(exchange, template, seconds)

    async def _draft(
        self,
        scope: HTTPScope,
        receive: Receive,
        exchange: Exchange,
        fault: MovieHubError | None,
        origin: bytes | None,
        page: PublicPage | None,
        key: tuple[object, ...] | None,
    ) -> Draft:
        """What the router says unless there is a fault already, or a page that is kept and whoever asks is let in."""
        path, method = exchange.path, exchange.method
        scope["moviehub"] = exchange  # type: ignore[typeddict-unknown-key]
        CALLER.set(Caller())
        draft = Draft()
        if path.startswith("/api/v1/"):
            scope["path"] = "/api/" + path[8:]
            scope["raw_path"] = scope["path"].encode()
        if method == "HEAD":
            scope["method"] = "GET"
        try:
            try:
                if fault is None and page is not None:
                    scope["path_template"] = page.template
                    await self.auth.admit(exchange, "optional")
                    draft.recall(page, exchange)
                elif fault is None:
                    await self.app(scope, receive, draft.take)
                    if key is not None and draft.status == 200:
                        self._keep(key, draft, exchange, scope["path_template"])
                if exchange.user_id is not None and exchange.movie_ids is not None:
                    marks = await self.read_marks(user_id=exchange.user_id, movie_ids=exchange.movie_ids)
                    draft.mark(exchange.movie_ids, marks)
            finally:
                if not exchange.counted and path not in UNLIMITED:
                    await self.gate.pass_stranger(exchange)  # whoever says who they are where nobody asks
        except Exception as raised:
            fault = problems.fault_of(raised, exchange, scope.get("path_template"))
        if fault is not None:
            draft.problem(fault, exchange)
            if self.cors is not None:
                draft.headers = self.cors.marked(draft.headers, origin)
        if draft.status == 429:
            for standing in exchange.standings:
                if standing.refused:
                    self.metrics.count_refusal(standing.limit.name)
        if draft.status == 413:
            await drain(receive)
        if method == "OPTIONS" and draft.status == 405:
            draft.status = 204
        return draft

    def _keep(self, key: tuple[object, ...], draft: Draft, exchange: Exchange, template: str) -> None:
        page = PublicPage.of(template, draft.headers, draft.body, exchange)
        if page is not None:
            draft.etag = page.etag
            page.shared = self._shared(page.headers, exchange)
            self.pages.keep(key, page, exchange.topics, moment=exchange.moment, life=page.life)

    def _shared(self, headers: Headers, exchange: Exchange) -> Headers:
        """An answer's own headers and those that every answer has alike."""
        names = {name for name, _ in headers}
        shared = [*headers, *_SECURITY]
        if b"content-security-policy" not in names:
            shared.append(_POLICY)
        if exchange.scheme == "https":
            shared.append(_HSTS)
        if b"vary" not in names:
            shared.append((b"vary", b"Accept-Encoding"))
        return shared

    def _common(self, headers: Headers, exchange: Exchange) -> Headers:
        """An answer's own headers and those that every answer has."""
        return [*self._shared(headers, exchange), *_of_exchange(exchange)]

    async def _send(self, draft: Draft, exchange: Exchange, gzipped: bool, condition: bytes, send: Send) -> None:
        headers = self._common(draft.headers, exchange)
        if draft.status == 204:
            await exchange.answer(send, 204, [pair for pair in headers if pair[0] != b"content-type"], b"")
            return
        etag = None
        if draft.status == 200 and exchange.method in ("GET", "HEAD") and not draft.is_secret:
            etag = draft.etag or etag_of(draft.body)
        body, headers = encoded(draft.body, headers, gzipped, etag)
        if etag and condition and etag_matches(condition, etag):
            await exchange.answer(send, 304, [pair for pair in headers if pair[0] not in _OF_A_BODY], b"")
        else:
            await exchange.answer(send, draft.status, headers, body)


def _hot(page: PublicPage, exchange: Exchange, gzipped: bool, condition: bytes) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a page that anybody may see, which is made once, its compressed form too."""
    exchange.scope["path_template"] = page.template
    exchange.cache = "kept"
    headers = [*page.shared, *page.headers_now(), *_of_exchange(exchange)]
    body = page.body
    if gzipped and len(body) > LEAST_COMPRESSED:
        if page.gzipped is None:
            page.gzipped = gzip.compress(body, 6, mtime=0)
        body = page.gzipped
        headers += ((b"content-encoding", b"gzip"), (b"etag", page.etag[:-1] + b'-gzip"'))
    else:
        headers.append((b"etag", page.etag))
    if condition and etag_matches(condition, page.etag):
        return 304, [pair for pair in headers if pair[0] not in _OF_A_BODY], b""
    headers.append((b"content-length", b"%d" % len(body)))
    return 200, headers, body


def _of_exchange(exchange: Exchange) -> Headers:
    """The headers that tell of this exchange alone."""
    told = [(b"x-request-id", exchange.request_id.encode())]
    return told + standings_told(exchange.standings) if exchange.standings else told
