"""Counters in memory, for one process."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta

from moviehub.application.ports import Addition, Clock, Count, Counters

MOST_KEPT = 50_000


class MemoryCounters(Counters):
    """Counters in a dict. Bounded: when it is full, the oldest begin again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counters: OrderedDict[str, tuple[int, datetime, datetime]] = OrderedDict()
        self._last = ""

    async def add(self, additions: Mapping[str, Addition], once: str) -> Mapping[str, Count]:
        now, told, self._last = self._clock.now(), once == self._last, once
        return {
            name: self._add(name, 0 if told else addition.amount, addition.seconds, now)
            for name, addition in additions.items()
        }

    def _add(self, name: str, amount: int, seconds: float, now: datetime) -> Count:
        total, begun, ends = self._counters.get(name, (0, now, now))
        if not begun <= now < ends:  # over, or the clock was set back
            self._counters.pop(name, None)  # so that it counts as the newest
            while len(self._counters) >= MOST_KEPT:
                self._counters.popitem(last=False)
            total, begun, ends = 0, now, now + timedelta(seconds=seconds)
        total += amount
        self._counters[name] = total, begun, ends
        return Count(total, (ends - now).total_seconds())
