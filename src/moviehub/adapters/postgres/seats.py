"""The seats of a pool: as many as it may lend connections at once, and how many wait for one."""

import asyncio
import time
from collections import deque


class Seats:
    """At most `most` are taken; who finds none waits `patience` seconds for one at most, then gets TimeoutError.

    `waited` is how many seconds all have waited so far, `refused` how many did so in vain.
    """

    def __init__(self, most: int, patience: float) -> None:
        self.most = most
        self.taken = self.waiting = self.refused = 0
        self.waited = 0.0
        self._patience = patience
        self._queue: deque[asyncio.Future[bool]] = deque()
        """The turns of those who wait: True with a seat, False without."""
        self._all_free = asyncio.Event()

    async def take(self) -> None:
        """Take one."""
        if self.taken < self.most:
            self.taken += 1
        elif not await self._turn():
            self.refused += 1
            raise TimeoutError

    def give_back(self) -> None:
        """Give one back, or rather on to whoever has waited longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(True)
                return
        self.taken -= 1
        if not self.taken:
            self._all_free.set()

    async def all_free(self) -> None:
        """Wait until nobody has one."""
        while self.taken:
            self._all_free.clear()
            await self._all_free.wait()

    async def _turn(self) -> bool:
        loop, began = asyncio.get_running_loop(), time.monotonic()
        turn: asyncio.Future[bool] = loop.create_future()
        self._queue.append(turn)
        patience = loop.call_later(self._patience, _refuse, turn)
        self.waiting += 1
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.result():  # it was given a seat, and does not come for it
                self.give_back()
            raise
        finally:
            patience.cancel()
            self.waiting -= 1
            self.waited += time.monotonic() - began


def _refuse(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
