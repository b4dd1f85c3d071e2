"""A hub of two workers while its Redis is away, hangs, is slow or loses replies."""

import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest
import redis

from tests import promises
from tests.proxy import Proxy
from tests.reliability import Measured
from tests.servers import PASSWORD, Server, bearer, eventually, free_port, two_workers

BACK_WITHIN = 2.0
REFRESH = "/api/auth/token/refresh/"
QUOTA = 100_000
DELAY = 0.08
"""Seconds: less than after which an answer of Redis is given up."""


@pytest.fixture(scope="module")
def door(_valkey: str) -> Iterator[Proxy]:
    """The way to Valkey, closed as long as nobody opens it."""
    with redis.Redis.from_url(_valkey, socket_timeout=5) as link:
        link.flushdb()
    with Proxy(_valkey) as door:
        door.refuse()
        yield door


@pytest.fixture(scope="module")
def server(door: Proxy, database: str) -> Iterator[Server]:
    """Started while Redis was away. Limits are on, with quotas that nobody reaches."""
    limits = {f"RATE_LIMIT_{name}": f"{QUOTA}/hour" for name in ("ANONYMOUS", "USER", "AUTH")}
    settings = {"DATABASE_URL": database, "REDIS_URL": door.url, "SECRET_KEY": "k" * 32, **limits}
    with two_workers(**settings) as server:
        yield server


@pytest.fixture
def each(server: Server) -> Iterator[list[httpx.Client]]:
    """A client of each worker."""
    clients = list(server.clients_of_each_worker(2).values())
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def well(each: list[httpx.Client], door: Proxy) -> Iterator[None]:
    """Redis answers before the test and after it."""
    door.well()
    eventually(lambda: all(status(client) == "ok" for client in each))
    yield
    door.well()


def status(client: httpx.Client) -> str:
    """How the hub says it is; it is there in any case."""
    answer = client.get("/health/ready")
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["status"]
    return found


def timed(call: Callable[[], httpx.Response], *expected: int) -> float:
    """How long an answer took, which must have one of these statuses, 200 if none is named."""
    started = time.perf_counter()
    answer = call()
    took = time.perf_counter() - started
    assert answer.status_code in (expected or (200,)), answer.text
    return took


def visit(client: httpx.Client, name: str) -> Iterator[float]:
    """All that somebody does who comes for the first time; how long each answer took."""
    account = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    yield timed(lambda: client.post("/api/auth/users/", json=account), 201)
    tokens = client.post("/api/auth/token/", json={"username": name, "password": PASSWORD}).json()
    signed = {"headers": bearer(tokens)}
    film = client.get("/api/movies/popular/", **signed).json()["results"][0]["id"]  # type: ignore[arg-type]
    for path in ("popular/", "search/?q=solaris", "top_rated/", f"{film}/", "genres/", ""):
        yield timed(partial(client.get, f"/api/movies/{path}"))
        yield timed(partial(client.get, f"/api/movies/{path}", **signed))  # type: ignore[arg-type]
    rate = f"/api/movies/{film}/rate/"
    yield timed(lambda: client.post(rate, json={"rating": 9}, headers=bearer(tokens)), 201)
    yield timed(lambda: client.post(f"/api/movies/{film}/add_to_favorites/", headers=bearer(tokens)), 201)
    for path in ("ratings/my_ratings/", "favorites/my_favorites/"):
        mine = client.get(f"/api/movies/{path}", headers=bearer(tokens))
        assert mine.json()["count"] == 1, mine.text
    yield timed(lambda: client.post(REFRESH, json={"refresh": tokens["refresh"]}))
    yield timed(lambda: client.post("/api/auth/token/revoke/", json={"refresh": tokens["refresh"]}))
    yield timed(lambda: client.get("/api/auth/users/me/", headers=bearer(tokens)), 401)


def comes_back(door: Proxy, each: list[httpx.Client]) -> float:
    """How long it takes from the return of Redis until both workers use it."""
    door.well()
    started = time.perf_counter()
    eventually(lambda: all(status(client) == "ok" for client in each))
    return time.perf_counter() - started


@promises.redis_away
@promises.redis_back
@pytest.mark.slow
def test_without_redis_a_hub_starts_and_serves_and_uses_it_when_it_comes(
    door: Proxy, each: list[httpx.Client], measured: Measured
) -> None:
    for turn in ("first", "second"):
        door.refuse()
        for number, client in enumerate(each):
            measured("longest answer", max(visit(client, f"away-{turn}-{number}")), promises.redis_away)
            assert status(client) == "degraded"
        back = comes_back(door, each)
        assert back < BACK_WITHIN
        measured("used again after", back, promises.redis_back)
        with redis.Redis.from_url(door.url, socket_timeout=5) as link:
            link.flushdb()
            assert each[0].get("/api/movies/trending/", params={"page": 1 if turn == "first" else 2}).status_code == 200
            assert link.keys("moviehub:*") != []


