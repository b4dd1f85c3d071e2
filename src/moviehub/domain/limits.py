"""Rate limits: how many requests somebody may make in a while, and how they stand."""

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from moviehub.domain.errors import TooMany


class Limit(NamedTuple):
    """`quota` requests in a window of `seconds` that begins with the first of them."""

    name: str
    quota: int
    seconds: int


class Standing(NamedTuple):
    """How somebody stands with a limit: `remaining` requests now, all of them again `resets_in` seconds from now."""

    limit: Limit
    remaining: int
    resets_in: int
    refused: bool = False


class RateLimited(TooMany):
    """More requests than a limit allows; `standing` tells which limit it is."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        limit = standing.limit
        super().__init__(
            f"More than {limit.quota} requests in {limit.seconds} s; try again in {standing.resets_in} s.",
            retry_after=standing.resets_in,
        )


@lru_cache(8_192)
def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 one, of which a client has all."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""  # no address, as of a client on a socket file: all such are one
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, 64), strict=False).network_address) + "/64"
        parsed = parsed.ipv4_mapped
    return str(parsed)
