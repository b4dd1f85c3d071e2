"""The shared cache on a real Valkey."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.redis.cache import MOST_LOCAL, RedisCache
from moviehub.adapters.redis.connection import Connection
from moviehub.application.ports import Cached
from moviehub.domain.listings import ListedPage
from moviehub.domain.movies import MovieFacts
from tests import promises
from tests.contracts.cache import FACTS, CacheContract, listed

PREFIX = "test:1:en-US::"
Open = Callable[..., RedisCache]


@pytest.fixture
def clock() -> MemoryClock:
    return MemoryClock()


@pytest.fixture
async def opened(clock: MemoryClock) -> AsyncIterator[Open]:
    """Opens caches, patient ones, and closes them after the test."""
    connections: list[Connection] = []

    def opened(url: str, *, prefix: str = PREFIX, local_for: float = 1.0, timeout: float = 5) -> RedisCache:
        connections.append(Connection(url, timeout=timeout))
        return RedisCache(connections[-1], prefix=prefix, clock=clock, local_for=local_for)

    yield opened
    for connection in connections:
        await connection.close()


@pytest.fixture
def cache(opened: Open, valkey_url: str) -> RedisCache:
    return opened(valkey_url)


@pytest.fixture
def server(valkey_url: str) -> Iterator["redis.Redis"]:
    """The server itself, past the cache."""
    with redis.Redis.from_url(valkey_url, socket_timeout=5, decode_responses=True) as client:
        yield client


def facts_for(clock: MemoryClock, seconds: float = 60, number: int = 7) -> Cached[MovieFacts]:
    facts = MovieFacts(tmdb_id=number, title=FACTS.title)
    return Cached(facts, clock.now(), clock.now() + timedelta(seconds=seconds))


async def forgotten(cache: RedisCache, key: str) -> None:
    """Return when the cache has no more of this key; fail if it keeps it for long."""
    async with asyncio.timeout(5):
        while True:
            if await cache.find(key, MovieFacts) is None:
                return
            await asyncio.sleep(0.01)


class TestRedisCache(CacheContract):
    """The contract; its fixtures are those above."""


class TestRedisCacheWithoutItsLocalLayer(CacheContract):
    @pytest.fixture
    def cache(self, opened: Open, valkey_url: str) -> RedisCache:
        return opened(valkey_url, local_for=0)


async def test_one_worker_finds_what_another_kept(opened: Open, valkey_url: str, clock: MemoryClock) -> None:
    ours, theirs = opened(valkey_url), opened(valkey_url)
    entry = Cached(listed(clock), clock.now(), clock.now() + timedelta(seconds=60))
    await ours.keep("page", entry)
    assert await theirs.find("page", ListedPage) == entry


async def test_an_entry_whose_time_is_over_does_not_hide_what_another_worker_kept_since(
    opened: Open, valkey_url: str, clock: MemoryClock
) -> None:
    ours, theirs = opened(valkey_url, local_for=60), opened(valkey_url)
    await theirs.keep("facts", facts_for(clock, seconds=60))
    assert await ours.find("facts", MovieFacts) is not None
    await theirs.keep("facts", facts_for(clock, seconds=90))
    clock.advance(seconds=60)
    assert await ours.find("facts", MovieFacts) is not None


async def test_an_old_entry_does_not_hide_what_another_worker_kept_since(
    opened: Open, valkey_url: str, clock: MemoryClock
) -> None:
    def kept_now() -> Cached[MovieFacts]:
        now = clock.now()
        return replace(facts_for(clock, seconds=3_600), fresh_until=now + timedelta(seconds=60))

    ours, theirs = opened(valkey_url, local_for=60), opened(valkey_url)
    await theirs.keep("facts", kept_now())
    assert await ours.find("facts", MovieFacts) == kept_now()
    clock.advance(seconds=60)
    await theirs.keep("facts", kept_now())
    assert await ours.find("facts", MovieFacts) == kept_now()


async def test_a_hot_entry_costs_no_round_trip(
    opened: Open, valkey_url: str, clock: MemoryClock, server: "redis.Redis"
) -> None:
    await opened(valkey_url).keep("facts", facts_for(clock))
    cache = opened(valkey_url, local_for=60)
    server.config_resetstat()
    for _ in range(50):
        assert await cache.find("facts", MovieFacts) is not None
    stats: Any = server.info("commandstats")
    assert stats["cmdstat_mget"]["calls"] == 1


async def test_entries_wanted_at_once_share_round_trips(
    opened: Open, valkey_url: str, clock: MemoryClock, server: "redis.Redis"
) -> None:
    writer = opened(valkey_url)
    for number in range(50):
        await writer.keep(str(number), facts_for(clock))
    cache = opened(valkey_url, local_for=0)
    server.config_resetstat()
    wanted = [*map(str, range(50)), "nothing", "0"]
    found = await asyncio.gather(*(cache.find(key, MovieFacts) for key in wanted))
    assert [key for key, entry in zip(wanted, found, strict=True) if entry is None] == ["nothing"]
    stats: Any = server.info("commandstats")
    assert stats["cmdstat_mget"]["calls"] == 1


async def test_the_local_layer_forgets_soon_and_is_small(
    opened: Open, valkey_url: str, clock: MemoryClock, server: "redis.Redis"
) -> None:
    cache = opened(valkey_url, local_for=0.05)
    await cache.keep("facts", facts_for(clock))
    server.flushdb()
    await forgotten(cache, "facts")
    for number in range(MOST_LOCAL + 5):
        await cache.keep(str(number), facts_for(clock))
    assert len(cache._local) == MOST_LOCAL
    assert await cache.find("0", MovieFacts) is not None


async def test_an_entry_leaves_redis_when_its_time_is_over(
    cache: RedisCache, clock: MemoryClock, server: "redis.Redis"
) -> None:
    await cache.keep("facts", facts_for(clock, seconds=2.5))
    left: Any = server.pttl(PREFIX + "facts")
    assert 1_500 < left <= 2_500


async def test_lost_data_is_not_there_and_no_failure(
    opened: Open, valkey_url: str, clock: MemoryClock, server: "redis.Redis"
) -> None:
    cache = opened(valkey_url, local_for=0)
    await cache.keep("facts", facts_for(clock))
    server.flushall()
    with capture_logs() as logs:
        assert await cache.find("facts", MovieFacts) is None
        await cache.keep("facts", facts_for(clock))
        assert await cache.find("facts", MovieFacts) is not None
    assert logs == []


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"plain text", b"\x91" * 50_000, b"\x83\xa5value\x01"])
async def test_what_cannot_be_read_is_not_there(cache: RedisCache, server: "redis.Redis", data: bytes) -> None:
    server.set(PREFIX + "facts", data)
    assert await cache.find("facts", MovieFacts) is None


@pytest.mark.parametrize("prefix", [PREFIX, "a*[b]?\\:^", "夜"])
async def test_a_flush_touches_its_prefix_alone(
    opened: Open, valkey_url: str, clock: MemoryClock, server: "redis.Redis", prefix: str
) -> None:
    cache = opened(valkey_url, prefix=prefix)
    others = {f"{other}{n}" for other in ("x" + prefix, prefix[:-1], "a_b_:", "axbc\\:^", "") for n in range(3)}
    for name in others:
        server.set(name, "not ours")
    for number in range(2_500):
        server.set(f"{prefix}{number}", "ours")
    await cache.keep("facts", facts_for(clock))
    await cache.flush()
    left: Any = server.keys()
    assert set(left) == others
    assert await cache.find("facts", MovieFacts) is None


async def test_a_flush_by_one_worker_is_soon_seen_by_all(opened: Open, valkey_url: str, clock: MemoryClock) -> None:
    ours, theirs = opened(valkey_url), opened(valkey_url, local_for=0.05)
    await theirs.keep("facts", facts_for(clock))
    await ours.flush()
    await forgotten(theirs, "facts")


async def test_a_flush_has_more_patience_than_a_request(
    opened: Open, valkey_url: str, clock: MemoryClock, server: "redis.Redis"
) -> None:
    cache = opened(valkey_url, timeout=0.2)
    server.set(PREFIX + "facts", "ours")
    server.client_pause(5_000, all=False)
    flush = asyncio.ensure_future(cache.flush())
    for number in range(2):
        await cache.keep(str(number), facts_for(clock))  # in vain, until its time is over
    assert not flush.done()
    server.client_unpause()
    await flush
    assert not server.exists(PREFIX + "facts")


async def test_hundreds_at_once_are_all_answered(opened: Open, valkey_url: str, clock: MemoryClock) -> None:
    writer, reader = opened(valkey_url), opened(valkey_url)
    await asyncio.gather(*(writer.keep(str(n), facts_for(clock, number=n + 1)) for n in range(300)))
    found = await asyncio.gather(*(reader.find(str(n), MovieFacts) for n in range(300)))
    assert [entry.value.tmdb_id for entry in found if entry] == list(range(1, 301))


@promises.client_gone
async def test_who_goes_away_does_not_mix_up_the_answers_of_others(
    opened: Open, valkey_url: str, clock: MemoryClock
) -> None:
    cache = opened(valkey_url, local_for=0)
    for number in range(20):
        await cache.keep(str(number), facts_for(clock, number=number + 1))
    for steps in range(30):
        asked = [asyncio.ensure_future(cache.find(str(n), MovieFacts)) for n in range(20)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for each in asked[::2]:
            each.cancel()
        found = (await asyncio.gather(*asked, return_exceptions=True))[1::2]
        assert [entry.value.tmdb_id for entry in found if isinstance(entry, Cached)] == list(range(2, 21, 2))
