"""How Redis is asked: briefly, and not at all while it does not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Any, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from moviehub.domain.errors import Unavailable

log = structlog.get_logger()

T = TypeVar("T")

MOST_CONNECTIONS = 16
MOST_FAILURES = 5
PING_EVERY = 1.0

FAILURES = (RedisError, OSError, TimeoutError, RuntimeError)
"""All that a command may raise; the last is uvloop's, of a connection that was reset a moment ago."""


class Connection:
    """Two clients of one Redis: `reads` try a second time when a connection broke, `writes` never.

    A reply that is lost after the command was executed would else do a write twice. After five failures in a row
    Redis is skipped, until a ping in the background, one a second, is answered.
    """

    def __init__(self, url: str, *, timeout: float = 0.2) -> None:
        self.reads = _client(url, retries=1)
        self.writes = _client(url, retries=0)
        self._timeout = timeout
        self._failures = 0
        self._pinging: asyncio.Task[None] | None = None

    async def ask(self, command: Callable[[], Awaitable[T]], *, within: float | None = None) -> T:
        """The answer to a command, soon or within so many seconds; or Unavailable, at once while Redis is skipped."""
        if self._failures >= MOST_FAILURES:
            raise Unavailable("Redis cannot be reached now.")
        try:
            # Less time with every failure: 0.2, 0.1, 0.07, 0.05 and 0.04 s are together less than half a second, so
            # that no request spends more on a Redis that hangs, however often it asks.
            async with asyncio.timeout(within or self._timeout / (1 + self._failures)):
                answer = await command()
        except FAILURES as fault:
            self._failed(type(fault).__name__)
            raise Unavailable("Redis cannot be reached now.") from fault
        self._succeeded()
        return answer

    async def ping(self) -> None:
        """Unavailable if Redis does not answer."""
        await self.ask(self.reads.ping)

    async def info(self) -> Mapping[str, Any]:
        """What the server tells of itself."""
        return await self.ask(self.reads.info)

    async def close(self) -> None:
        """Give the connections back."""
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.gather(self._pinging, return_exceptions=True)
        await self.reads.aclose()
        await self.writes.aclose()

    def _failed(self, why: str) -> None:
        if self._failures == 0:
            log.warning("redis_failed", why=why)
        self._failures += 1
        if self._failures >= MOST_FAILURES and (self._pinging is None or self._pinging.done()):
            log.warning("redis_skipped", why=why)
            # Without the context of the request that failed last: the return is not of that request.
            self._pinging = asyncio.create_task(self._ping_until_back(), context=Context())

    def _succeeded(self) -> None:
        if self._failures:
            log.info("redis_is_back")
        self._failures = 0

    async def _ping_until_back(self) -> None:
        while self._failures >= MOST_FAILURES:
            await asyncio.sleep(PING_EVERY)
            try:
                async with asyncio.timeout(self._timeout):
                    await self.reads.ping()
            except FAILURES:
                continue
            self._succeeded()


def _client(url: str, *, retries: int) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MOST_CONNECTIONS,
        timeout=None,  # `ask` bounds the whole, be it the wait for a connection, the connecting or the command
        socket_timeout=None,  # the client's own costs a task a command, a quarter of its CPU
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), retries),
        protocol=2,  # one round trip less on connecting, and no notices of maintenance
    )
    try:
        pool.connection_class(**pool.connection_kwargs)  # connects to nothing yet, and knows what it may be given
    except TypeError:
        raise ValueError("the URL has a parameter that the client does not know") from None
    return Redis.from_pool(pool)
