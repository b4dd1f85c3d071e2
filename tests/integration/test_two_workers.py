"""One server of two workers on Postgres and Valkey: what many do at once, and what a killed worker leaves behind."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator

import httpx
import pytest
import redis

from tests import promises
from tests.crowd import MANY, at_once, rows, statuses
from tests.reliability import Measured
from tests.servers import PASSWORD, PATIENCE, Server, bearer, ends, eventually, moviehub, two_workers

SECONDS = "moviehub_http_request_seconds_count"


@pytest.fixture(scope="module")
def settings(database: str, _valkey: str) -> dict[str, str]:
    """Of the server, and of the commands that go with it."""
    with redis.Redis.from_url(_valkey, socket_timeout=5) as link:
        link.flushdb()
    # Fifty who register at once are more than may wait by default, and refused passwords are not what is tested here.
    return {"DATABASE_URL": database, "REDIS_URL": _valkey, "SECRET_KEY": "k" * 32, "PASSWORD_QUEUE": str(MANY)}


@pytest.fixture(scope="module")
def server(settings: dict[str, str]) -> Iterator[Server]:
    with two_workers(**settings) as server:
        yield server
        assert server.end() == 0


@pytest.fixture
def each(server: Server) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A client of one worker, and a client of the other."""
    clients = server.clients_of_each_worker(2)
    one, other = clients.values()
    yield one, other
    for client in clients.values():
        client.close()


@pytest.fixture
def film(server: Server) -> int:
    number: int = server.http.get("/api/movies/search/", params={"q": "solaris"}).json()["results"][0]["id"]
    return number


@promises.fifty_at_once
async def test_fifty_ratings_of_one_film_by_one_person_are_one(server: Server, database: str, film: int) -> None:
    person = server.register("rater")
    auth = bearer(server.sign_in("rater"))

    async def rate(client: httpx.AsyncClient, number: int) -> httpx.Response:
        body = {"rating": number % 10 + 1, "review": f"review {number}"}
        return await client.post(f"/api/movies/{film}/rate/", json=body, headers=auth)

    assert statuses(await at_once(server, rate)) == {201: 1, 200: MANY - 1}
    [(score, review)] = await rows(database, "SELECT rating, review FROM ratings WHERE user_id = $1", person["id"])
    assert review in {f"review {number}" for number in range(MANY)}
    assert score == int(review.removeprefix("review ")) % 10 + 1


@promises.fifty_at_once
async def test_fifty_favorites_of_one_film_by_one_person_are_one(server: Server, database: str, film: int) -> None:
    person = server.register("keeper")
    auth = bearer(server.sign_in("keeper"))

    async def keep(client: httpx.AsyncClient, _: int) -> httpx.Response:
        return await client.post(f"/api/movies/{film}/add_to_favorites/", headers=auth)

    assert statuses(await at_once(server, keep)) == {201: 1, 200: MANY - 1}
    assert await rows(database, "SELECT movie_id FROM favorites WHERE user_id = $1", person["id"]) == [(film,)]


@promises.fifty_at_once
async def test_fifty_registrations_of_one_name_are_one(server: Server, database: str) -> None:
    async def register(client: httpx.AsyncClient, number: int) -> httpx.Response:
        name = "Wanted" if number % 2 else "wanted"
        account = {"username": name, "email": f"wanted{number}@example.org", "password": PASSWORD}
        return await client.post("/api/auth/users/", json=account)

    answers = await at_once(server, register)
    assert statuses(answers) == {201: 1, 400: MANY - 1}
    assert {one.json()["errors"][0]["field"] for one in answers if one.status_code == 400} == {"username"}
    assert len(await rows(database, "SELECT id FROM users WHERE lower(username) = 'wanted'")) == 1


