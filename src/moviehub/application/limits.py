"""How rate limits are kept: exactly for what changes something, and without a round trip for most of what reads."""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar
from uuid import uuid4

from moviehub.application.callers import helped_by
from moviehub.application.ports import Addition, Clock, Counters
from moviehub.application.storage import Storage
from moviehub.domain.errors import Unavailable
from moviehub.domain.limits import Limit, RateLimited, Standing, network_of
from moviehub.domain.pages import MOST_PER_PAGE, PageRequest
from moviehub.domain.text import cased

T = TypeVar("T")

SETTLE_EVERY = 0.1
"""Seconds after which the others are told of reads counted here; so long nobody asks them when they did not answer."""

READ_AHEAD = 20
"""A worker lets a twentieth of a quota pass before it asks the others: by so much reads may overshoot."""

MOST_WINDOWS = 20_000
MOST_AT_ONCE = 500
"""So many counters are told in one round trip: a few milliseconds of work for either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a hub; None is no limit. `everyone` is for all attempts at signing in together."""

    anonymous: Limit | None = None
    user: Limit | None = None
    auth: Limit | None = None
    everyone: Limit | None = None


class _Window:
    """What this process knows of one counter until it begins again."""

    __slots__ = ("counted", "ends", "name", "seconds", "telling", "untold")

    def __init__(self, name: str, seconds: int, now: float) -> None:
        self.name = name
        self.seconds = seconds
        self.ends = now + seconds
        self.counted = 0  # by all processes together, as last heard
        self.telling = 0  # on its way to the others
        self.untold = 0  # counted here alone

    @property
    def used(self) -> int:
        return self.counted + self.telling + self.untold

    def is_open(self, now: float) -> bool:
        """Whether it still counts; one that is further away than it is long is left from before the clock was set."""
        return now < self.ends <= now + self.seconds


