"""Work that many want at once, done once: one task a key in this process, and by a lease one in all of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, TypeVar

from moviehub.application.callers import CALLER, Caller
from moviehub.application.ports import BACKGROUND, Leases
from moviehub.application.tracing import SPAN
from moviehub.domain.errors import MovieHubError, Unavailable

T = TypeVar("T")

LEASE = 2.0
"""Seconds that a lease lives unless its owner renews it: so soon somebody else takes over from one that was killed."""

RENEW_EVERY = 0.6
LOOK_AGAIN = 0.05
LEFT_ALONE = 1.0
MOST_FAILED = 1_000
LONGEST_WAIT = 3.5
"""Seconds that somebody waits for another process's work: its deadline, and a moment."""

PATIENCE = 3.1
"""Seconds that a caller waits for work in all, one after the other or side by side: one deadline, and a moment."""


class Flights:
    """The work under way. Whoever waits and goes away ends nothing for the others."""

    def __init__(self, leases: Leases, *, patience: float = PATIENCE) -> None:
        self._leases = leases
        self._patience = patience
        self._flights: dict[str, asyncio.Task[Any]] = {}
        self._behind: dict[asyncio.Task[Any], asyncio.Task[None]] = {}
        self._failed: dict[str, float] = {}
        self._waiting: Counter[Caller] = Counter()

    @property
    def waiting(self) -> int:
        """How many callers wait for what is under way."""
        return len(self._waiting)

    def __len__(self) -> int:
        """How many are under way in this process."""
        return len(self._flights)

    async def join(self, key: str, work: Callable[[], Awaitable[T]], done: Callable[[], Awaitable[T | None]]) -> T:
        """What comes of the work under `key`, which is begun now unless it is under way.

        `done` tells what another process has made of the same work meanwhile, if anything. Unavailable when the caller
        has waited long enough; the work goes on, and whoever asks next may find it done.
        """
        flight = self._begun(key, work, done, background=BACKGROUND.get())
        caller = CALLER.get() or Caller()
        self._waiting[caller] += 1
        try:
            async with asyncio.timeout_at(self._until(caller)) as patience:
                return await asyncio.shield(flight)
        except (TimeoutError, asyncio.CancelledError) as fault:
            if not flight.done():
                self._watched(key, flight)  # perhaps nobody waits for it any more
            if isinstance(fault, TimeoutError) and patience.expired():
                raise Unavailable("What was asked for takes too long.") from None
            raise
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller]

    def _until(self, caller: Caller) -> float:
        """When a caller has waited long enough, by the loop's clock: it counts from the first work they wait for."""
        if caller.until is None:
            caller.until = asyncio.get_running_loop().time() + self._patience
        return caller.until

    def behind(self, key: str, work: Callable[[], Awaitable[T]], done: Callable[[], Awaitable[T | None]]) -> None:
        """The same for nobody who waits: a failure that is known disturbs no one, for who failed has told of it.

        After one it is left alone for a second, however many ask.
        """
        if time.monotonic() < self._failed.get(key, 0.0):
            return
        self._watched(key, self._begun(key, work, done, background=True))

    def _watched(self, key: str, flight: "asyncio.Task[Any]") -> None:
        """Have somebody hear how a flight ends for which perhaps nobody waits."""
        if flight not in self._behind:
            self._behind[flight] = asyncio.create_task(self._watch(key, flight), context=Context())
            self._behind[flight].add_done_callback(lambda _: self._behind.pop(flight))

    async def _watch(self, key: str, flight: "asyncio.Task[Any]") -> None:
        try:
            await asyncio.shield(flight)
        except MovieHubError:
            if len(self._failed) >= MOST_FAILED:
                self._failed.clear()
            self._failed[key] = time.monotonic() + LEFT_ALONE

    async def settled(self) -> None:
        """Return when nothing is under way any more."""
        while under_way := [*self._flights.values(), *self._behind.values()]:
            await asyncio.wait(under_way)

    async def close(self) -> None:
        """End everything under way."""
        under_way = [*self._flights.values(), *self._behind.values()]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def _begun(
        self,
        key: str,
        work: Callable[[], Awaitable[T]],
        done: Callable[[], Awaitable[T | None]],
        *,
        background: bool,
    ) -> "asyncio.Task[T]":
        flight = self._flights.get(key)
        if flight is None:
            # Without the context of the request that happens to begin it, for it may outlive that.
            context = Context()
            context.run(BACKGROUND.set, background)
            context.run(SPAN.set, SPAN.get())
            context.run(CALLER.set, None if background else CALLER.get())
            flight = asyncio.create_task(self._fly(key, work, done), context=context)
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key))
        return flight

    async def _fly(self, key: str, work: Callable[[], Awaitable[T]], done: Callable[[], Awaitable[T | None]]) -> T:
        deadline = time.monotonic() + LONGEST_WAIT
        while (owner := await self._leases.take(key, LEASE)) is None:
            if time.monotonic() > deadline:
                raise Unavailable("Somebody else is asking for the same and has no answer yet.")
            await asyncio.sleep(LOOK_AGAIN)
            if (made := await done()) is not None:
                return made
        renewing = asyncio.create_task(self._renew(key, owner))
        try:
            if (made := await done()) is not None:
                return made  # between our look and our lease somebody was done
            return await work()
        finally:
            renewing.cancel()
            await self._leases.give_back(key, owner)

    async def _renew(self, key: str, owner: str) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY)
            await self._leases.renew(key, owner, LEASE)