@promises.fifty_at_once
async def test_what_many_rated_at_once_adds_up_on_both_workers(
    server: Server, database: str, each: tuple[httpx.Client, httpx.Client]
) -> None:
    film = server.http.get("/api/movies/popular/").json()["results"][5]["id"]
    for client in each:
        assert client.get(f"/api/movies/{film}/").json()["ratings_count"] == 0
    people = [server.joined(f"one-of-many-{number}") for number in range(10)]

    async def rate(client: httpx.AsyncClient, number: int) -> httpx.Response:
        auth = people[number % len(people)]
        if number % 5 == 4:
            return await client.delete(f"/api/movies/{film}/remove_rating/", headers=auth)
        return await client.put(f"/api/movies/{film}/rate/", json={"rating": number % 9 + 1}, headers=auth)

    assert {one.status_code for one in await at_once(server, rate)} <= {200, 201, 204, 404}
    query = "SELECT count(*), avg(rating)::float8 FROM ratings WHERE movie_id = $1"
    [(count, average)] = await rows(database, query, film)
    for client in each:
        seen = client.get(f"/api/movies/{film}/", headers=people[0]).json()
        assert seen["ratings_count"] == count > 0
        assert seen["average_rating"] == pytest.approx(average, abs=0.01)


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
        assert ender.get("/api/auth/users/me/", headers=auth).status_code == 401
        assert other.post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]}).status_code == 401


@promises.refresh_reuse
async def test_a_refresh_token_used_by_twenty_at_once_has_one_successor(server: Server, database: str) -> None:
    person = server.register("refresher")
    tokens = server.sign_in("refresher")

    async def refresh(client: httpx.AsyncClient, _: int) -> httpx.Response:
        return await client.post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]})

    answers = await at_once(server, refresh, 20)
    assert statuses(answers).keys() <= {200, 401}
    [successor] = {one.json()["refresh"] for one in answers if one.status_code == 200}
    assert successor != tokens["refresh"]
    query = "SELECT counter, ended_at FROM sessions WHERE user_id = $1"
    assert await rows(database, query, person["id"]) == [(1, None)]
    assert server.http.post("/api/auth/token/refresh/", json={"refresh": successor}).status_code == 200
    assert server.http.post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]}).status_code == 401
    assert server.http.post("/api/auth/token/refresh/", json={"refresh": successor}).status_code == 401


def test_the_numbers_of_both_workers_add_up(server: Server, each: tuple[httpx.Client, httpx.Client]) -> None:
    def counted(client: httpx.Client) -> float:
        told = client.get("/metrics").text
        found = re.findall(rf'^{SECONDS}{{.*route="/api/movies/genres".*}} (\S+)$', told, re.MULTILINE)
        return sum(map(float, found))

    before = counted(each[0])
    for client, times in zip(each, (3, 4), strict=True):
        for _ in range(times):
            assert client.get("/api/movies/genres/").status_code == 200
    eventually(lambda: [counted(client) - before for client in each] == [7, 7])  # each copies its own once a second


def test_the_cache_is_flushed_and_nothing_else_in_redis(
    server: Server, settings: dict[str, str], each: tuple[httpx.Client, httpx.Client]
) -> None:
    with redis.Redis.from_url(settings["REDIS_URL"], socket_timeout=5) as link:
        link.set("somebody-elses", "thing")
        for client in each:
            assert client.get("/api/movies/top_rated/").status_code == 200
        assert len(link.keys("moviehub:*")) > 0
        done = moviehub("cache", "flush", **settings)
        assert (done.returncode, done.stdout, done.stderr) == (0, "The cache is empty.\n", "")
        assert link.keys("*") == [b"somebody-elses"]
        link.delete("somebody-elses")


