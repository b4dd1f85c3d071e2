"""TMDb's v3 API over HTTP: which call answers which question, and what each of its failures means."""

import asyncio
import logging
import random
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn

import httpx
import structlog

from moviehub.adapters.tmdb.payloads import Nonsense, read_genres, read_movie, read_page
from moviehub.application.ports import Catalogue
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import (
    LAST_PAGE,
    CataloguePage,
    Listing,
    Popular,
    Recommended,
    Search,
    TopRated,
    Trending,
)
from moviehub.domain.movies import Genre, MovieFacts, MovieNotFound

# httpx tells every call at INFO with its whole URL. The key is never in it, but what people look for is.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

log = structlog.get_logger()

MOST_CONNECTIONS = 20
MOST_BYTES = 2 * 1024 * 1024
MOST_RETRY_AFTER = 60
RETRY_AFTER = 2
LARGEST_ID = 2**31 - 1

_V3_KEY = re.compile(r"[0-9A-Fa-f]{32}")


class _Again(Exception):
    """A failure that may be gone at once: a connection that broke, a gateway in trouble."""


class _Signed(httpx.AsyncHTTPTransport):
    """Adds the key on the way out, so that no request, error or log line of httpx ever holds it."""

    def __init__(self, token: str) -> None:
        super().__init__(
            trust_env=False,
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
        )
        is_key = _V3_KEY.fullmatch(token) is not None
        self._params = {"api_key": token} if is_key else {}
        self._headers = {} if is_key or not token else {"Authorization": f"Bearer {token}"}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        signed = httpx.Request(
            request.method,
            request.url.copy_merge_params(self._params) if self._params else request.url,
            headers={**request.headers, **self._headers},
            extensions=request.extensions,
        )
        return await super().handle_async_request(signed)


