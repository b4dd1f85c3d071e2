"""The numbers for Prometheus on what is real: two workers, one of which is killed, and parts that fail."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from dependency_injector.providers import Object

from moviehub.adapters.memory.budget import MemoryBudget
from moviehub.adapters.postgres.migrations import head, upgrade
from moviehub.adapters.tmdb.catalogue import TmdbCatalogue
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import Popular
from moviehub.domain.movies import MovieNotFound
from moviehub.entrypoints.bootstrap import Container, running
from moviehub.entrypoints.settings import UNLIMITED, Settings
from moviehub.entrypoints.worker import Metrics
from tests.api import Api, api_over, problem
from tests.integration.test_tmdb_end_to_end import Tmdb, stand_in
from tests.monitoring import Samples, queries, samples, selected, value
from tests.proxy import Proxy
from tests.servers import Server, eventually, two_workers
from tests.tmdb_stand_in import TOKEN, Fault, StandIn

__all__ = ["stand_in"]


async def told(api: Api) -> Samples:
    return samples((await api.get("/metrics")).text)


@asynccontextmanager
async def hub(**settings: object) -> AsyncIterator[Api]:
    """A hub in this process, on real parts."""
    chosen = Settings(**{"secret_key": "k" * 32, "tmdb_url": "demo://", "bcrypt_cost": 4, **settings})  # type: ignore[arg-type]
    async with running(chosen) as container, api_over(container) as api:
        yield api


@pytest.fixture
def server(stand_in: Tmdb, migrated_url: str, valkey_url: str) -> Iterator[Server]:
    parts = {"DATABASE_URL": migrated_url, "REDIS_URL": valkey_url, "TMDB_URL": stand_in.url, "TMDB_TOKEN": TOKEN}
    with two_workers(SECRET_KEY="k" * 32, RATE_LIMIT_AUTH="2/minute", **parts) as server:
        yield server
        assert server.end() == 0


def of_the_worker() -> set[str]:
    """What the background worker tells when each of its jobs is done."""
    metrics = Metrics()
    metrics.count("warm", "done", 1.0, {})
    return {sample.name for family in metrics.registry.collect() for sample in family.samples}


def test_everything_that_prometheus_is_asked_for_is_told_and_a_killed_workers_gauges_vanish(server: Server) -> None:
    http = server.http
    for path in ("/api/movies/popular/", "/api/movies/search/?q=solaris", "/health/ready"):
        assert http.get(path).status_code == 200
    for _ in range(4):
        refused = http.post("/api/auth/token/", json={"username": "nobody", "password": "no password of ours"})
    assert refused.status_code == 429

    def scraped() -> Samples:
        return samples(http.get("/metrics").text)

    def of_each() -> dict[str, float]:
        found = scraped().items()
        return {dict(labels)["pid"]: number for (name, labels), number in found if name == "moviehub_memory_bytes"}

    wanted = {name for query in queries() for name, _ in selected(query)} - {"up"}
    assert wanted <= {name for name, _ in scraped()} | of_the_worker()

    def told_by_both() -> bool:
        """Whether each worker that runs tells of itself, and no other."""
        sizes = of_each()
        running = {*map(str, server.workers())}
        return sizes.keys() == running and all(30e6 < size < 300e6 for size in sizes.values())

    eventually(told_by_both)
    before = scraped()
    assert value(before, "tmdb_calls_total", outcome="ok") == 2
    assert value(before, "postgres_pool_limit", server="primary") == 2 * 10
    killed = server.worker_of(http)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: server.serving() and len(server.workers()) == 2 and killed not in server.workers())
    eventually(told_by_both)
    after = scraped()
    assert value(after, "postgres_pool_limit", server="primary") == 2 * 10
    assert value(after, "tmdb_calls_total", outcome="ok") == 2, "what it has counted stays"


async def test_questions_to_tmdb_are_counted_by_what_came_of_them() -> None:
    async with StandIn() as tmdb:
        settings = Settings(database_url="memory://", secret_key="k" * 32)
        container, budget = Container(settings=settings), MemoryBudget(1_000, 20)
        catalogue = TmdbCatalogue(url=tmdb.url, token=TOKEN, budget=budget, deadline=0.25)
        container.catalogue.override(Object(catalogue))

        async def asked(fault: Fault | None = None) -> None:
            tmdb.fail(fault)
            with pytest.raises(Unavailable):
                await catalogue.page(Popular())

        async with api_over(container) as api:
            await catalogue.page(Popular())
            with pytest.raises(MovieNotFound):
                await catalogue.movie(2_000_000_000)
            assert value(await told(api), "tmdb_circuit_open") == 0
            await asked(Fault.BAD_KEY)
            await asked(Fault.BROKEN)
            await asked(Fault.HANG)
            await asked(Fault.LIMIT)
            await asked()
            numbers = await told(api)
        await catalogue.close()
    outcomes = ("ok", "not_found", "refused", "failed", "timed_out", "limited", "circuit_open")
    assert {outcome: value(numbers, "tmdb_calls_total", outcome=outcome) for outcome in outcomes} == dict.fromkeys(
        outcomes, 1
    )
    assert value(numbers, "tmdb_calls_total") == len(outcomes)
    assert 0.2 < value(numbers, "tmdb_call_seconds_total", outcome="timed_out") < 1
    assert value(numbers, "tmdb_circuit_open") == 1


async def test_a_question_without_a_place_in_the_budget_is_counted_and_what_it_waited() -> None:
    async with StandIn() as tmdb:
        budget = MemoryBudget(1, 20)
        catalogue = TmdbCatalogue(url=tmdb.url, token=TOKEN, budget=budget, deadline=0.1)
        await catalogue.page(Popular())
        with pytest.raises(Unavailable):
            await catalogue.page(Popular())
        await catalogue.close()
    assert (catalogue.calls["ok"], catalogue.calls["no_place"]) == (1, 1)
    assert sum(catalogue.seconds.values()) >= catalogue.waited


async def test_a_full_pool_is_seen(migrated_url: str) -> None:
    async with hub(database_url=migrated_url, database_pool_size=1) as api:
        async with api.container.storage().transaction():
            waiting = asyncio.create_task(api.get("/api/movies/"))
            while not value(await told(api), "postgres_pool_waiting", server="primary"):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            numbers = await told(api)
            assert value(numbers, "postgres_pool_limit") == value(numbers, "postgres_pool_open") == 1
            assert value(numbers, "postgres_pool_in_use") == 1
            assert value(numbers, "requests_under_way", kind="read") == 1
            problem(await waiting, 503, "unavailable")
        numbers = await told(api)
        assert value(numbers, "postgres_pool_refused_total", server="primary") == 1
        assert value(numbers, "postgres_pool_wait_seconds_total") >= 0.5
        assert value(numbers, "postgres_pool_waiting") == value(numbers, "postgres_pool_in_use") == 0


async def test_a_redis_that_fails_is_seen_and_where_the_cache_found_things(valkey_url: str) -> None:
    with Proxy(valkey_url) as proxy:
        # Without limits, whose counts are told to Redis behind the answers and would fail as well.
        async with hub(database_url="memory://", redis_url=proxy.url, **UNLIMITED) as api:
            cache = api.container.cache()
            for _ in range(2):
                await api.get("/api/movies/genres/")
            numbers = await told(api)
            assert value(numbers, "cache_lookups_total", found="none") >= 1
            assert value(numbers, "redis_failures_total") == value(numbers, "redis_skipped") == 0
            proxy.refuse()
            for number in range(6):
                assert await cache.find(f"nothing_{number}", bool) is None
            numbers = await told(api)
            assert value(numbers, "redis_failures_total") == 5
            assert value(numbers, "redis_skipped") == 1
            assert value(numbers, "cache_lookups_total", found="none") >= 7


async def test_a_server_is_not_ready_on_an_older_schema_and_is_on_a_newer_one(database_url: str) -> None:
    upgrade(database_url, "0003")
    async with hub(database_url=database_url) as api:
        old = await api.get("/health/ready")
        assert (old.status_code, old.json()["checks"]["migrations"]) == (503, "unavailable")
        assert old.json()["checks"]["database"] == "ok"
        numbers = await told(api)
        assert (value(numbers, "healthy", part="migrations"), value(numbers, "healthy", part="database")) == (0, 1)
        upgrade(database_url)
        assert (await api.get("/health/ready")).status_code == 200
        assert value(await told(api), "healthy", part="migrations") == 1

    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE alembic_version SET version_num = $1", f"{int(head()) + 1:04}")
    await connection.close()
    async with hub(database_url=database_url) as api:
        assert (await api.get("/health/ready")).status_code == 200