class Limiter:
    """Counts requests against limits, over every process that shares the counters.

    What is counted here is told to the others in batches, one after the other: at once for who needs to know how all
    stand, soon for the rest. While they cannot be reached each process counts for itself, and tells them afterwards.
    """

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._untold: dict[str, _Window] = {}
        self._batch: list[_Window] = []  # stays until it is answered: whoever lost the answer tells the same once more
        self._once = ""
        self._alone_until = 0.0
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Mapping[_Window, int]] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def take(self, limit: Limit, key: str) -> Standing:
        """Count one request exactly: of many at once, in any process, no more pass than the quota allows."""
        return await self._count(limit, key)

    async def read(self, limit: Limit, key: str) -> Standing:
        """Count one request and tell the others soon: no round trip for most, and perhaps a twentieth too many pass."""
        return self.glance(limit, key) or await self._count(limit, key)

    def glance(self, limit: Limit, key: str) -> Standing | None:
        """What `read` gives where the others need not be asked, which is nearly always; else None, uncounted."""
        now = self._now()
        window = self._window(limit, key, now)
        used = window.counted + window.telling + window.untold
        if used >= limit.quota:
            return _standing(limit, window, now, refused=True)
        if window.telling + window.untold >= limit.quota // READ_AHEAD:
            return None
        if not window.untold:
            self._untold[window.name] = window
            self._tell_later()
        window.untold += 1
        return _standing(limit, window, now)

    async def close(self) -> None:
        """Stop telling the others."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _count(self, limit: Limit, key: str) -> Standing:
        now = self._now()
        window = self._window(limit, key, now)
        if window.used >= limit.quota:
            return _standing(limit, window, now, refused=True)
        window.untold += 1
        self._untold[window.name] = window
        place = window.untold
        telling, before = self._tell_now(), None
        with suppress(Unavailable):  # the others are told after the caller has gone on
            # Shielded, because the others who are in this batch still wait when one of them has gone away.
            before = (await helped_by(asyncio.shield(telling))).get(window)
        return _standing(limit, window, self._now(), refused=before is not None and before + place > limit.quota)

    def _window(self, limit: Limit, key: str, now: float) -> _Window:
        seconds = limit.seconds
        name = f"{limit.name}:{seconds}:{key}"
        window = self._windows.get(name)
        if window is None or not now < window.ends <= now + seconds:
            self._forget(name)  # so that it counts as the newest
            while len(self._windows) >= MOST_WINDOWS:
                self._forget(next(iter(self._windows)))
            window = self._windows[name] = _Window(name, seconds, now)
        return window

    def _forget(self, name: str) -> None:
        self._windows.pop(name, None)
        self._untold.pop(name, None)

    def _now(self) -> float:
        return self._clock.seconds()

    def _tell_now(self) -> asyncio.Task[Mapping[_Window, int]]:
        if self._next is None:
            self._next = self._start(self._tell())
        return self._next

    def _tell_later(self) -> None:
        if self._settling is None:
            self._settling = self._start(self._settle())

    async def _settle(self) -> None:
        try:
            while self._untold or self._batch:
                await asyncio.sleep(SETTLE_EVERY)
                await self._tell_now()
        finally:
            self._settling = None

    async def _tell(self) -> Mapping[_Window, int]:
        """What each window stood at before it was told now; without those that could not be told."""
        before: dict[_Window, int] = {}
        async with self._turn:
            self._next = None  # who comes from here on goes with the next
            # Not as long as anything is untold: who waits for this would wait for all that comes meanwhile.
            for _ in range(bool(self._batch) + math.ceil(len(self._untold) / MOST_AT_ONCE)):
                if time.monotonic() < self._alone_until:
                    break
                if not self._batch:
                    self._load()
                now = self._now()
                additions = {
                    each.name: Addition(each.telling, each.ends - now) for each in self._batch if each.is_open(now)
                }
                try:
                    counts = await self._counters.add(additions, self._once) if additions else {}
                except Unavailable:
                    self._alone_until = time.monotonic() + SETTLE_EVERY
                    self._tell_later()
                    continue
                for window in self._batch:
                    if count := counts.get(window.name):
                        before[window] = count.total - window.telling
                        window.counted = count.total
                        window.ends = now + count.seconds_left
                    window.telling = 0
                self._batch = []
        return before

    def _load(self) -> None:
        self._batch = list(islice(self._untold.values(), MOST_AT_ONCE))
        self._once = uuid4().hex
        for window in self._batch:
            del self._untold[window.name]
            window.telling, window.untold = window.untold, 0

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        # Without the context of the request that happens to begin it: what it logs is not of that request.
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _standing(limit: Limit, window: _Window, now: float, *, refused: bool = False) -> Standing:
    remaining = 0 if refused else limit.quota - window.counted - window.telling - window.untold
    left = math.ceil(window.ends - now - 0.001)  # instants are floats: of 60 seconds, 60.0000002 may be left
    return Standing(limit, remaining if remaining > 0 else 0, left if left > 1 else 1, refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitAttempt:
    """Room for one more attempt to prove who one is, counted by address, by the name given, and in sum.

    RateLimited if there is none. Strangers who use up the attempts at a name keep nobody out who has a session from the
    very address they come from.
    """

    limiter: Limiter
    limits: Limits
    storage: Storage
    clock: Clock

    async def __call__(self, *, name: str, address: str) -> tuple[Standing, ...]:
        network, auth, everyone = network_of(address), self.limits.auth, self.limits.everyone
        standings = []
        if auth is not None:
            standings.append(await self.limiter.take(auth, f"address:{network}"))
            if standings[0].refused:
                raise RateLimited(standings[0])
        for limit, key in ((auth, f"name:{_digest(name)}"), (everyone, "all")):
            if limit is not None:
                standing = await self.limiter.take(limit, key)
                if standing.refused and not await self._is_at_home(name, network):
                    raise RateLimited(standing)
                standings.append(standing)
        return tuple(standing for standing in standings if not standing.refused)

    async def _is_at_home(self, name: str, network: str) -> bool:
        async with self.storage.reading() as uow:
            user = await uow.users.find_by_login(name)
            # Asked for nobody's sessions too, so that the time taken does not tell who has an account.
            page = await uow.sessions.list(user.id if user else 0, PageRequest(1, MOST_PER_PAGE), self.clock.now())
            return bool(network) and any(network_of(session.address) == network for session in page.items)


def _digest(name: str) -> str:
    """A name as a counter's: no address and no password that somebody typed in its place is kept anywhere."""
    return hashlib.blake2s(cased(name).encode("utf-8", "surrogatepass")).hexdigest()[:32]
