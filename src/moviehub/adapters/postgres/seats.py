"""The seats of a pool: as many as it may lend connections at once, and how many wait for one."""

import asyncio
import time


class Seats:
    """At most `most` are taken; who finds none waits `patience` seconds for one at most, then gets TimeoutError.

    `waited` is how many seconds all have waited so far, `refused` how many did so in vain.
    """

    def __init__(self, most: int, patience: float) -> None:
        self.most = most
        self.taken = self.waiting = self.refused = 0
        self.waited = 0.0
        self._patience = patience
        self._free = asyncio.Semaphore(most)

    async def take(self) -> None:
        """Take one."""
        if self._free.locked():
            await self._wait()
        else:
            await self._free.acquire()  # without the price of a timer
        self.taken += 1

    def give_back(self) -> None:
        """Give one back."""
        self.taken -= 1
        self._free.release()

    async def _wait(self) -> None:
        began = time.monotonic()
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            self.refused += 1
            raise
        finally:
            self.waiting -= 1
            self.waited += time.monotonic() - began