@promises.redis_away
@pytest.mark.usefixtures("well")
def test_what_ends_without_redis_ends_on_the_other_worker_too(
    server: Server, door: Proxy, each: list[httpx.Client]
) -> None:
    server.register("leaver")
    tokens = server.sign_in("leaver")
    assert [client.get("/api/auth/users/me/", headers=bearer(tokens)).status_code for client in each] == [200, 200]
    door.refuse()
    assert each[0].post("/api/auth/token/revoke/", json={"refresh": tokens["refresh"]}).status_code == 200
    assert [client.get("/api/auth/users/me/", headers=bearer(tokens)).status_code for client in each] == [401, 401]


@promises.redis_hangs
@pytest.mark.parametrize(
    "fault", ["hang", "reset", *(pytest.param(each, marks=pytest.mark.slow) for each in ("swallow", "cut", "slow"))]
)
@pytest.mark.usefixtures("well")
def test_a_redis_in_trouble_costs_a_request_half_a_second_at_most(
    door: Proxy, each: list[httpx.Client], measured: Measured, fault: str
) -> None:
    client = each[0]
    usual = max(visit(client, f"before-{fault}"))
    makes = {"cut": lambda: door.cut(2), "slow": lambda: door.delay(0.3)}
    makes.get(fault, getattr(door, fault, None))()  # type: ignore[misc]
    times = list(visit(client, f"during-{fault}"))
    assert max(times) < 0.5 + usual  # which is the hub's own work, on whatever machine this is
    measured("longest answer", max(times))
    if fault == "hang":
        assert sum(sorted(times)[:-3]) < 1.0, "it is skipped"
    assert status(client) == "degraded"
    back = comes_back(door, each)
    assert back < BACK_WITHIN
    measured("used again after", back)


@promises.redis_hangs
@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.05, 0.08, 0.12, 0.16])
@pytest.mark.usefixtures("well")
def test_a_redis_that_is_only_just_in_time_costs_no_more(
    door: Proxy, each: list[httpx.Client], measured: Measured, delay: float
) -> None:
    usual = max(visit(each[0], f"before-{delay}"))
    door.delay(delay)
    longest = max(visit(each[0], f"during-{delay}"))
    assert longest < 0.5 + usual
    measured("longest answer", longest)


@promises.redis_refuses
@pytest.mark.slow
@pytest.mark.parametrize("why", ["full", "reads"])
@pytest.mark.usefixtures("well")
def test_without_a_redis_that_takes_writes_a_hub_serves_and_uses_it_when_it_does(
    door: Proxy, each: list[httpx.Client], measured: Measured, why: str
) -> None:
    with redis.Redis.from_url(door.url, socket_timeout=5) as link:
        if why == "full":
            link.config_set("maxmemory", "1")
        else:
            link.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
        try:
            for number, client in enumerate(each):
                measured("longest answer", max(visit(client, f"{why}-{number}")))
                # It has written nothing yet if just before, for another reason, it left Redis alone for a moment.
                eventually(lambda client=client: status(client) == "degraded", within=1)  # type: ignore[misc]
        finally:
            link.config_set("maxmemory", "0")
            link.execute_command("REPLICAOF", "NO", "ONE")
    back = comes_back(door, each)
    assert back < BACK_WITHIN
    measured("used again after", back)


@promises.redis_slow
@pytest.mark.slow
@pytest.mark.usefixtures("well")
def test_a_page_of_many_films_waits_for_few_answers_of_redis(
    door: Proxy, each: list[httpx.Client], measured: Measured
) -> None:
    one, other = each
    paths = [f"/api/movies/{name}/?page_size=100" for name in ("popular", "top_rated", "trending")]
    for path in paths:
        timed(partial(one.get, path))
    door.delay(DELAY)
    times = [timed(partial(other.get, path)) for path in paths]  # who has none of it in the process
    measured(f"with {DELAY * 1000:g} ms for each, a page of 100 films", min(times))
    assert DELAY < min(times) < 5 * DELAY, "six one after the other would take longer"


@promises.redis_reply_lost
@pytest.mark.usefixtures("well")
def test_while_replies_are_lost_tokens_are_refreshed_and_nothing_counts_twice(
    server: Server, door: Proxy, each: list[httpx.Client]
) -> None:
    server.register("unheard")
    tokens = server.sign_in("unheard")
    path = f"/api/movies/{each[0].get('/api/movies/popular/').json()['results'][0]['id']}/rate/"

    def rated(client: httpx.Client) -> int:
        """How much is left of the quota after one more rating."""
        answer = client.put(path, json={"rating": 7}, headers=bearer(tokens))
        assert answer.status_code in (200, 201)
        [left] = re.findall(r'"user";r=(\d+)', answer.headers["ratelimit"])
        return int(left)

    for client in each:
        rated(client)
    door.swallow()
    for _ in range(2):
        for client in each:
            rated(client)
        refreshed = each[0].post(REFRESH, json={"refresh": tokens["refresh"]})
        assert refreshed.status_code == 200
        tokens = refreshed.json()
    comes_back(door, each)
    used = 6

    def all_told() -> bool:
        nonlocal used
        used += 1
        left = rated(each[0])
        assert left >= QUOTA - used, "nobody was counted twice"
        return left == QUOTA - used

    eventually(all_told)
    assert each[1].post(REFRESH, json={"refresh": tokens["refresh"]}).status_code == 200