@promises.worker_killed
def test_a_killed_worker_is_replaced_within_five_seconds_and_the_other_serves_meanwhile(
    server: Server, measured: Measured
) -> None:
    [killed, other] = eventually(lambda: workers if len(workers := server.workers()) == 2 else None)

    def replacing() -> int:
        with server.client() as client:
            worker = server.worker_of(client)  # which asks, and so must be answered
        return worker if worker not in (killed, other) else 0

    for _ in range(3):  # the one that took its place is killed too, and so is the next
        process = os.pidfd_open(killed)
        os.kill(killed, signal.SIGKILL)
        assert ends([process], PATIENCE)
        started = time.perf_counter()
        killed = eventually(replacing, within=5.0)
        measured("back after", time.perf_counter() - started)


@promises.worker_killed
async def test_a_worker_killed_amid_ratings_leaves_each_of_them_whole_or_not_at_all(
    server: Server, database: str
) -> None:
    films = [one["id"] for one in server.http.get("/api/movies/popular/?page_size=20").json()["results"]]
    person = server.register("survivor")
    auth = bearer(server.sign_in("survivor"))
    victim = server.workers()[0]  # the oldest: one that dies as soon as it began would be the server's end
    answered = asyncio.Semaphore(0)
    outcomes: dict[tuple[int, int], int | None] = {}

    async def rate(client: httpx.AsyncClient, number: int) -> None:
        for turn in range(5):
            film, score = films[number], (number + turn) % 10 + 1
            body = {"rating": score, "review": f"{film} has {score}"}
            try:
                answer = await client.put(f"/api/movies/{film}/rate/", json=body, headers=auth)
            except httpx.TransportError:
                outcomes[film, score] = None
            else:
                outcomes[film, score] = answer.status_code
            answered.release()

    async def kill() -> None:
        for _ in range(len(films)):
            await answered.acquire()
        os.kill(victim, signal.SIGKILL)

    limits = httpx.Limits(max_connections=len(films), max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=PATIENCE, verify=False) as client:
        await asyncio.gather(kill(), *(rate(client, number) for number in range(len(films))))

    assert set(outcomes.values()) <= {200, 201, None}
    kept = await rows(database, "SELECT movie_id, rating, review FROM ratings WHERE user_id = $1", person["id"])
    assert len({film for film, _, _ in kept}) == len(kept)
    for film, score, review in kept:
        assert review == f"{film} has {score}"
        assert (film, score) in outcomes
    for number, film in enumerate(films):
        turns = [(number + turn) % 10 + 1 for turn in range(5)]
        last = max((turn for turn, score in enumerate(turns) if outcomes[film, score]), default=-1)
        # What was answered last holds, unless one that got no answer came after it.
        possible = {score for turn, score in enumerate(turns) if turn >= max(last, 0)}
        [score] = [score for kept_film, score, _ in kept if kept_film == film] or [None]
        assert score in possible or (score is None and last < 0)
    eventually(lambda: len(server.workers()) == 2 and victim not in server.workers())
    assert statuses(await at_once(server, lambda client, _: client.get("/api/movies/popular/"))) == {200: MANY}


def test_what_is_done_at_one_worker_shows_at_once_at_the_other(
    server: Server, each: tuple[httpx.Client, httpx.Client], film: int
) -> None:
    one, other = each
    server.register("witness")
    auth = bearer(server.sign_in("witness"))
    detail, me = f"/api/movies/{film}/", "/api/auth/users/me/"
    kept = 0
    for score in (3, 9, 4, 8, 5, 7, 6):
        before = other.get(detail).json()  # twice, so that it is kept
        kept += other.get(detail).headers.get("cache-status") == "moviehub; hit"
        assert other.get(me, headers=auth).status_code == 200
        answer = one.post(f"/api/movies/{film}/rate/", json={"rating": score}, headers=auth)
        assert answer.status_code in (200, 201)
        after = other.get(detail).json()
        assert after["ratings_count"] == before["ratings_count"] + (answer.status_code == 201)
        assert after["average_rating"] != before["average_rating"]
        assert one.patch("/api/auth/users/update_profile/", json={"bio": str(score)}, headers=auth).status_code == 200
        assert other.get(me, headers=auth).json()["bio"] == str(score)
    assert kept
