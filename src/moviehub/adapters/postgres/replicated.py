"""The storage on two servers: the primary, and a replica that answers what may be a moment old."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import Context
from datetime import timedelta

from moviehub.adapters.postgres.diagnosis import Diagnosis
from moviehub.adapters.postgres.replica import NEVER, Either, Watch
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.application.callers import CALLER
from moviehub.application.ports import Cache, Cached, Clock
from moviehub.application.storage import Storage, UnitOfWork
from moviehub.domain.errors import Unavailable


class Writers:
    """Who wrote in the last `seconds`: this process knows of its own, the cache of everybody's.

    While the cache is out, and so long after, it can be anybody.
    """

    def __init__(self, cache: Cache, clock: Clock, seconds: float) -> None:
        self._cache = cache
        self._clock = clock
        self._seconds = seconds
        self._ping = getattr(cache, "ping", None)  # one in memory is always there
        self._out_until = NEVER
        self._ours: dict[int, float] = {}

    async def look(self) -> None:
        """See whether the cache is out, for it does not tell when asked."""
        try:
            if self._ping is not None:
                await self._ping()
        except Unavailable:
            self._out_until = time.monotonic() + self._seconds

    async def note(self, user_id: int) -> None:
        """This person has just written."""
        now = time.monotonic()
        self._ours.pop(user_id, None)  # so that it counts as the newest
        self._ours[user_id] = now + self._seconds
        while self._ours[oldest := next(iter(self._ours))] <= now:
            del self._ours[oldest]
        at = self._clock.now()
        await self._cache.keep(_key(user_id), Cached(True, at, at + timedelta(seconds=self._seconds)))

    async def may_include(self, user_id: int) -> bool:
        """Whether this person is one of them, as far as can be known."""
        if time.monotonic() < max(self._out_until, self._ours.get(user_id, NEVER)):
            return True
        if await self._cache.find(_key(user_id), bool) is not None:
            return True
        caller = CALLER.get()
        return caller is not None and caller.is_late  # then perhaps the cache was not heard


def _key(user_id: int) -> str:
    return f"wrote_{user_id}"


class ReplicatedStorage(Storage):
    """Keeps everything in `primary`, and reads films and opinions from `replica`.

    What the replica shows is at most `longest_lag` seconds old, as far as the primary can tell; who wrote in the last
    `sticky` seconds reads from the primary. `sticky` is the longer of the two, by more than clocks differ.
    """

    def __init__(
        self,
        primary: PostgresStorage,
        replica: PostgresStorage,
        cache: Cache,
        clock: Clock,
        *,
        longest_lag: float = 2.0,
        sticky: float = 5.0,
        every: float = 0.5,
    ) -> None:
        self._primary = primary
        self._replica = replica
        self._writers = Writers(cache, clock, sticky)
        self._watch = Watch(primary.pool, replica.pool, longest_lag)
        self._every = every
        self._watching: asyncio.Task[object] | None = None
        self._closed = False
        self._of_either = primary.reads(Either(primary.pool, replica.pool, self._watch))
        self._of_primary = primary.reads(primary.pool)

    def transaction(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        return self._noted(self._primary.transaction(), by)

    def autocommit(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        return self._noted(self._primary.autocommit(), by)

    def reading(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        self._begin()
        return nullcontext(self._of_either) if by is None else self._reading_by(by)

    async def ping(self) -> None:
        """Raise Unavailable if the primary does not answer."""
        await self._primary.ping()

    async def ping_replica(self) -> None:
        """Raise Unavailable, and say why, if the replica is not read."""
        self._begin()
        await self._watch.settled.wait()
        if self._watch.fault:
            raise Unavailable(self._watch.fault)

    async def revision(self) -> str | None:
        """The newest migration that the primary has seen, if any."""
        return await self._primary.revision()

    async def diagnosis(self) -> Diagnosis:
        """What an operator wants to know of the primary."""
        return await self._primary.diagnosis()

    async def close(self) -> None:
        """Let go of every connection."""
        self._closed = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(self._primary.close(), self._replica.close())

    @asynccontextmanager
    async def _noted(self, work: AbstractAsyncContextManager[UnitOfWork], by: int | None) -> AsyncIterator[UnitOfWork]:
        try:
            async with work as uow:
                yield uow
        finally:  # after a failure too: of a write whose answer is lost nobody knows whether it was done
            if by is not None:
                await self._writers.note(by)

    @asynccontextmanager
    async def _reading_by(self, user_id: int) -> AsyncIterator[UnitOfWork]:
        # One that is fresh now has all that this person did before: it may be read, whatever becomes of it meanwhile.
        has_all = self._watch.is_fresh and not await self._writers.may_include(user_id)
        yield self._of_either if has_all else self._of_primary

    def _begin(self) -> None:
        if self._watching is None and not self._closed:
            # Without the context of the request that happens to begin it, for it outlives that.
            self._watching = asyncio.create_task(self._keep_watch(), context=Context())

    async def _keep_watch(self) -> None:
        while True:
            await self._writers.look()  # first, so that no replica is taken for fresh before
            await self._watch.look()
            await asyncio.sleep(self._every)
