"""Work that many want at once, done once: one task a key in this process, and by a lease one in all of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

from moviehub.application.ports import Leases
from moviehub.domain.errors import MovieHubError, Unavailable

T = TypeVar("T")

LEASE = 2.0
"""Seconds that a lease lives unless its owner renews it: so soon somebody else takes over from one that was killed."""

RENEW_EVERY = 0.6
LOOK_AGAIN = 0.05
LONGEST_WAIT = 3.5
"""Seconds that somebody waits for another process's work: its deadline, and a moment."""


class Flights:
    """The work under way. Whoever waits and goes away ends nothing for the others."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._flights: dict[str, asyncio.Task[Any]] = {}
        self._behind: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many are under way in this process."""
        return len(self._flights)

    def join(
        self, key: str, work: Callable[[], Awaitable[T]], done: Callable[[], Awaitable[T | None]]
    ) -> "asyncio.Task[T]":
        """The task under `key`, begun now unless it is under way; await it shielded.

        `done` tells what another process has made of the same work meanwhile, if anything.
        """
        flight = self._flights.get(key)
        if flight is None:
            # Without the context of the request that happens to begin it, for it may outlive that.
            flight = asyncio.create_task(self._fly(key, work, done), context=Context())
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key))
        return flight

    def behind(self, key: str, work: Callable[[], Awaitable[T]], done: Callable[[], Awaitable[T | None]]) -> None:
        """The same for nobody who waits: a failure that is known disturbs no one, for who failed has told of it."""
        task = asyncio.create_task(_quiet(self.join(key, work, done)), context=Context())
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def settled(self) -> None:
        """Return when nothing is under way any more."""
        while under_way := [*self._flights.values(), *self._behind]:
            await asyncio.wait(under_way)

    async def close(self) -> None:
        """End everything under way."""
        under_way = [*self._flights.values(), *self._behind]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

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


async def _quiet(flight: "asyncio.Task[Any]") -> None:
    with suppress(MovieHubError):
        await asyncio.shield(flight)
