"""What no request may be: too long, too large or malformed before anybody looks where it goes."""

import asyncio
from contextlib import suppress
from functools import lru_cache

from litestar.types import HTTPScope, Receive

from moviehub.domain.errors import Invalid, MovieHubError
from moviehub.entrypoints.http import problems
from moviehub.entrypoints.http.exchange import HOST
from moviehub.entrypoints.http.inputs import LARGEST_BODY

LONGEST_TARGET = 8 * 1024
LARGEST_HEADERS = 32 * 1024
MOST_DRAINED = 1024 * 1024
LONGEST_DRAIN = 0.5


def refusal_of(scope: HTTPScope, host: bytes | None, size: int, length: bytes | None) -> MovieHubError | None:
    """Why a request is not even routed, if it is not."""
    path = scope.get("raw_path") or scope["path"].encode()
    if len(path) + len(scope["query_string"]) > LONGEST_TARGET:
        return problems.TargetTooLong("The path with its query is longer than 8 KiB.")
    if size > LARGEST_HEADERS:
        return problems.HeadersTooLarge("The headers together are larger than 32 KiB.")
    if host is None or not _is_host(host):
        return Invalid.field("Host", "format", "expected a host name, once")
    if length is not None:
        if not length.isdigit():
            return Invalid.field("Content-Length", "format", "expected decimal digits")
        if int(length[:20]) > LARGEST_BODY:
            return problems.TooLarge("The body is larger than 64 KiB.")
    if not path.startswith(b"/"):
        return Invalid(detail="The target of the request is not a path.")
    if b"//" in path or b"%2f" in path.lower():  # or one thing would have many names
        return problems.NoSuchPath("No path has an empty segment or an encoded slash.")
    return None


@lru_cache(64)
def _is_host(host: bytes) -> bool:
    return HOST.fullmatch(host) is not None


async def drain(receive: Receive) -> None:
    """Read on for a while, for a client that is still sending would be cut off and never see the answer."""
    left = MOST_DRAINED
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_DRAIN):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))
