"""Rate limits over two workers that share a Valkey: what passes together, and what happens without it."""

from collections.abc import Callable, Iterator

import httpx
import pytest
import redis

from moviehub.adapters.embedded import PrivateValkey
from tests import promises
from tests.crowd import at_once, statuses
from tests.integration.conftest import _database
from tests.servers import PASSWORD, Server, eventually, serving

SENT_FROM = "X-Forwarded-For"
WRITES, READS, ATTEMPTS = 20, 100, 8


@pytest.fixture(scope="module")
def server(_sql: Callable[[str], object], postgres_url: str, _migrated: str, _valkey: str) -> Iterator[Server]:
    with redis.Redis.from_url(_valkey, socket_timeout=5) as link:
        link.flushdb()
    settings = {
        "REDIS_URL": _valkey,
        "SECRET_KEY": "k" * 32,
        "TRUSTED_PROXIES": "127.0.0.1",
        "RATE_LIMIT_USER": f"{WRITES}/hour",
        "RATE_LIMIT_ANONYMOUS": f"{READS}/hour",
        "RATE_LIMIT_AUTH": f"{ATTEMPTS}/hour",
    }
    with (
        _database(_sql, postgres_url, _migrated) as url,
        serving("--workers", "2", DATABASE_URL=url, **settings) as one,
    ):
        eventually(lambda: len(one.workers()) == 2)
        yield one
        assert "Traceback" not in one.output


@pytest.fixture
def forgotten(_valkey: str) -> Callable[[], None]:
    """Makes Valkey lose all it has."""

    def forget() -> None:
        with redis.Redis.from_url(_valkey, socket_timeout=5) as link:
            link.flushall()

    return forget


@promises.guessing
async def test_of_many_attempts_at_once_exactly_the_quota_passes(server: Server) -> None:
    async def guess(client: httpx.AsyncClient, number: int) -> httpx.Response:
        body = {"username": f"nobody{number}", "password": "a guess"}
        return await client.post("/api/auth/token/", json=body, headers={SENT_FROM: "203.0.113.1"})

    assert statuses(await at_once(server, guess, 40)) == {401: ATTEMPTS, 429: 40 - ATTEMPTS}


@promises.guessing
async def test_of_many_attempts_at_one_name_from_everywhere_exactly_the_quota_passes(server: Server) -> None:
    async def guess(client: httpx.AsyncClient, number: int) -> httpx.Response:
        body = {"username": "Somebody" if number % 2 else "somebody", "password": "a guess"}
        return await client.post("/api/auth/token/", json=body, headers={SENT_FROM: f"198.51.100.{number}"})

    assert statuses(await at_once(server, guess, 40)) == {401: ATTEMPTS, 429: 40 - ATTEMPTS}


async def test_of_many_registrations_at_once_exactly_the_quota_passes(server: Server) -> None:
    async def register(client: httpx.AsyncClient, number: int) -> httpx.Response:
        account = {"username": f"new{number}", "email": f"new{number}@example.org", "password": PASSWORD}
        return await client.post("/api/auth/users/", json=account, headers={SENT_FROM: "203.0.113.3"})

    assert statuses(await at_once(server, register, 30)) == {201: ATTEMPTS, 429: 30 - ATTEMPTS}


async def test_of_many_writes_at_once_exactly_the_quota_passes(server: Server) -> None:
    auth = server.joined("writer")
    film = server.http.get("/api/movies/popular/").json()["results"][0]["id"]

    async def rate(client: httpx.AsyncClient, number: int) -> httpx.Response:
        return await client.put(f"/api/movies/{film}/rate/", json={"rating": number % 10 + 1}, headers=auth)

    assert statuses(await at_once(server, rate, 60)) == {201: 1, 200: WRITES - 1, 429: 60 - WRITES}


async def test_of_many_reads_at_once_each_worker_lets_a_twentieth_more_pass_at_most(server: Server) -> None:
    async def read(client: httpx.AsyncClient, _: int) -> httpx.Response:
        return await client.get("/api/movies/genres/", headers={SENT_FROM: "203.0.113.5"})

    passed = [answer for _ in range(4) for answer in await at_once(server, read, 60) if answer.status_code == 200]
    assert READS <= len(passed) <= READS + 2 * READS // 20


@promises.redis_forgets_limits
async def test_where_everything_is_forgotten_the_limits_start_at_zero(
    server: Server, forgotten: Callable[[], None]
) -> None:
    async def guess(client: httpx.AsyncClient, number: int) -> httpx.Response:
        body = {"username": f"nobody{number}", "password": "a guess"}
        return await client.post("/api/auth/token/", json=body, headers={SENT_FROM: "203.0.113.6"})

    # One less than the quota: workers that know it to be used up ask no more until its window ends.
    assert statuses(await at_once(server, guess, ATTEMPTS - 1)) == {401: ATTEMPTS - 1}
    forgotten()
    assert statuses(await at_once(server, guess, 40))[401] in range(1, ATTEMPTS + 1)


@promises.redis_away
def test_without_redis_each_worker_counts_for_itself(migrated_url: str) -> None:
    with PrivateValkey() as valkey:
        pass  # its address is left, and nobody answers there
    settings = {"DATABASE_URL": migrated_url, "REDIS_URL": valkey, "SECRET_KEY": "k" * 32}
    with serving("--workers", "2", **settings, RATE_LIMIT_AUTH="5/hour") as server:
        for client in server.clients_of_each_worker(2).values():
            answers = [
                client.post("/api/auth/token/", json={"username": f"nobody{number}", "password": "a guess"})
                for number in range(8)
            ]
            assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
            client.close()
