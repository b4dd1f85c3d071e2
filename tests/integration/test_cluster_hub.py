"""A hub of two workers over a Redis Cluster of three nodes: what they share, and what a killed node costs."""

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest

from moviehub.adapters.redis import counters
from moviehub.application.limits import SETTLE_EVERY
from tests import promises
from tests.cluster import Valkeys, three_nodes
from tests.crowd import at_once, statuses
from tests.servers import Server, bearer, eventually, moviehub, two_workers

ATTEMPTS = 8
SENT_FROM = "X-Forwarded-For"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Valkeys]:
    with three_nodes() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def settings(database: str, cluster: Valkeys) -> dict[str, str]:
    """Of the server, and of the commands that go with it."""
    return {
        "DATABASE_URL": database,
        "REDIS_URL": cluster.url,
        "SECRET_KEY": "k" * 32,
        "TRUSTED_PROXIES": "127.0.0.1",
        "RATE_LIMIT_AUTH": f"{ATTEMPTS}/hour",
    }


@pytest.fixture(scope="module")
def server(settings: dict[str, str]) -> Iterator[Server]:
    with two_workers(**settings) as server:
        yield server


@pytest.fixture
def each(server: Server) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A client of one worker, and a client of the other."""
    one, other = server.clients_of_each_worker(2).values()
    yield one, other
    for client in (one, other):
        client.close()


async def guesses(server: Server, address: str, many: int = 40) -> dict[int, int]:
    """The statuses of so many attempts to sign in, all at once from one address."""

    async def guess(client: httpx.AsyncClient, number: int) -> httpx.Response:
        body = {"username": f"nobody{number}", "password": "a guess"}
        return await client.post("/api/auth/token/", json=body, headers={SENT_FROM: address})

    return statuses(await at_once(server, guess, many))


@pytest.mark.slow
@promises.guessing
async def test_of_many_attempts_at_once_exactly_the_quota_passes(server: Server) -> None:
    assert await guesses(server, "203.0.113.1") == {401: ATTEMPTS, 429: 40 - ATTEMPTS}


@pytest.mark.slow
def test_a_session_that_one_worker_ended_is_refused_by_the_other_at_once(
    server: Server, each: tuple[httpx.Client, httpx.Client]
) -> None:
    server.register("leaver")
    for ender, other in (each, each[::-1]):
        tokens = server.sign_in("leaver")
        auth = bearer(tokens)
        for client in each:
            assert client.get("/api/auth/users/me/", headers=auth).status_code == 200
        assert ender.post("/api/auth/token/revoke/", json={"refresh": tokens["refresh"]}).status_code == 200
        assert other.get("/api/auth/users/me/", headers=auth).status_code == 401


@pytest.mark.slow
def test_a_page_is_kept_in_the_cluster_and_a_flush_forgets_it_on_every_node(
    each: tuple[httpx.Client, httpx.Client], settings: dict[str, str], cluster: Valkeys
) -> None:
    pages = [f"/api/movies/popular/?page={number}" for number in range(1, 7)]
    one, other = ([client.get(page).json()["results"] for page in pages] for client in each)
    assert one == other
    kept = {key for key in cluster.everything() if not key.startswith(counters.PREFIX)}
    assert len(kept) == 3, "of twenty films each"
    done = moviehub("cache", "flush", **settings)
    assert (done.returncode, done.stdout, done.stderr) == (0, "The cache is empty.\n", "")
    assert not kept & cluster.everything()


@pytest.mark.slow
def test_the_doctor_looks_at_every_node(settings: dict[str, str], cluster: Valkeys) -> None:
    ill = cluster.nodes[1]
    ill.client.config_set("maxmemory", "1gb")
    try:
        done = moviehub("doctor", **settings)
    finally:
        ill.client.config_set("maxmemory", "0")
    told = [line for line in done.stdout.splitlines() if line.split()[1] == "redis"]
    assert done.returncode == 0
    for node in cluster.nodes:
        assert sum(f"127.0.0.1:{node.port}: Valkey " in line for line in told) == 1
    assert [f":{ill.port}: noeviction" in line for line in told if line.startswith("warning")] == [True]


@pytest.mark.slow
def test_a_node_that_is_named_as_a_server_alone_is_told(settings: dict[str, str], cluster: Valkeys) -> None:
    done = moviehub("doctor", **{**settings, "REDIS_URL": f"redis://127.0.0.1:{cluster.nodes[0].port}"})
    assert "warning  redis        a node of a cluster, and most keys are on others: " in done.stdout


@pytest.mark.slow
@promises.redis_away
@promises.redis_back
async def test_a_killed_node_is_no_5xx_and_limits_are_shared_again_within_two_seconds_of_its_return(
    server: Server, each: tuple[httpx.Client, httpx.Client], settings: dict[str, str], cluster: Valkeys
) -> None:
    auth = server.joined("goes-on")
    film = server.http.get("/api/movies/popular/").json()["results"][0]["id"]
    killed = cluster.node_of(counters.PREFIX)
    killed.kill()
    try:
        answers = []
        for number in range(60):
            for client in each:
                answers += [
                    client.get(f"/api/movies/popular/?page={number % 6 + 1}"),
                    client.get("/api/movies/search/", params={"q": f"film {number}"}),
                    client.put(f"/api/movies/{film}/rate/", json={"rating": number % 10 + 1}, headers=auth),
                ]
        assert {answer.status_code for answer in answers} <= {200, 201}
        assert max(answer.elapsed.total_seconds() for answer in answers) < 1
        passed = await guesses(server, "203.0.113.2")
        assert set(passed) == {401, 429}
        assert ATTEMPTS <= passed[401] <= 2 * ATTEMPTS, "each worker counts for itself"
        assert server.http.get("/health/ready").json()["status"] == "degraded"
        doctor = moviehub("doctor", **settings)
        assert "warning  cache        1 of 3 nodes of Redis cannot be reached now (ConnectionError): " in doctor.stdout
    finally:
        killed.start()
        eventually(lambda: all(node.is_ready() for node in cluster.nodes))
    came_back = time.perf_counter()
    for client in each:
        eventually(lambda: client.get("/health/ready").json()["status"] == "ok", within=2)  # noqa: B023
    await asyncio.sleep(SETTLE_EVERY)  # so long who counted alone just before goes on to
    assert time.perf_counter() - came_back < 2
    assert await guesses(server, "203.0.113.3") == {401: ATTEMPTS, 429: 40 - ATTEMPTS}
