"""The cache in a dict."""

from datetime import timedelta

import pytest

from moviehub.adapters.memory.cache import MOST_ENTRIES, MemoryCache
from moviehub.adapters.memory.clock import MemoryClock
from moviehub.application.ports import Cache, Cached
from moviehub.domain.movies import MovieFacts
from tests.contracts.cache import FACTS, CacheContract


class TestMemoryCache(CacheContract):
    @pytest.fixture
    def clock(self) -> MemoryClock:
        return MemoryClock()

    @pytest.fixture
    def cache(self, clock: MemoryClock) -> Cache:
        return MemoryCache(clock)

    async def test_when_it_is_full_the_oldest_entry_goes(self, cache: Cache, clock: MemoryClock) -> None:
        until = clock.now() + timedelta(seconds=60)
        for number in range(MOST_ENTRIES):
            await cache.keep(str(number), Cached(FACTS, clock.now(), until))
        await cache.keep("0", Cached(FACTS, clock.now(), until))
        await cache.keep("one more", Cached(FACTS, clock.now(), until))
        assert await cache.find("1", MovieFacts) is None
        for key in ("0", "2", "one more"):
            assert await cache.find(key, MovieFacts) is not None

    async def test_when_it_is_full_what_is_over_goes_first(self, cache: Cache, clock: MemoryClock) -> None:
        await cache.keep("old and good", Cached(FACTS, clock.now(), clock.now() + timedelta(days=1)))
        for number in range(MOST_ENTRIES - 1):
            await cache.keep(str(number), Cached(FACTS, clock.now(), clock.now() + timedelta(seconds=1)))
        clock.advance(seconds=1)
        await cache.keep("one more", Cached(FACTS, clock.now(), clock.now() + timedelta(seconds=1)))
        assert await cache.find("old and good", MovieFacts) is not None
        assert await cache.find("one more", MovieFacts) is not None
