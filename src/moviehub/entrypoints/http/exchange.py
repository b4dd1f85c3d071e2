"""What is known of a request: its id, its path as sent, who is really at the other end, and what came of it."""

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from litestar.types import Scope, Send

from moviehub.application.ports import Clock
from moviehub.domain.limits import Standing
from moviehub.entrypoints.settings import Settings

HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
"""What a Host header may be."""

LONGEST_ADDRESS = 64


@lru_cache(8_192)
def _address(text: str) -> str | None:
    """An address in its one form; None if it is none. IPv4 that was met on a socket of IPv6 is IPv4."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network in the form in which addresses are compared with it."""
    network = ipaddress.ip_network(text)
    first = getattr(network.network_address, "ipv4_mapped", None)
    return network if first is None else ipaddress.IPv4Network((first, network.prefixlen - 96))


class Proxies:
    """The proxies that are trusted to say whom they speak for, and the public URL if one is set."""

    def __init__(self, settings: Settings) -> None:
        networks = tuple(map(_network, settings.trusted_proxies))
        self.public_url = settings.public_url
        self.any = bool(networks)

        @lru_cache(4096)
        def trusted(address: str) -> bool:
            try:
                parsed = ipaddress.ip_address(address)
            except ValueError:
                return False
            return any(parsed in network for network in networks)

        self.trusted = trusted


class Exchange:
    """One request on its way.

    `path` and `method` are as the client sent them; lives are counted by `clock`; `moment` is when it came, as the kept
    pages count; `counted` tells whether a rate limit has seen it, and `standings` what came of that. `user_id` is who
    is signed in, `topics` those whose news end the answer, `movie_ids` the films that it shows as a stranger sees them,
    if it is a list of films, `refusal` the kind of problem that it met, and `cache` what of it came from a cache, if it
    could. `status` and `sent`, in bytes of the body, are what was answered.
    """

    # What few requests have is here until they have it: of the hottest ones, to set it all was a tenth.
    counted = False
    standings: tuple[Standing, ...] = ()
    user_id: int | None = None
    topics: tuple[str, ...] = ()
    movie_ids: tuple[int, ...] | None = None
    refusal = ""
    cache = ""
    status = 0
    sent = 0

    def __init__(
        self,
        *,
        scope: Scope,
        path: str,
        method: str,
        request_id: str,
        host: str,
        authorization: str | None,
        content_type: str,
        proxies: Proxies,
        settings: Settings,
        clock: Clock,
        moment: int = 0,
    ) -> None:
        self.scope = scope
        self.path = path
        self.method = method
        self.request_id = request_id
        self.host = host
        self.authorization = authorization
        self.content_type = content_type
        self.proxies = proxies
        self.settings = settings
        self.clock = clock
        self.moment = moment

    async def answer(self, send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send the answer, to HEAD without its body."""
        if self.method == "HEAD":
            body = b""
        self.status, self.sent = status, len(body)
        start: Any = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        end: Any = {"type": "http.response.body", "body": body, "more_body": False}
        await send(end)

    @property
    def address(self) -> str:
        """The client's address: of the hops that trusted proxies report, the rightmost that is none of them."""
        address = self._peer
        if self._behind_proxy:
            for hop in reversed(self._told(b"x-forwarded-for")):
                told = _address(hop) if len(hop) <= LONGEST_ADDRESS else None
                if told is None:
                    break  # trusted proxies report addresses: from here on somebody else has written
                address = told
                if not self.proxies.trusted(address):
                    break
        return address

    @property
    def scheme(self) -> str:
        """http or https, as the client sees it."""
        if self._behind_proxy and (told := self._told(b"x-forwarded-proto")):
            return "https" if told[-1].lower() == "https" else "http"
        return self.scope["scheme"]

    @property
    def base_url(self) -> str:
        """Scheme and host as the client sees them; the public URL of the settings if there is one."""
        if self.proxies.public_url:
            return self.proxies.public_url
        host = self.host
        if self._behind_proxy and (told := self._told(b"x-forwarded-host")):
            # A proxy may pass on what the client has written there.
            host = told[-1] if HOST.fullmatch(told[-1].encode("latin-1")) else host
        return f"{self.scheme}://{host}"

    @property
    def _peer(self) -> str:
        peer = (self.scope.get("client") or ("", 0))[0]
        return _address(peer) or peer

    @property
    def _behind_proxy(self) -> bool:
        return self.proxies.any and self.proxies.trusted(self._peer)

    def _told(self, name: bytes) -> list[str]:
        values = [value.decode("latin-1") for key, value in self.scope["headers"] if key == name]
        return [item.strip() for value in values for item in value.split(",") if item.strip()]


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that the edge put into this scope."""
    extra: Mapping[str, Any] = scope
    found: Exchange = extra["moviehub"]
    return found
