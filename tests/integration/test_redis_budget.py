"""A budget on a real Valkey, which several processes share, and what becomes of it without one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import pytest
import redis

from moviehub.adapters.memory.budget import MemoryBudget
from moviehub.adapters.redis.budget import GIVEN, HELD, PAUSE, RedisBudget
from moviehub.adapters.redis.connection import Connection
from moviehub.domain.errors import Unavailable
from tests import promises
from tests.contracts.budget import LONG, MANY, SHORT, BudgetContract, Open, answered, asked, most_in_a_second
from tests.integration.test_redis_away import forwarding, serving
from tests.proxy import Proxy
from tests.servers import free_port

OpenAt = Callable[..., RedisBudget]


@pytest.fixture
async def opened_at() -> AsyncIterator[OpenAt]:
    """Opens budgets, each as of a process of its own, and closes them after the test."""
    closed: list[Connection] = []

    def opened_at(url: str, rate: int, connections: int, *, life: float = 4.0, timeout: float = 5) -> RedisBudget:
        connection, alone = Connection(url, timeout=timeout), MemoryBudget(rate, connections)
        budget = RedisBudget(connection, alone, rate=rate, connections=connections, life=life)
        closed.append(connection)
        return budget

    yield opened_at
    for each in closed:
        await each.close()


@pytest.fixture
def opened(opened_at: OpenAt, valkey_url: str) -> Open:
    return lambda rate, connections: opened_at(valkey_url, rate, connections)


class TestRedisBudget(BudgetContract):
    """The contract; its fixture is the one above."""


async def crowds(budgets: list[RedisBudget], seconds: float, many: int) -> list[float]:
    """When so many at once at each of the budgets, again and again, got their places."""
    times: list[float] = []

    async def come(budget: RedisBudget) -> None:
        started = time.monotonic()
        while time.monotonic() < started + seconds:
            times.extend(
                answered(await asyncio.gather(*(asked(budget, 1) for _ in range(many)), return_exceptions=True))
            )

    await asyncio.gather(*map(come, budgets))
    return times


@promises.fleet_rate
async def test_two_processes_together_keep_to_the_rate_in_every_second(opened: Open) -> None:
    ours, theirs = opened(10, MANY), opened(10, MANY)
    assert isinstance(ours, RedisBudget)
    assert isinstance(theirs, RedisBudget)
    times = await crowds([ours, theirs], 2.2, 7)
    assert most_in_a_second(times) <= 10
    assert len(times) >= 20


async def test_two_processes_share_the_connections(opened: Open) -> None:
    ours, theirs = opened(MANY, 2), opened(MANY, 2)
    async with ours.place(LONG), theirs.place(LONG):
        for budget in (ours, theirs):
            with pytest.raises(Unavailable):
                await asked(budget, SHORT)


@promises.fleet_pause
async def test_a_pause_of_one_process_is_one_of_all(opened: Open) -> None:
    ours, theirs = opened(MANY, MANY), opened(MANY, MANY)
    await ours.pause(7)
    with pytest.raises(Unavailable) as refused:
        await asked(theirs)
    assert refused.value.retry_after in (6, 7)


@promises.fleet_rate
async def test_the_place_of_a_killed_process_comes_back(opened_at: OpenAt, valkey_url: str) -> None:
    killed, other = (opened_at(valkey_url, MANY, 1, life=0.5) for _ in range(2))
    place = killed.place(LONG)
    await place.__aenter__()
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await asked(other, SHORT)
    assert 0.4 < await asked(other) - started < 1
    await place.__aexit__(None, None, None)


async def test_all_that_is_in_redis_has_an_end(opened: Open, valkey_url: str) -> None:
    budget = opened(MANY, MANY)
    async with budget.place(LONG):
        await budget.pause(7)
        with redis.Redis.from_url(valkey_url, socket_timeout=5) as link:
            for name in (GIVEN, HELD, PAUSE):
                left: object = link.pttl(name)
                assert isinstance(left, int)
                assert 0 < left <= 60_000


async def test_a_clock_that_was_set_back_stops_nobody(opened: Open, valkey_url: str) -> None:
    budget = opened(1, 1)
    await asked(budget)
    with redis.Redis.from_url(valkey_url, socket_timeout=5) as link:
        link.rpush(GIVEN, int((time.time() + 3_600) * 1_000))
        link.zadd(HELD, {"long ago": (time.time() + 3_600) * 1_000})
    await asked(budget, SHORT)


async def test_a_crowd_waits_for_a_slow_redis_once_and_not_for_each_other(opened_at: OpenAt, valkey_url: str) -> None:
    with Proxy(valkey_url) as door:
        budget = opened_at(door.url, MANY, MANY)
        await asyncio.gather(*(asked(budget) for _ in range(10)))  # the script is sent, and connections opened
        door.delay(0.1)
        started = time.monotonic()
        await asyncio.gather(*(asked(budget) for _ in range(10)))
        assert time.monotonic() - started < 0.7, "one after the other would take a second"


async def test_those_who_wait_ask_redis_once_and_then_one_for_all_now_and_then(opened: Open, valkey_url: str) -> None:
    budget = opened(MANY, 1)
    async with budget.place(LONG):
        with redis.Redis.from_url(valkey_url, socket_timeout=5) as link:
            link.config_resetstat()
            crowd = await asyncio.gather(*(asked(budget, 0.5) for _ in range(200)), return_exceptions=True)
            assert answered(crowd) == []
            stats = link.info("commandstats")
    assert isinstance(stats, dict)
    assert stats["cmdstat_evalsha"]["calls"] <= 200 + 0.5 / 0.05 + 2


@promises.fleet_rate
async def test_while_redis_is_away_each_process_keeps_to_it_alone(opened_at: OpenAt) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    budgets = [opened_at(url, 5, 2, timeout=0.2) for _ in range(2)]
    for budget in budgets:
        times = answered(await asyncio.gather(*(asked(budget, SHORT) for _ in range(20)), return_exceptions=True))
        assert len(times) == 5
    budgets = [opened_at(url, MANY, 2, timeout=0.2) for _ in range(2)]
    for budget in budgets:
        async with budget.place(LONG), budget.place(LONG):
            with pytest.raises(Unavailable):
                await asked(budget, SHORT)
    await budgets[0].pause(7)
    with pytest.raises(Unavailable):
        await asked(budgets[0])


async def back(budget: RedisBudget, url: str) -> None:
    """Return when Redis gives its places again; fail if that takes longer than it may."""
    with redis.Redis.from_url(url, socket_timeout=5) as link:
        link.delete(GIVEN)
        async with asyncio.timeout(2):
            while not link.exists(GIVEN):
                await asyncio.gather(asked(budget, SHORT), return_exceptions=True)


async def test_when_redis_comes_back_they_keep_to_it_together_again(opened_at: OpenAt, valkey_url: str) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}{urlsplit(valkey_url).path}"
    ours, theirs = (opened_at(url, 5, MANY, timeout=0.2) for _ in range(2))
    alone = await asyncio.gather(*(asked(budget, SHORT) for budget in (ours, theirs) for _ in range(5)))
    assert len(alone) == 10
    async with serving(forwarding(valkey_url), port):
        for budget in (ours, theirs):
            await back(budget, valkey_url)
        times = await crowds([ours, theirs], 2.2, 4)
    assert most_in_a_second(times) <= 5
    assert len(times) >= 10