class TmdbCatalogue(Catalogue):
    """Asks TMDb, each question within `deadline` seconds and with one second try at most.

    `token` is a v4 read token, sent as a header, or a v3 key, which TMDb takes in the query alone. `losses` counts
    the fields and films that TMDb told and that could not be used.
    """

    def __init__(
        self, *, url: str, token: str, language: str = "en-US", region: str = "", deadline: float = 3.0
    ) -> None:
        token = token.strip()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ValueError("the TMDb token holds characters that no token has")
        self.losses = 0
        self._language = {"language": language}
        self._region = {"region": region} if region else {}
        self._deadline = deadline
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            transport=_Signed(token),
            timeout=httpx.Timeout(deadline, connect=deadline / 2),  # a lost first packet leaves time for a second
            follow_redirects=False,
            trust_env=False,
            # gzip alone: it is decoded here, where its size is bounded.
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "moviehub"},
        )

    async def page(self, listing: Listing) -> CataloguePage:
        if not 1 <= listing.page <= LAST_PAGE:
            return CataloguePage((), 0)  # TMDb would refuse
        path, params = self._route(listing)
        status, body = await self._ask(path, params | self._language | {"page": str(listing.page)})
        if status == 404 and isinstance(listing, Recommended):
            raise MovieNotFound()
        if (status == 400 and listing.page > 1) or (status == 422 and isinstance(listing, Search)):
            return CataloguePage((), 0)  # a page past the last, or a query that TMDb strips to nothing
        if status != 200:
            self._fail(path, f"status {status}")
        try:
            page, lost = read_page(body, listing.page)
        except Nonsense as fault:
            self._fail(path, str(fault))
        self._count(path, lost)
        return page

    async def movie(self, tmdb_id: int) -> MovieFacts:
        if not 0 < tmdb_id <= LARGEST_ID:
            raise MovieNotFound()
        path = f"movie/{tmdb_id}"
        status, body = await self._ask(path, self._language)
        if status == 404:
            raise MovieNotFound()
        if status != 200:
            self._fail(path, f"status {status}")
        try:
            facts, lost = read_movie(body, tmdb_id)
        except Nonsense as fault:
            self._fail(path, str(fault))
        self._count(path, lost)
        return facts

    async def genres(self) -> tuple[Genre, ...]:
        path = "genre/movie/list"
        status, body = await self._ask(path, self._language)
        if status != 200:
            self._fail(path, f"status {status}")
        try:
            genres, lost = read_genres(body)
        except Nonsense as fault:
            self._fail(path, str(fault))
        self._count(path, lost)
        return genres

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    def _route(self, listing: Listing) -> tuple[str, dict[str, str]]:
        match listing:
            case Trending():
                return f"trending/movie/{listing.window}", {}
            case Popular():
                return "movie/popular", self._region
            case TopRated():
                return "movie/top_rated", self._region
            case Search():
                year = {"primary_release_year": str(listing.year)} if listing.year else {}
                return "search/movie", {"query": listing.query, "include_adult": "false"} | year | self._region
            case Recommended():
                return f"movie/{listing.tmdb_id}/recommendations", {}
            case _:
                raise TypeError(f"no such list is kept here: {listing!r}")

    async def _ask(self, path: str, params: Mapping[str, str]) -> tuple[int, bytes]:
        """The status, which is 200, 400, 404 or 422, and the body."""
        try:
            async with asyncio.timeout(self._deadline):
                try:
                    return await self._try(path, params)
                except _Again:
                    await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311
                    return await self._try(path, params)
        except TimeoutError:
            self._fail(path, "deadline")
        except _Again as fault:
            self._fail(path, str(fault))
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, zlib.error, ValueError, RuntimeError) as fault:
            self._fail(path, type(fault).__name__)

    async def _try(self, path: str, params: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            async with self._client.stream("GET", path, params=params) as response:
                status = response.status_code
                # A 404 that is a web page is some gateway's, and says nothing about films.
                is_page = status == 404 and "html" in response.headers.get("Content-Type", "")
                if status in (200, 400, 404, 422) and not is_page:
                    return status, await _body(response)
                self._refused(path, response)
        except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout) as fault:
            raise _Again(type(fault).__name__) from None

    def _refused(self, path: str, response: httpx.Response) -> NoReturn:
        status = response.status_code
        if status in (502, 503, 504):
            raise _Again(f"status {status}")
        if status in (401, 403):
            log.error("tmdb_refuses_the_key", path=path, status=status, hint="check MOVIEHUB_TMDB_TOKEN")
        if status == 429:
            self._fail(path, "over the limit", _retry_after(response.headers.get("Retry-After", "")))
        self._fail(path, f"status {status}")

    def _fail(self, path: str, why: str, retry_after: int = 5) -> NoReturn:
        log.warning("tmdb_failed", path=path, why=why)
        raise Unavailable("The film catalogue cannot be reached now.", retry_after=retry_after) from None

    def _count(self, path: str, lost: list[str]) -> None:
        if lost:
            self.losses += len(lost)
            log.warning("tmdb_losses", path=path, lost=dict(Counter(lost)))


async def _body(response: httpx.Response) -> bytes:
    """The decoded body. httpx decodes without a bound and takes a body that was cut for whole, so not by its means."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Nonsense("an encoding that was not asked for")
    gzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    body = bytearray()
    received = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        body += gzip.decompress(chunk, MOST_BYTES + 1 - len(body)) if gzip else chunk
        if max(received, len(body)) > MOST_BYTES:
            raise Nonsense("a body that is too large")
    if gzip and not gzip.eof:
        raise Nonsense("a body that was cut short")
    return bytes(body)


def _retry_after(header: str) -> int:
    """Seconds to wait, told as a number or as a date; our own guess if neither can be read."""
    try:
        if header.strip().isascii() and header.strip().isdigit():
            seconds = float(header)
        else:
            at = parsedate_to_datetime(header)
            seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return RETRY_AFTER
    return int(min(max(seconds, 1), MOST_RETRY_AFTER))
