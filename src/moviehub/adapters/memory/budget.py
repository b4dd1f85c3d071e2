"""The budget of questions to the catalogue in memory, for one process."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from moviehub.application.ports import BACKGROUND, Budget
from moviehub.domain.errors import Unavailable

WINDOW = 1.1
"""Seconds: a tenth more than the one that is promised, for the way to the catalogue takes now longer and now less."""

LOOK_AGAIN = 0.02


class MemoryBudget(Budget):
    """At most `rate` places in any second and `connections` at once; the last quarter is not for the background.

    `monotonic` tells when places were given and how long all pause; how long somebody waits is told by a real clock.
    """

    def __init__(self, rate: int, connections: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._connections = connections
        self._monotonic = monotonic
        self._given: deque[float] = deque(maxlen=rate)  # the last places, some of them yet to come
        self._held = 0
        self._paused_until = 0.0
        # Of each kind one looks again and again, and the others wait behind in the order in which they came.
        self._turns = {background: asyncio.Lock() for background in (False, True)}

    @asynccontextmanager
    async def place(self, patience: float) -> AsyncIterator[None]:
        background = BACKGROUND.get()
        try:
            async with asyncio.timeout(patience), self._turns[background]:
                wait = await self._taken(patience, background)
        except TimeoutError:
            raise _refused(1) from None
        try:
            if wait:
                await asyncio.sleep(wait)
                self._check()
            yield
        finally:
            self._held -= 1

    async def pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._monotonic() + seconds)

    async def _taken(self, patience: float, background: bool) -> float:
        """How long to wait for the place that is ours from now on."""
        until = time.monotonic() + patience
        rate, connections = (most - most // 4 * background for most in (self._rate, self._connections))
        while True:
            self._check()
            now = self._monotonic()
            wait = max(0.0, self._given[-rate] + WINDOW - now) if len(self._given) >= rate else 0.0
            if wait > until - time.monotonic():
                raise _refused(wait)
            if self._held < connections and not (wait and background):
                self._given.append(now + wait)
                self._held += 1
                return wait
            await asyncio.sleep(LOOK_AGAIN)

    def _check(self) -> None:
        left = self._paused_until - self._monotonic()
        if left > 0:
            raise _refused(left)


def _refused(seconds: float) -> Unavailable:
    return Unavailable("The film catalogue is asked as often as it may be.", retry_after=max(1, math.ceil(seconds)))
