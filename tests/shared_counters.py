"""Counters as other processes share them, for tests without any: they take a moment, go away and lose answers."""

import asyncio
from collections.abc import Mapping

from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.memory.counters import MemoryCounters
from moviehub.application.ports import Addition, Count
from moviehub.domain.errors import Unavailable

PATIENCE = 2.0


class SharedCounters(MemoryCounters):
    """While `away` they cannot be reached; so many of the next answers as `loses_answers` tells are lost.

    `asked` is how often they were asked, `most_asking` how many asked at once, `calls` what they counted.
    """

    def __init__(self, clock: MemoryClock) -> None:
        super().__init__(clock)
        self.asked = 0
        self.asking = self.most_asking = 0
        self.calls: list[Mapping[str, Addition]] = []
        self.called = asyncio.Condition()
        self.away = False
        self.loses_answers = 0

    async def add(self, additions: Mapping[str, Addition], once: str) -> Mapping[str, Count]:
        self.asked += 1
        self.asking += 1
        self.most_asking = max(self.asking, self.most_asking)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            return await self._answered(additions, once)
        finally:
            self.asking -= 1

    async def _answered(self, additions: Mapping[str, Addition], once: str) -> Mapping[str, Count]:
        if self.away:
            raise Unavailable()
        self.calls.append(additions)
        counts = await super().add(additions, once)
        async with self.called:
            self.called.notify_all()
        if self.loses_answers:
            self.loses_answers -= 1
            raise Unavailable()
        return counts

    async def told(self, calls: int) -> None:
        """Return when there were so many calls; fail if that takes much longer than it may."""
        async with asyncio.timeout(PATIENCE), self.called:
            await self.called.wait_for(lambda: len(self.calls) >= calls)
