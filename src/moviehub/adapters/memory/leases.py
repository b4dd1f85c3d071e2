"""Leases in memory, for one process."""

import time
from itertools import count

from moviehub.application.ports import Leases


class MemoryLeases(Leases):
    """Leases in a dict. Their seconds are real ones, whatever a test's clock says: they bound how long people wait."""

    def __init__(self) -> None:
        self._leases: dict[str, tuple[str, float]] = {}
        self._owners = count(1)

    async def take(self, name: str, seconds: float) -> str | None:
        now = time.monotonic()
        if name in self._leases and self._leases[name][1] > now:
            return None
        owner = str(next(self._owners))
        self._leases[name] = owner, now + seconds
        return owner

    async def renew(self, name: str, owner: str, seconds: float) -> bool:
        if self._leases.get(name, ("", 0.0))[0] != owner:
            return False
        self._leases[name] = owner, time.monotonic() + seconds
        return True

    async def give_back(self, name: str, owner: str) -> None:
        if self._leases.get(name, ("", 0.0))[0] == owner:
            del self._leases[name]
