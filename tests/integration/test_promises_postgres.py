"""A hub while its Postgres is late, drops connections, fails over, hangs or has no connection left."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest
import redis

from tests import promises
from tests.crowd import rows
from tests.proxy import Proxy
from tests.reliability import Measured
from tests.servers import PASSWORD, PATIENCE, Server, bearer, eventually, serving

POPULAR = "/api/movies/popular/"
OURS = "datname = current_database() AND application_name = 'moviehub'"
WAITING = f"SELECT count(*) FROM pg_stat_activity, pg_stat_clear_snapshot() WHERE {OURS} AND wait_event_type = 'Lock'"
KEY = {"SECRET_KEY": "k" * 32}


@pytest.fixture(scope="module")
def valkey(_valkey: str) -> str:
    """A Valkey that the servers of this file share."""
    with redis.Redis.from_url(_valkey, socket_timeout=5) as link:
        link.flushdb()
    return _valkey


@pytest.fixture(scope="module")
def door(database: str) -> Iterator[Proxy]:
    """The way to the database."""
    with Proxy(database) as door:
        yield door


@pytest.fixture(scope="module")
def server(door: Proxy, valkey: str) -> Iterator[Server]:
    with serving(DATABASE_URL=door.url, REDIS_URL=valkey, **KEY) as server:
        yield server
        assert '"level":"error"' not in server.output


@pytest.fixture
def well(server: Server, door: Proxy) -> Iterator[None]:
    """The database answers before the test and after it."""
    heals(server, door)
    yield
    door.well()


@pytest.fixture(scope="module")
def film(server: Server) -> int:
    number: int = server.http.get(POPULAR).json()["results"][0]["id"]
    return number


def heals(server: Server, door: Proxy) -> float:
    """How long it takes from the return of the database until the hub can read and write."""
    door.well()
    return ready_again(server)


def ready_again(server: Server) -> float:
    """How long it takes until the hub can read and write."""
    started = time.perf_counter()

    def works() -> bool:
        body = {"username": f"heals{time.monotonic_ns()}", "email": f"heals{time.monotonic_ns()}@example.org"}
        registered = server.http.post("/api/auth/users/", json=body | {"password": PASSWORD})
        return registered.status_code == 201 and server.http.get("/health/ready").status_code == 200

    eventually(works)
    return time.perf_counter() - started


def timed(call: Callable[[], httpx.Response], *expected: int) -> float:
    """How long an answer took, which must have one of these statuses; one of 503 is a problem."""
    started = time.perf_counter()
    answer = call()
    took = time.perf_counter() - started
    assert answer.status_code in expected, answer.text
    if answer.status_code == 503:
        assert answer.json()["type"] == "/problems/unavailable"
        assert int(answer.headers["retry-after"]) > 0
    return took


@promises.postgres_late
@promises.postgres_comes
@pytest.mark.slow
def test_a_hub_starts_without_its_database_and_heals_when_it_comes(
    server: Server, database: str, valkey: str, measured: Measured
) -> None:
    assert server.http.get(POPULAR).status_code == 200  # so that it is in the cache of all
    with Proxy(database) as door:
        door.refuse()
        with serving(DATABASE_URL=door.url, REDIS_URL=valkey, **KEY) as late:
            assert late.http.get("/health/live").status_code == 200
            ready = late.http.get("/health/ready")
            assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "unavailable")
            cached = timed(partial(late.http.get, POPULAR), 200)
            measured("cached page", cached, promises.postgres_late)
            account = {"username": "early", "email": "early@example.org", "password": PASSWORD}
            calls: list[Callable[[], httpx.Response]] = [
                partial(late.http.get, "/api/movies/"),
                partial(late.http.get, "/api/movies/1/"),
                partial(late.http.post, "/api/auth/users/", json=account),
                partial(late.http.post, "/api/auth/token/", json={"username": "early", "password": PASSWORD}),
            ]
            longest = max(timed(call, 503) for call in calls)
            assert longest < 1
            measured("longest problem", longest, promises.postgres_late)
            healed = heals(late, door)
            assert healed < 3
            measured("healed after", healed, promises.postgres_comes)
            assert late.http.get("/api/movies/").status_code == 200
            assert "Traceback" not in late.output


async def terminate(url: str) -> int:
    """Let the server drop every connection of the hub; how many there were."""
    return len(await rows(url, f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {OURS}"))


@promises.postgres_drops
@pytest.mark.slow
@pytest.mark.usefixtures("well")
async def test_while_connections_are_dropped_reads_go_on_and_writes_are_whole(
    server: Server, database: str, film: int, measured: Measured
) -> None:
    person = server.register("dropped")
    auth = bearer(server.sign_in("dropped"))
    told: dict[str, list[int]] = {"read": [], "write": []}
    enough = threading.Event()

    def read(client: httpx.Client, _: int) -> httpx.Response:
        return client.get("/api/movies/favorites/my_favorites/", headers=auth)

    def write(client: httpx.Client, turn: int) -> httpx.Response:
        body = {"rating": turn % 10 + 1, "review": f"{film} has {turn % 10 + 1}"}
        return client.put(f"/api/movies/{film}/rate/", json=body, headers=auth)

    def go_on(kind: str, ask: Callable[[httpx.Client, int], httpx.Response]) -> None:
        with server.client() as client:
            while not enough.is_set():
                told[kind].append(ask(client, len(told[kind])).status_code)

    with ThreadPoolExecutor() as threads:
        going = [threads.submit(go_on, "read", read) for _ in range(3)] + [threads.submit(go_on, "write", write)]
        try:
            for _ in range(10):
                before = len(told["read"]), len(told["write"])
                eventually(lambda before=before: len(told["read"]) > before[0] + 5 and len(told["write"]) > before[1])  # type: ignore[misc]
                assert await terminate(database) > 0
        finally:
            enough.set()
        for each in going:
            each.result()
    assert set(told["read"]) == {200}
    assert set(told["write"]) <= {200, 201, 503}
    [(score, review)] = await rows(database, "SELECT rating, review FROM ratings WHERE user_id = $1", person["id"])
    assert review == f"{film} has {score}"
    reads, writes, lost = len(told["read"]), len(told["write"]), told["write"].count(503)
    measured("all of them ten times:", f"{reads} of {reads} reads were answered, {writes - lost} of {writes} writes")


@promises.postgres_read_only
@pytest.mark.usefixtures("well")
async def test_a_database_that_only_reads_is_read_and_heals(
    server: Server, database: str, film: int, measured: Measured
) -> None:
    server.register("patient")
    auth = bearer(server.sign_in("patient"))
    name = database.rpartition("/")[2]

    async def fail_over(*, only_reads: bool) -> None:
        await rows(
            database, f"ALTER DATABASE {name} SET default_transaction_read_only = {'on' if only_reads else 'off'}"
        )
        await terminate(database)

    await fail_over(only_reads=True)
    try:
        for path in ("", f"{film}/", "favorites/my_favorites/", "popular/", "search/?q=solaris"):
            assert server.http.get(f"/api/movies/{path}", headers=auth).status_code == 200
        account = {"username": "patient", "password": PASSWORD}
        longest = max(
            timed(lambda: server.http.post(f"/api/movies/{film}/rate/", json={"rating": 9}, headers=auth), 503),
            timed(lambda: server.http.post(f"/api/movies/{film}/add_to_favorites/", headers=auth), 503),
            timed(lambda: server.http.post("/api/auth/token/", json=account), 503),
        )
    finally:
        # On a connection of its own that may write, for it is the database that only reads.
        link = await asyncpg.connect(database, server_settings={"default_transaction_read_only": "off"})
        await link.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await link.close()
        await terminate(database)
    assert longest < 2
    measured("longest problem", longest)
    healed = ready_again(server)
    assert healed < 3
    measured("healed after", healed)
    assert server.http.post(f"/api/movies/{film}/rate/", json={"rating": 9}, headers=auth).status_code == 201


@promises.postgres_hangs
@pytest.mark.parametrize(
    "fault", ["hang", *(pytest.param(each, marks=pytest.mark.slow) for each in ("swallow", "cut", "reset"))]
)
@pytest.mark.usefixtures("well")
async def test_a_database_in_trouble_is_a_problem_soon_and_keeps_nothing_by_halves(
    server: Server, door: Proxy, database: str, film: int, measured: Measured, fault: str
) -> None:
    person = server.register(f"before-{fault}")
    tokens = server.sign_in(person["username"])
    auth = bearer(tokens)
    account = {"username": f"during-{fault}", "email": f"during-{fault}@example.org", "password": PASSWORD}
    rating = {"rating": 7, "review": "seven"}
    calls: list[Callable[[httpx.Client], httpx.Response]] = [
        lambda client: client.get(f"/api/movies/?unlike={fault}"),  # a list that no worker has kept
        lambda client: client.get(f"/api/movies/{film}/", headers=auth),
        lambda client: client.get("/api/movies/genres/", headers=auth),
        lambda client: client.post("/api/auth/users/", json=account),
        lambda client: client.post("/api/auth/token/", json={"username": person["username"], "password": PASSWORD}),
        lambda client: client.post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]}),
        lambda client: client.post(f"/api/movies/{film}/rate/", json=rating, headers=auth),
    ]

    def alone(call: Callable[[httpx.Client], httpx.Response]) -> float:
        """On a connection of its own, side by side with the others."""
        with server.client() as client:
            started = time.perf_counter()
            answer = call(client)
            took = time.perf_counter() - started
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) > 0
            return took

    {"cut": partial(door.cut, 3)}.get(fault, getattr(door, fault))()
    with ThreadPoolExecutor(len(calls)) as threads:
        longest = max(threads.map(alone, calls))
    assert server.http.get("/health/live").status_code == 200
    assert server.http.get(POPULAR).status_code == 200
    eventually(lambda: server.http.get("/health/ready").status_code == 503, within=3.0)
    assert longest < 2
    measured("longest problem", longest)
    healed = heals(server, door)
    assert healed < 3
    measured("healed after", healed)
    # What did not answer may have been done all the same, but then the whole of it.
    registered: list[tuple[Any, ...]] = await rows(
        database, "SELECT id FROM users WHERE username = $1", account["username"]
    )
    trail = "SELECT user_id FROM audit WHERE event = 'registration' AND user_id > $1 AND user_id = ANY($2)"
    assert await rows(database, trail, person["id"], [number for (number,) in registered]) == registered
    kept = await rows(database, "SELECT rating, review FROM ratings WHERE user_id = $1", person["id"])
    assert kept in ([], [(7, "seven")])
    assert server.http.post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]}).status_code == 200


@promises.pool_exhausted
@pytest.mark.slow
async def test_when_every_connection_is_lent_the_next_is_refused_soon(
    migrated_url: str, valkey: str, operator: asyncpg.Connection, measured: Measured
) -> None:
    with serving(DATABASE_URL=migrated_url, REDIS_URL=valkey, DATABASE_POOL_SIZE="2", **KEY) as server:
        film = server.http.get("/api/movies/search/?q=solaris").json()["results"][0]["id"]
        auth = server.joined("waiting")
        usual = max(timed(partial(server.http.get, "/api/movies/"), 200) for _ in range(10))
        http = httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, verify=False)
        async with http as client, operator.transaction():
            await operator.execute("LOCK TABLE ratings IN ACCESS EXCLUSIVE MODE")
            # Two statements: ratings that come at once would be one.
            rating = client.post(f"/api/movies/{film}/rate/", json={"rating": 7}, headers=auth)
            removal = client.delete(f"/api/movies/{film}/remove_rating/", headers=auth)
            writing = [asyncio.create_task(rating), asyncio.create_task(removal)]
            while await operator.fetchval(WAITING) < len(writing):
                pass
            took = await asyncio.to_thread(timed, partial(server.http.get, "/api/movies/?page_size=7"), 503)
            assert [(await answer).status_code for answer in writing] == [503, 503]
        assert took < 0.5 + usual + 0.2
        measured("after", took)
        assert server.http.get("/api/movies/").status_code == 200


@promises.migrations_ahead
@pytest.mark.slow
@pytest.mark.usefixtures("well")
async def test_a_hub_serves_on_while_the_schema_becomes_newer_than_it(
    server: Server, database: str, film: int, measured: Measured
) -> None:
    auth = server.joined("old-timer")
    changes = (
        "ALTER TABLE movies ADD COLUMN runtime integer",
        "ALTER TABLE users ADD COLUMN motto text NOT NULL DEFAULT ''",
        "ALTER TABLE ratings ADD COLUMN mood text",
        "CREATE INDEX ON ratings (rating)",
        "CREATE TABLE lists (id bigint PRIMARY KEY, user_id bigint REFERENCES users ON DELETE CASCADE)",
        "UPDATE alembic_version SET version_num = '9999'",
    )
    told: list[int] = []
    for change in ("SELECT 1", *changes):
        await rows(database, change)
        for path in ("", f"{film}/", "favorites/my_favorites/", "search/?q=solaris"):
            told.append(server.http.get(f"/api/movies/{path}", headers=auth).status_code)
        told.append(server.http.put(f"/api/movies/{film}/rate/", json={"rating": 7}, headers=auth).status_code)
        told.append(server.http.get("/api/auth/users/me/", headers=auth).status_code)
    assert ready_again(server) < 3
    assert set(told) == {200, 201}
    measured("under", f"{len(changes)} changes of the schema all of {len(told)} requests were answered")
