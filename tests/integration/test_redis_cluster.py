"""What the parts that use Redis owe, on three Valkey servers in a cluster; nodes that are away, slots that move."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from moviehub.adapters.memory.budget import MemoryBudget
from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.redis import budget, counters, leases
from moviehub.adapters.redis.budget import RedisBudget
from moviehub.adapters.redis.cache import RedisCache
from moviehub.adapters.redis.cluster import keyspace_at, slot_of
from moviehub.adapters.redis.counters import RedisCounters
from moviehub.adapters.redis.keyspace import Keyspace
from moviehub.adapters.redis.leases import RedisLeases
from moviehub.adapters.redis.news import RedisNews
from moviehub.application.ports import Addition, Cached, Counters, Leases, News
from moviehub.domain.errors import Unavailable
from moviehub.domain.movies import MovieFacts
from tests import promises
from tests.cluster import Node, Valkeys, a_replica_of, three_nodes
from tests.contracts.budget import BudgetContract
from tests.contracts.budget import Open as OpenBudget
from tests.contracts.cache import FACTS, CacheContract
from tests.contracts.counters import CountersContract, PassTime, add
from tests.contracts.leases import LONG, LeasesContract
from tests.contracts.news import NewsContract
from tests.servers import eventually, free_port

PREFIX = "test:"
Connect = Callable[..., Keyspace]
OpenCache = Callable[..., RedisCache]


@pytest.fixture(scope="module")
def _cluster() -> Iterator[Valkeys]:
    with three_nodes() as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Valkeys) -> Valkeys:
    """A cluster with nothing in it."""
    _cluster.clear()
    return _cluster


@pytest.fixture
async def connect(cluster: Valkeys) -> AsyncIterator[Connect]:
    """Opens keyspaces, patient ones, and closes them after the test."""
    opened: list[Keyspace] = []

    def connect(timeout: float = 5, url: str = cluster.url) -> Keyspace:
        opened.append(keyspace_at(url, timeout=timeout))
        return opened[-1]

    yield connect
    for each in opened:
        await each.close()


@pytest.fixture
def clock() -> MemoryClock:
    return MemoryClock()


@pytest.fixture
def open_cache(connect: Connect, clock: MemoryClock) -> OpenCache:
    """Opens caches that keep nothing in the process."""
    return lambda **how: RedisCache(connect(**how), prefix=PREFIX, clock=clock, local_for=0)


class TestCacheInACluster(CacheContract):
    @pytest.fixture
    def cache(self, open_cache: OpenCache) -> RedisCache:
        return open_cache()


class TestCountersInACluster(CountersContract):
    @pytest.fixture
    def counters(self, connect: Connect) -> Counters:
        return RedisCounters(connect())

    @pytest.fixture
    def pass_time(self) -> PassTime:
        return asyncio.sleep


class TestLeasesInACluster(LeasesContract):
    @pytest.fixture
    def leases(self, connect: Connect) -> Leases:
        return RedisLeases(connect())


class TestNewsInACluster(NewsContract):
    @pytest.fixture
    async def two(self, connect: Connect) -> AsyncIterator[tuple[News, News]]:
        first, second = RedisNews(connect()), RedisNews(connect())
        yield first, second
        await first.close()
        await second.close()


@pytest.mark.slow
class TestBudgetInACluster(BudgetContract):
    @pytest.fixture
    async def opened(self, connect: Connect) -> OpenBudget:
        def opened(rate: int, connections: int) -> RedisBudget:
            return RedisBudget(connect(), MemoryBudget(rate, connections), rate=rate, connections=connections)

        return opened


def facts_for(clock: MemoryClock, number: int = 7) -> Cached[MovieFacts]:
    facts = MovieFacts(tmdb_id=number, title=FACTS.title)
    return Cached(facts, clock.now(), clock.now() + timedelta(seconds=60))


def names_on(cluster: Valkeys, node: Node, many: int) -> list[str]:
    """So many names under which this node, at first, has what is cached."""
    names = (str(number) for number in range(100_000))
    return [name for name in names if cluster.node_of(PREFIX + name) is node][:many]


async def test_what_is_cached_is_spread_over_all_nodes_and_found_by_everybody(
    open_cache: OpenCache, cluster: Valkeys, clock: MemoryClock
) -> None:
    writer, reader = open_cache(), open_cache()
    await asyncio.gather(*(writer.keep(str(n), facts_for(clock, n + 1)) for n in range(300)))
    assert all(50 < node.client.dbsize() < 150 for node in cluster.nodes)
    found = await asyncio.gather(*(reader.find(str(n), MovieFacts) for n in range(300)))
    assert [entry.value.tmdb_id for entry in found if entry] == list(range(1, 301))


async def test_many_reads_at_once_are_few_round_trips_to_each_node(
    open_cache: OpenCache, cluster: Valkeys, clock: MemoryClock
) -> None:
    cache = open_cache()
    await cache.find("first", MovieFacts)
    for node in cluster.nodes:
        node.client.config_resetstat()
    await asyncio.gather(*(cache.find(str(n), MovieFacts) for n in range(300)))
    for node in cluster.nodes:
        # Each takes what has come within one turn of its loop.
        assert node.client.info("stats")["total_reads_processed"] <= 6


async def test_a_flush_forgets_what_is_cached_on_all_nodes_and_nothing_else(
    open_cache: OpenCache, connect: Connect, cluster: Valkeys, clock: MemoryClock
) -> None:
    cache = open_cache()
    await asyncio.gather(*(cache.keep(str(n), facts_for(clock)) for n in range(100)))
    assert await RedisLeases(connect()).take("a", LONG)
    await cache.flush()
    assert cluster.everything() == {leases.PREFIX + "a"}


async def test_all_counters_of_a_call_and_all_of_the_budget_are_on_one_node(connect: Connect, cluster: Valkeys) -> None:
    keyspace = connect()
    await RedisCounters(keyspace).add({str(number): Addition(1, 60) for number in range(50)}, "many")
    one = RedisBudget(keyspace, MemoryBudget(9, 9), rate=9, connections=9)
    async with one.place(LONG):
        await one.pause(7)
        for prefix, many in ((budget.PREFIX, 3), (counters.PREFIX, 51)):
            kept = [len(node.client.keys(prefix + "*")) for node in cluster.nodes]
            assert sorted(kept) == [0, 0, many]


@pytest.fixture
def slot(cluster: Valkeys) -> Iterator[int]:
    """The slot of the counters, which is where it was when the test is over."""
    slot = slot_of(counters.PREFIX)
    yield slot
    cluster.clear()
    cluster.bring_back(slot, cluster.node_of(counters.PREFIX))


async def test_a_slot_that_moves_while_it_is_used_loses_no_addition_and_costs_no_failure(
    connect: Connect, cluster: Valkeys, slot: int
) -> None:
    here = cluster.node_of(counters.PREFIX)
    there = next(node for node in cluster.nodes if node is not here)
    ours, theirs = RedisCounters(connect()), RedisCounters(connect())
    both = {"a": Addition(1, 60), "b": Addition(1, 60)}
    total = 0

    async def count() -> None:
        nonlocal total
        for each in (ours, theirs):
            total += 1
            assert {c.total for c in (await each.add(both, f"call {total}")).values()} == {total}

    with capture_logs() as logs:
        await count()
        cluster.begin_to_move(slot, here, there)
        await count()  # all of its keys are still here
        cluster.move_keys(slot, here, there)
        await count()  # none is here, and they are asked for there
        cluster.end_the_move(slot, there)
        await count()
    assert logs == []
    assert there.client.get(counters.PREFIX + "a") == str(total)


async def test_what_is_half_moved_is_waited_for(connect: Connect, cluster: Valkeys, slot: int) -> None:
    here = cluster.node_of(counters.PREFIX)
    there = next(node for node in cluster.nodes if node is not here)
    ours = RedisCounters(connect())
    both = {"a": Addition(1, 60), "b": Addition(1, 60)}
    await ours.add(both, "first")
    cluster.begin_to_move(slot, here, there)
    cluster.move_keys(slot, here, there, most=1)
    asked = asyncio.ensure_future(ours.add(both, "second"))
    await asyncio.wait([asked], timeout=0.1)
    assert not asked.done()
    cluster.move_keys(slot, here, there)
    assert {count.total for count in (await asked).values()} == {2}


async def test_what_moved_is_found_where_it_is(
    open_cache: OpenCache, cluster: Valkeys, clock: MemoryClock, slot: int
) -> None:
    here = cluster.node_of(counters.PREFIX)
    there = next(node for node in cluster.nodes if node is not here)
    moving, staying = "{counters}", names_on(cluster, here, 5)
    cache = open_cache()
    for name in (moving, *staying):
        await cache.keep(name, facts_for(clock))
    cluster.begin_to_move(slot, here, there)
    for _ in range(3):
        found = await asyncio.gather(*(cache.find(name, MovieFacts) for name in (moving, *staying)))
        assert all(found)
        cluster.move_keys(slot, here, there)
    cluster.end_the_move(slot, there)
    assert all(await asyncio.gather(*(cache.find(name, MovieFacts) for name in (moving, *staying))))
    await cache.flush()
    assert cluster.everything() == set()


@promises.redis_hangs
async def test_a_node_that_hangs_is_skipped_and_the_others_are_asked_as_ever(
    open_cache: OpenCache, cluster: Valkeys, clock: MemoryClock
) -> None:
    hanging, *well = cluster.nodes
    writer, cache = open_cache(), open_cache(timeout=0.2)
    lost, kept = names_on(cluster, hanging, 40), [name for node in well for name in names_on(cluster, node, 20)]
    for name in (*lost, *kept):
        await writer.keep(name, facts_for(clock))
    hanging.hang()
    try:
        started = time.perf_counter()
        for name in lost:
            assert await cache.find(name, MovieFacts) is None
        assert 0.2 < time.perf_counter() - started < 0.6
        started = time.perf_counter()
        for name in (*lost, *kept):
            assert bool(await cache.find(name, MovieFacts)) == (name in kept)
        assert time.perf_counter() - started < 0.3
        with pytest.raises(Unavailable):
            await cache.ping()
    finally:
        hanging.hang(False)
    await found_again(cache, lost[0], within=2)


async def asked_often(cache: RedisCache) -> float:
    """Seconds that a hundred questions take which nobody answers."""
    started = time.perf_counter()
    for number in range(100):
        assert await cache.find(str(number), MovieFacts) is None
    return time.perf_counter() - started


@promises.redis_hangs
async def test_a_cluster_that_hangs_takes_a_request_half_a_second_however_often_it_asks(
    open_cache: OpenCache, cluster: Valkeys, clock: MemoryClock
) -> None:
    await open_cache().keep("0", facts_for(clock))
    pairs = [(open_cache(timeout=0.2), open_cache(timeout=0.2)) for _ in range(3)]
    for known, _ in pairs:
        assert await known.find("other", MovieFacts) is None
    for node in cluster.nodes:
        node.hang()
    try:
        spent: list[tuple[float, ...]] = []
        for pair in pairs:
            spent.append(tuple([await asked_often(cache) for cache in pair]))
            if max(spent[-1]) < 0.6:
                break  # else this machine may have stood still meanwhile, which it does not three times
        assert min(spent[-1]) > 0.2
        assert max(spent[-1]) < 0.6
    finally:
        for node in cluster.nodes:
            node.hang(False)
    for cache in pairs[0]:
        await found_again(cache, "0", within=2)


@promises.redis_away
async def test_where_no_node_listens_nothing_fails_and_nothing_takes_long(
    open_cache: OpenCache, clock: MemoryClock
) -> None:
    cache = open_cache(timeout=0.2, url=f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{free_port()}")
    started = time.perf_counter()
    for number in range(20):
        assert await cache.find(str(number), MovieFacts) is None
        await cache.keep(str(number), facts_for(clock))
    for ask in (cache.flush, cache.ping):
        with pytest.raises(Unavailable):
            await ask()
    assert time.perf_counter() - started < 0.5


async def test_slots_that_no_node_has_are_asked_for_again_when_one_has_them(
    open_cache: OpenCache, cluster: Valkeys, clock: MemoryClock
) -> None:
    node, name = cluster.nodes[0], names_on(cluster, cluster.nodes[0], 1)[0]
    slot, told = slot_of(PREFIX + name), [each.client.execute_command for each in cluster.nodes]
    for tell in told:
        tell("CLUSTER", "DELSLOTS", slot)
    try:
        cache = open_cache()
        await cache.keep("0", facts_for(clock))
        assert await cache.find(name, MovieFacts) is None
        with pytest.raises(Unavailable):
            await cache.flush()
    finally:
        node.client.execute_command("CLUSTER", "ADDSLOTS", slot)
        eventually(lambda: all(each.is_ready() for each in cluster.nodes))
    await cache.keep(name, facts_for(clock))
    assert await cache.find(name, MovieFacts)


@promises.redis_away
@promises.redis_back
async def test_a_killed_node_costs_what_was_on_it_and_is_used_again_when_it_is_back(
    open_cache: OpenCache, connect: Connect, cluster: Valkeys, clock: MemoryClock
) -> None:
    killed = cluster.node_of(counters.PREFIX)
    kept = [name for node in cluster.nodes if node is not killed for name in names_on(cluster, node, 5)]
    lost = names_on(cluster, killed, 10)
    writer, cache, counting = open_cache(), open_cache(timeout=0.2), RedisCounters(connect(timeout=0.2))
    for name in (*lost, *kept):
        await writer.keep(name, facts_for(clock))
    assert (await add(counting, "a")).total == 1
    killed.kill()
    try:
        started = time.perf_counter()
        for _ in range(10):
            for name in (*lost, *kept):
                assert bool(await cache.find(name, MovieFacts)) == (name in kept)
            with pytest.raises(Unavailable):
                await add(counting, "a")
        assert time.perf_counter() - started < 0.5
        with pytest.raises(Unavailable):
            await cache.flush()
        assert [await cache.find(name, MovieFacts) for name in kept] == [None] * len(kept)
        newcomer = open_cache(timeout=0.2)  # whichever node it asks first
        await newcomer.keep(kept[0], facts_for(clock))
        assert await newcomer.find(kept[0], MovieFacts)
    finally:
        killed.start()
        await ready(cluster)
    await found_again(cache, lost[0], within=2, entry=facts_for(clock))


@pytest.mark.slow
@pytest.mark.parametrize("hangs", [False, True], ids=["killed", "hung"])
async def test_a_replica_that_takes_the_place_of_a_node_is_asked_within_two_seconds(hangs: bool) -> None:
    with three_nodes() as cluster, a_replica_of(lost := cluster.node_of(counters.PREFIX)) as replica:
        keyspace = keyspace_at(cluster.url)
        counting = RedisCounters(keyspace)
        assert (await add(counting, "a")).total == 1
        eventually(lambda: replica.client.info("keyspace"))
        lost.hang() if hangs else lost.kill()

        async def total() -> int:
            try:
                return (await add(counting, "a")).total
            except Unavailable:
                await asyncio.sleep(0.05)
                return 0

        async with asyncio.timeout(15):
            while replica.client.role()[0] != "master":
                assert await total() == 0
        promoted = time.perf_counter()
        while not (found := await total()):
            assert time.perf_counter() - promoted < 2
        assert found == 2
        await keyspace.close()


async def ready(cluster: Valkeys) -> None:
    """Return when all nodes take commands."""
    async with asyncio.timeout(10):
        while not all(node.is_ready() for node in cluster.nodes):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def found_again(cache: RedisCache, name: str, within: float, entry: Cached[MovieFacts] | None = None) -> None:
    """Return when this is found, for which it is kept again if it was lost; fail if that takes too long."""
    async with asyncio.timeout(within):
        while not await cache.find(name, MovieFacts):
            if entry is not None:
                await cache.keep(name, entry)
            await asyncio.sleep(0.02)
