"""Counters in a dict."""

from datetime import timedelta

import pytest

from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.memory.counters import MOST_KEPT, MemoryCounters
from moviehub.application.ports import Addition, Count, Counters
from tests.contracts.counters import CountersContract, PassTime, add


class TestMemoryCounters(CountersContract):
    @pytest.fixture
    def clock(self) -> MemoryClock:
        return MemoryClock()

    @pytest.fixture
    def counters(self, clock: MemoryClock) -> Counters:
        return MemoryCounters(clock)

    @pytest.fixture
    def pass_time(self, clock: MemoryClock) -> PassTime:
        async def pass_time(seconds: float) -> None:
            clock.advance(seconds=seconds)

        return pass_time

    async def test_when_they_are_full_the_oldest_begins_anew(self, counters: Counters) -> None:
        await counters.add(dict.fromkeys(map(str, range(MOST_KEPT + 1)), Addition(1, 60)), "many")
        assert (await add(counters, "1")).total == 2
        assert (await add(counters, "0")).total == 1

    async def test_a_clock_that_is_set_back_makes_no_counter_live_longer(
        self, counters: Counters, clock: MemoryClock
    ) -> None:
        await add(counters, "a")
        clock.advance(timedelta(days=-1))
        assert await add(counters, "a") == Count(1, 60)
