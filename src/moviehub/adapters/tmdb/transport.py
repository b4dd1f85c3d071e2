"""How one call goes to TMDb over HTTP: the key, the bounds of an answer, and what each failure means."""

import logging
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn

import httpx
import structlog

from moviehub.adapters.tmdb.circuit import Failure, OverLimit
from moviehub.adapters.tmdb.payloads import Nonsense
from moviehub.application.tracing import Spans

# httpx tells every call at INFO with its whole URL. The key is never in it, but what people look for is.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

log = structlog.get_logger()

MOST_BYTES = 2 * 1024 * 1024
MOST_RETRY_AFTER = 60
RETRY_AFTER = 2

_ID = re.compile("[0-9]+")
_V3_KEY = re.compile(r"[0-9A-Fa-f]{32}")
_V4_TOKEN = re.compile(r"[\w-]+(\.[\w-]+){2}")


class Again(Failure):
    """A failure that may be gone at once: a connection that broke, a gateway in trouble."""


class Refused(Failure):
    """The key is not taken."""


class Unaskable(ValueError):
    """What HTTP cannot carry."""


class _Signed(httpx.AsyncHTTPTransport):
    """Adds the key on the way out, so that no request, error or log line of httpx ever holds it."""

    def __init__(self, token: str, connections: int) -> None:
        super().__init__(
            trust_env=False,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
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


class Transport:
    """Calls TMDb, without a bound on the whole time that an answer takes: the caller's deadline is that.

    `token` is a v4 read token, sent as a header, or a v3 key, which TMDb takes in the query alone.
    """

    def __init__(self, *, url: str, token: str, connections: int, timeout: float, spans: Spans) -> None:
        token = token.strip()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ValueError("the TMDb token holds characters that no token has")
        self.kind = "v3 key" if _V3_KEY.fullmatch(token) else "v4 read token" if _V4_TOKEN.fullmatch(token) else ""
        """What the key is by its form; nothing if it has neither."""
        self._spans = spans
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            transport=_Signed(token, connections),
            timeout=httpx.Timeout(timeout, connect=timeout / 2),  # a lost first packet leaves time for a second
            follow_redirects=False,
            trust_env=False,
            # gzip alone: it is decoded here, where its size is bounded.
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "moviehub"},
        )

    async def get(self, path: str, params: Mapping[str, str]) -> tuple[int, bytes]:
        """The status, which is 200, 400, 404 or 422, and the body; else Failure, or Unaskable."""
        try:
            with self._spans("tmdb", f"GET /{_ID.sub('{id}', path)}") as span:
                async with self._client.stream("GET", path, params=params) as response:
                    status = response.status_code
                    span.answered(status)
                    # A 404 that is a web page is some gateway's, and says nothing about films.
                    is_page = status == 404 and "html" in response.headers.get("Content-Type", "")
                    if status in (200, 400, 404, 422) and not is_page:
                        return status, await _body(response)
                    _refused(path, response)
        except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout, OSError) as fault:
            raise Again(type(fault).__name__) from None
        except AttributeError:  # anyio's, on uvloop: it asks a connection that was reset at once who is at its end
            raise Again("reset at once") from None
        except (httpx.InvalidURL, UnicodeError) as fault:
            raise Unaskable(type(fault).__name__) from None
        except Nonsense as fault:
            raise Failure(str(fault)) from None
        except (httpx.HTTPError, httpx.StreamError, zlib.error, ValueError, RuntimeError) as fault:
            raise Failure(type(fault).__name__) from None

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()


def _refused(path: str, response: httpx.Response) -> NoReturn:
    status = response.status_code
    if status in (502, 503, 504):
        raise Again(f"status {status}")
    if status in (401, 403):
        log.error("tmdb_refuses_the_key", path=path, status=status, hint="check MOVIEHUB_TMDB_TOKEN")
        raise Refused(f"status {status}")
    if status == 429:
        raise OverLimit("over the limit", retry_after=_retry_after(response.headers.get("Retry-After", "")))
    raise Failure(f"status {status}")


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
