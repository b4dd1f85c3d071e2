"""TMDb's v3 API over HTTP: which call answers which question, and what each of its failures means."""

import asyncio
import logging
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn, TypeVar

import httpx
import structlog

from moviehub.adapters.tmdb.circuit import Circuit, Failure, OverLimit
from moviehub.adapters.tmdb.payloads import Nonsense, Unusable, read_genres, read_movie, read_page
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

T = TypeVar("T")

MOST_CONNECTIONS = 20
MOST_BYTES = 2 * 1024 * 1024
MOST_RETRY_AFTER = 60
RETRY_AFTER = 2
LARGEST_ID = 2**31 - 1

_V3_KEY = re.compile(r"[0-9A-Fa-f]{32}")


class _Again(Failure):
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
    """Asks TMDb, each question within `deadline` seconds and with one second try at most, and none while it is out.

    `token` is a v4 read token, sent as a header, or a v3 key, which TMDb takes in the query alone. `losses` counts
    the fields and films that TMDb told and that could not be used.
    """

    def __init__(
        self,
        *,
        url: str,
        token: str,
        language: str = "en-US",
        region: str = "",
        deadline: float = 3.0,
        circuit: Circuit | None = None,
    ) -> None:
        token = token.strip()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ValueError("the TMDb token holds characters that no token has")
        self.losses = 0
        self._language = {"language": language}
        self._region = {"region": region} if region else {}
        self._deadline = deadline
        self._circuit = circuit or Circuit()
        # In front of the client's own queue, where nobody would hear that the circuit has opened meanwhile.
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)
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
        params = params | self._language | {"page": str(listing.page)}
        answer = await self._ask(path, params, lambda body: read_page(body, listing.page))
        if isinstance(answer, CataloguePage):
            return answer
        if answer == 404 and isinstance(listing, Recommended):
            raise MovieNotFound()
        if (answer == 400 and listing.page > 1) or (answer == 422 and isinstance(listing, Search)):
            return CataloguePage((), 0)  # a page past the last, or a query that TMDb strips to nothing
        self._fail(path, f"status {answer}")

    async def movie(self, tmdb_id: int) -> MovieFacts:
        if not 0 < tmdb_id <= LARGEST_ID:
            raise MovieNotFound()
        path = f"movie/{tmdb_id}"
        answer = await self._ask(path, self._language, lambda body: read_movie(body, tmdb_id))
        if isinstance(answer, MovieFacts):
            return answer
        if answer == 404:
            raise MovieNotFound()
        self._fail(path, f"status {answer}")

    async def genres(self) -> tuple[Genre, ...]:
        path = "genre/movie/list"
        answer = await self._ask(path, self._language, read_genres)
        if isinstance(answer, tuple):
            return answer
        self._fail(path, f"status {answer}")

    async def ping(self) -> None:
        """Unavailable from when TMDb was found to be out until a question was answered again. Asks nothing."""
        if self._circuit.state != "closed":
            raise Unavailable("TMDb was out when it was last asked.")

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

    async def _ask(self, path: str, params: Mapping[str, str], read: Callable[[bytes], tuple[T, list[str]]]) -> T | int:
        """What `read` makes of the answer, or its status if that is 400, 404 or 422."""
        self._circuit.check()
        until = asyncio.get_running_loop().time() + self._deadline
        try:
            async with asyncio.timeout_at(until):
                await self._places.acquire()
        except TimeoutError:
            self._fail(path, "all connections are taken")
        try:
            with self._circuit.question():
                told = await self._hear(path, params, until, read)
        except Failure as fault:
            log.warning("tmdb_failed", path=path, why=fault.why)
            raise
        except (httpx.InvalidURL, UnicodeError, Unusable) as fault:  # no fault of TMDb's
            self._fail(path, type(fault).__name__)
        finally:
            self._places.release()
        if isinstance(told, int):
            return told
        answer, lost = told
        if lost:
            self.losses += len(lost)
            log.warning("tmdb_losses", path=path, lost=dict(Counter(lost)))
        return answer

    async def _hear(
        self, path: str, params: Mapping[str, str], until: float, read: Callable[[bytes], tuple[T, list[str]]]
    ) -> tuple[T, list[str]] | int:
        try:
            async with asyncio.timeout_at(until):
                try:
                    status, body = await self._try(path, params)
                except _Again:
                    await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311
                    if self._circuit.state == "open":
                        raise
                    status, body = await self._try(path, params)
            return read(body) if status == 200 else status
        except TimeoutError:
            raise Failure("deadline") from None
        except (httpx.InvalidURL, UnicodeError, Unusable):
            raise
        except Nonsense as fault:
            raise Failure(str(fault)) from None
        except (httpx.HTTPError, httpx.StreamError, zlib.error, ValueError, RuntimeError) as fault:
            raise Failure(type(fault).__name__) from None

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
            raise OverLimit("over the limit", retry_after=_retry_after(response.headers.get("Retry-After", "")))
        raise Failure(f"status {status}")

    def _fail(self, path: str, why: str) -> NoReturn:
        """For what says nothing of TMDb as a whole."""
        log.warning("tmdb_failed", path=path, why=why)
        raise Unavailable("The film catalogue cannot be reached now.") from None


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
