"""Counters on a real Valkey, and limits that several processes keep with them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from moviehub.adapters.memory.storage import MemoryStorage
from moviehub.adapters.redis.connection import Connection
from moviehub.adapters.redis.counters import PREFIX, RedisCounters
from moviehub.adapters.system.clock import SystemClock
from moviehub.application.limits import AdmitAttempt, Limiter, Limits
from moviehub.application.ports import Addition, Counters
from moviehub.domain.limits import Limit, Standing
from tests import promises
from tests.contracts.counters import CountersContract, PassTime, add

TEN = Limit("ten", 10, 60)
HUNDRED = Limit("hundred", 100, 60)
Connect = Callable[[], Connection]
Open = Callable[[], Limiter]


@pytest.fixture
async def connect(valkey_url: str) -> AsyncIterator[Connect]:
    """Opens connections, patient ones, and closes them after the test."""
    connections: list[Connection] = []

    def connect() -> Connection:
        connections.append(Connection(valkey_url, timeout=5))
        return connections[-1]

    yield connect
    for connection in connections:
        await connection.close()


@pytest.fixture
def counters(connect: Connect) -> Counters:
    return RedisCounters(connect())


@pytest.fixture
async def opened(connect: Connect) -> AsyncIterator[Open]:
    """Opens limiters, each as of a process of its own, and closes them after the test."""
    limiters: list[Limiter] = []

    def opened() -> Limiter:
        limiters.append(Limiter(RedisCounters(connect()), SystemClock()))
        return limiters[-1]

    yield opened
    for limiter in limiters:
        await limiter.close()


@pytest.fixture
def server(valkey_url: str) -> Iterator["redis.Redis"]:
    """The server itself, past the counters."""
    with redis.Redis.from_url(valkey_url, socket_timeout=5, decode_responses=True) as client:
        yield client


@pytest.fixture
def additions(server: "redis.Redis") -> Callable[[], int]:
    """Tells how many round trips were made to add something since it was asked last."""

    def additions() -> int:
        stats: Any = server.info("commandstats")
        server.config_resetstat()
        calls: int = stats.get("cmdstat_evalsha", {"calls": 0})["calls"]
        return calls

    return additions


def passed(standings: list[Standing]) -> int:
    return sum(not each.refused for each in standings)


async def takes(limiter: Limiter, many: int, limit: Limit = TEN, key: str = "a") -> list[Standing]:
    return await asyncio.gather(*(limiter.take(limit, key) for _ in range(many)))


async def reads(limiter: Limiter, many: int, limit: Limit = HUNDRED, key: str = "a") -> list[Standing]:
    return await asyncio.gather(*(limiter.read(limit, key) for _ in range(many)))


class TestRedisCounters(CountersContract):
    @pytest.fixture
    def pass_time(self) -> PassTime:
        return asyncio.sleep

    async def test_whoever_adds_gets_a_total_of_its_own(self, connect: Connect) -> None:
        ours, theirs = RedisCounters(connect()), RedisCounters(connect())
        counts = await asyncio.gather(*(add(each, "a") for _ in range(25) for each in (ours, theirs)))
        assert sorted(each.total for each in counts) == list(range(1, 51))

    async def test_all_that_is_in_redis_has_an_end(self, counters: Counters, server: "redis.Redis") -> None:
        for once in ("first", "second"):
            await counters.add({"a": Addition(1, 60), "b": Addition(1, 0.5)}, once)
        names: Any = server.keys()
        assert len(names) == 3
        for name in names:
            left: Any = server.pttl(name)
            assert 0 < left <= 60_000

    async def test_the_same_call_again_counts_what_was_lost_meanwhile_as_nothing(
        self, counters: Counters, server: "redis.Redis"
    ) -> None:
        again = {"a": Addition(2, 60)}
        await counters.add(again, "once")
        server.delete(PREFIX + "a")
        assert (await counters.add(again, "once"))["a"].total == 0
        left: Any = server.pttl(PREFIX + "a")
        assert left > 0

    async def test_however_many_counters_are_one_round_trip(
        self, counters: Counters, additions: Callable[[], int]
    ) -> None:
        await add(counters, "a")
        additions()
        await counters.add({str(number): Addition(1, 60) for number in range(100)}, "many")
        assert additions() == 1

    async def test_a_server_that_forgot_everything_counts_from_nothing(
        self, counters: Counters, server: "redis.Redis"
    ) -> None:
        await add(counters, "a")
        with capture_logs() as logs:
            server.script_flush()
            assert (await add(counters, "a")).total == 2
            server.flushall()
            assert (await add(counters, "a")).total == 1
        assert logs == []

    async def test_who_goes_away_leaves_no_connection_behind(self, connect: Connect) -> None:
        connection = connect()
        counters = RedisCounters(connection)
        for steps in range(30):
            asked = [asyncio.ensure_future(add(counters, f"{steps} {n}", n + 1)) for n in range(20)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for each in asked[::2]:
                each.cancel()
            stayed = (await asyncio.gather(*asked, return_exceptions=True))[1::2]
            assert [getattr(each, "total", each) for each in stayed] == list(range(2, 21, 2))
        assert not connection.reads.connection_pool._in_use_connections


async def test_of_many_takes_in_two_processes_exactly_the_quota_passes(opened: Open) -> None:
    ours, theirs = opened(), opened()
    both = await asyncio.gather(takes(ours, 25), takes(theirs, 25))
    assert sum(map(passed, both)) == TEN.quota
    assert passed(await takes(ours, 5) + await takes(theirs, 5)) == 0


async def test_mixed_with_reads_no_more_takes_than_the_quota_pass(opened: Open) -> None:
    took, read = 0, 0
    ours, theirs = opened(), opened()
    for _ in range(30):
        for limiter in (ours, theirs):
            taken, seen = await asyncio.gather(takes(limiter, 2, HUNDRED), reads(limiter, 2))
            took, read = took + passed(taken), read + passed(seen)
    assert took < HUNDRED.quota
    assert HUNDRED.quota <= took + read <= HUNDRED.quota * 1.1


async def test_many_takes_at_once_are_few_round_trips(opened: Open, additions: Callable[[], int]) -> None:
    limiter = opened()
    await limiter.take(TEN, "first")
    additions()
    await asyncio.gather(*(limiter.take(TEN, str(number)) for number in range(50)))
    assert additions() == 1


async def test_most_reads_of_a_hot_key_are_no_round_trip(opened: Open, additions: Callable[[], int]) -> None:
    ours, theirs = opened(), opened()
    for limiter in (ours, theirs):
        await limiter.take(TEN, "first")
    additions()
    started = time.perf_counter()
    standings = [await limiter.read(HUNDRED, "a") for _ in range(100) for limiter in (ours, theirs)]
    settled = (time.perf_counter() - started) // 0.1
    assert HUNDRED.quota <= passed(standings) <= HUNDRED.quota * 1.1
    assert additions() <= passed(standings) // 6 + 2 * (settled + 2)
    assert passed(await reads(ours, 50) + await reads(theirs, 50)) == 0
    assert additions() <= 2  # what was left to tell


async def test_the_others_are_soon_told_of_reads(opened: Open, server: "redis.Redis") -> None:
    limiter = opened()
    await limiter.take(TEN, "first")
    started = time.perf_counter()
    await reads(limiter, 5)
    async with asyncio.timeout(5):
        while server.get(PREFIX + "hundred:60:a") != "5":  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert time.perf_counter() - started < 1


async def test_a_window_ends_in_all_processes_with_its_time(opened: Open) -> None:
    short = Limit("short", 4, 1)
    ours, theirs = opened(), opened()
    for limiter in (ours, theirs):
        await limiter.take(TEN, "first")
    started = time.perf_counter()
    assert passed(await takes(ours, 4, short)) == 4
    refused = 0
    for limiter in (theirs, ours):
        while (standing := await limiter.take(short, "a")).refused:
            assert standing.resets_in == 1
            refused += 1
            await asyncio.sleep(0.02)
    assert 0.95 < time.perf_counter() - started < 2
    assert refused > 5


@promises.redis_forgets_limits
async def test_limits_begin_at_nothing_when_redis_lost_everything(opened: Open, server: "redis.Redis") -> None:
    ours, theirs = opened(), opened()
    assert passed(await takes(ours, 5) + await takes(theirs, 4)) == 9
    with capture_logs() as logs:
        server.flushall()
        both = await asyncio.gather(takes(ours, 25), takes(theirs, 25))
    assert 1 <= sum(map(passed, both)) <= TEN.quota
    assert logs == []


async def test_no_name_that_somebody_gave_is_in_redis(opened: Open, server: "redis.Redis") -> None:
    limits = Limits(auth=TEN, everyone=TEN)
    admit = AdmitAttempt(limiter=opened(), limits=limits, storage=MemoryStorage(), clock=SystemClock())
    await admit(name="marked@example.org", address="2001:db8::1")
    names: Any = server.keys(PREFIX + "ten:*")
    assert len(names) == 3
    assert PREFIX + "ten:60:address:2001:db8::/64" in names
    everything: Any = [[name, server.get(name)] for name in server.scan_iter()]
    assert "marked" not in str(everything)
