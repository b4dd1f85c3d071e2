"""How Redis is asked: briefly, and not at all while it does not answer."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, ClassVar, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterError, RedisError, ResponseError

from moviehub.adapters.redis.client import MOST_DIRECT, DirectClient
from moviehub.adapters.redis.keyspace import Command, Keyspace
from moviehub.adapters.redis.spans import tell_commands
from moviehub.application.tracing import Spans, untraced
from moviehub.domain.errors import Unavailable

log = structlog.get_logger()

T = TypeVar("T")

MOST_CONNECTIONS = 16
MOST_FAILURES = 5
PING_EVERY = 1.0
PATIENCE = 1.0  # seconds, of who is no request
AWAY = "Redis cannot be reached now."
REFUSES = "Redis answers, and refuses what it is asked to do."
PROBE = b"moviehub:probe"

FAILURES = (RedisError, OSError, TimeoutError, RuntimeError)
"""All that a command may raise; the last is uvloop's, of a connection that was reset a moment ago."""


class Connection(Keyspace):
    """Two clients of one server: `reads` try a second time when a connection broke, `writes` never.

    A reply that is lost after the command was executed would else do a write twice. After five failures in a row
    it is skipped, until a ping in the background, one a second, is answered. `failed` counts all that failed.

    A server that answers and refuses, for it is full or only reads, is asked on, for what it has is still good; a write
    in the background, one a second, tells when it takes them again.
    """

    REDIRECTIONS: ClassVar[tuple[type[Exception], ...]] = ()
    """Answers of a server that is well, for whoever asked."""

    failed: int = 0
    name = ""  # where there are others

    def __init__(self, url: str, *, timeout: float = 0.2, spans: Spans = untraced) -> None:
        super().__init__()
        self.reads: Any = DirectClient.from_pool(_pool(url, retries=1, most=MOST_CONNECTIONS - MOST_DIRECT))
        self.writes = Redis.from_pool(_pool(url, retries=0, most=MOST_CONNECTIONS))
        for client in (self.reads, self.writes):
            tell_commands(client, spans)
        self.url = url
        self.failures = 0
        self._timeout = timeout
        self._closed = False
        self._refuses = False
        self._probing: asyncio.Task[None] | None = None
        self._pinging: asyncio.Task[None] | None = None

    def read(self, key: str | bytes, command: Command[T], *, within: float | None = None) -> Awaitable[T]:
        return self.ask(self.reads, command, within=within)

    def write(self, key: str | bytes, command: Command[T], *, within: float | None = None) -> Awaitable[T]:
        return self.ask(self.writes, command, within=within)

    async def ask(self, client: Redis, command: Command[T], *, within: float | None = None) -> T:
        """The answer to a command, soon or within so many seconds; or Unavailable, at once while it is skipped."""
        if self.is_skipped or self._closed:
            raise Unavailable(AWAY)
        try:
            async with asyncio.timeout(within or self.patience):
                answer = await command(client)
        except self.REDIRECTIONS:
            self._succeeded()
            raise
        except FAILURES as fault:
            if isinstance(fault, ResponseError) and not isinstance(fault, ClusterError):
                self._refused(fault)
                raise Unavailable(REFUSES) from fault
            self._failed(fault)
            raise Unavailable(AWAY) from fault
        self._succeeded()
        return answer

    @property
    def patience(self) -> float:
        """How many seconds a command may take.

        Less with every failure: 0.2, 0.1, 0.07, 0.05 and 0.04 s are together less than half a second, so that no
        request spends more on a Redis that hangs, however often it asks.
        """
        return self._timeout / (1 + self.failures)

    @property
    def is_skipped(self) -> bool:
        """Whether it is not asked now."""
        return self.failures >= MOST_FAILURES

    def home(self, key: bytes) -> object:
        return self

    async def values(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        told: Any = await self.ask(self.reads, lambda client: client.mget(keys))
        return {key: data for key, data in zip(keys, told, strict=True) if data is not None}

    async def servers(self) -> Sequence["Connection"]:
        return (self,)

    async def ping(self) -> None:
        """Unavailable if Redis does not answer, or takes no writes."""
        await self.ask(self.reads, self._greet, within=self._timeout)
        if self._refuses:
            raise Unavailable(REFUSES)

    async def info(self) -> Mapping[str, Any]:
        """What the server tells of itself, to who has the time for it."""
        return await self.ask(self.reads, lambda client: client.info(), within=PATIENCE)

    async def close(self) -> None:
        """Give the connections back, and open no more for who comes too late."""
        await super().close()
        self._closed = True
        for task in (self._pinging, self._probing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self.reads.aclose()
        await self.writes.aclose()

    async def _greet(self, client: Redis) -> None:
        await client.ping()

    def _refused(self, fault: ResponseError) -> None:
        self._succeeded()
        self.failed += 1
        if not self._refuses:
            self._refuses = True
            log.warning("redis_refuses", why=type(fault).__name__, **self._which)
            self._probing = asyncio.create_task(self._probe_until_taken(), context=Context())

    async def _probe_until_taken(self) -> None:
        while self._refuses and not self._closed:
            # After a failover another server may be had under the same name, and this one would only read for ever.
            with suppress(*FAILURES):
                async with asyncio.timeout(self._timeout):
                    await self.reads.disconnect()
                    await self.writes.connection_pool.disconnect(inuse_connections=False)
            await asyncio.sleep(PING_EVERY)
            with suppress(Unavailable, *self.REDIRECTIONS):
                await self.ask(self.writes, lambda client: client.set(self._probe, b"", px=1_000))
                self._refuses = False
                log.info("redis_takes_writes_again", **self._which)

    @property
    def _probe(self) -> bytes:
        """A key that nobody else uses."""
        return PROBE

    @property
    def _which(self) -> dict[str, str]:
        return {"node": self.name} if self.name else {}

    def _failed(self, fault: BaseException) -> None:
        why = type(fault).__name__
        if self.failures == 0:
            log.warning("redis_failed", why=why, **self._which)
        self.failed += 1
        self.failures += 1
        if self.is_skipped:
            self._skip(why, PING_EVERY)

    def _skip(self, why: str, wait: float) -> None:
        if self._pinging is None or self._pinging.done():
            log.warning("redis_skipped", why=why, **self._which)
            # Without the context of the request that failed last: the return is not of that request.
            self._pinging = asyncio.create_task(self._ping_until_back(wait), context=Context())

    def _succeeded(self) -> None:
        if self.failures:
            log.info("redis_is_back", **self._which)
        self.failures = 0

    def _is_still_away(self) -> None:
        """A ping was not answered."""

    async def _ping_until_back(self, wait: float) -> None:
        while self.is_skipped:
            await asyncio.sleep(wait)
            wait = PING_EVERY
            try:
                async with asyncio.timeout(self._timeout):
                    await self._greet(self.reads)
            except FAILURES:
                self._is_still_away()
            else:
                self._succeeded()


async def to_each(client: Redis, command: str, keys: Sequence[str | bytes]) -> list[Any]:
    """What a command that takes a key says to each of these, in one round trip; what went wrong is among it."""
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.execute_command(command, key)
    told: list[Any] = await pipeline.execute(raise_on_error=False)
    return told


def _pool(url: str, *, retries: int, most: int) -> BlockingConnectionPool:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=most,
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
    return pool
