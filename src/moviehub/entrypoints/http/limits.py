"""Rate limits over HTTP: whom a request counts for, and how the answer tells how they stand."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from moviehub.application.limits import AdmitAttempt, Limiter, Limits
from moviehub.domain.limits import Limit, RateLimited, Standing, network_of
from moviehub.entrypoints.http.exchange import Exchange, exchange_of
from moviehub.entrypoints.http.inputs import AnyRequest

UNLIMITED = frozenset(path + slash for path in ("/health/live", "/health/ready", "/metrics") for slash in ("", "/"))
"""What orchestrators and Prometheus ask."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """Counts each request once: for the person who is signed in, else for the address. Raises RateLimited."""

    def __init__(self, limiter: Limiter, limits: Limits) -> None:
        self._limiter = limiter
        self._limits = limits

    async def pass_stranger(self, exchange: Exchange) -> None:
        """Count a request for the address that it came from."""
        exchange.counted = True
        if self._limits.anonymous is not None:
            await self._count(exchange, self._limits.anonymous, network_of(exchange.address))

    def passes_at_once(self, exchange: Exchange) -> bool:
        """Whether that is done now, as for nearly all that only read: a hot page has nothing to wait for."""
        limit = self._limits.anonymous
        if limit is None:
            return True
        if exchange.method not in READING:
            return False
        standing = self._limiter.glance(limit, network_of(exchange.address))
        if standing is None:
            return False
        exchange.counted = True
        _stands(exchange, standing)
        return True

    async def pass_user(self, exchange: Exchange, user_id: int) -> None:
        """Count a request for a person."""
        exchange.counted = True
        if self._limits.user is not None:
            await self._count(exchange, self._limits.user, str(user_id))

    async def _count(self, exchange: Exchange, limit: Limit, key: str) -> None:
        count = self._limiter.read if exchange.method in READING else self._limiter.take
        _stands(exchange, await count(limit, key))


def _stands(exchange: Exchange, standing: Standing) -> None:
    exchange.standings += (standing,)
    if standing.refused:
        raise RateLimited(standing)


async def admitted(request: AnyRequest, admit_attempt: AdmitAttempt, name: str) -> str:
    """The address of somebody who proves who they are, if there is room for one more attempt; else RateLimited."""
    exchange = exchange_of(request.scope)
    try:
        exchange.standings += await admit_attempt(name=name, address=exchange.address)
    except RateLimited as refusal:
        exchange.standings += (refusal.standing,)
        raise
    return exchange.address


def told(standings: Sequence[Standing]) -> list[tuple[bytes, bytes]]:
    """The headers of draft-ietf-httpapi-ratelimit-headers-10."""
    if len(standings) == 1:
        (standing,) = standings
        policy, form = _words(standing.limit)
        return [(b"ratelimit-policy", policy), (b"ratelimit", form % (standing.remaining, standing.resets_in))]
    policies, values = [], []
    for standing in _least(standings):
        policy, form = _words(standing.limit)
        policies.append(policy)
        values.append(form % (standing.remaining, standing.resets_in))
    return [(b"ratelimit-policy", b", ".join(policies)), (b"ratelimit", b", ".join(values))]


def _least(standings: Sequence[Standing]) -> Iterable[Standing]:
    """One standing a limit: of several, as by address and by name, the one that is nearest to its end."""
    least: dict[str, Standing] = {}
    for standing in standings:
        known = least.setdefault(standing.limit.name, standing)
        if standing.remaining < known.remaining:
            least[standing.limit.name] = standing
    return least.values()


@lru_cache(16)
def _words(limit: Limit) -> tuple[bytes, bytes]:
    name = limit.name.encode()
    return b'"%s";q=%d;w=%d' % (name, limit.quota, limit.seconds), b'"%s";r=%%d;t=%%d' % name
