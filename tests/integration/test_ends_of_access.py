"""Whatever ends somebody's access ends it at once on both of two workers, whatever becomes of Redis and Postgres."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis

from tests import promises
from tests.crowd import at_once, rows, statuses
from tests.servers import PASSWORD, Server, bearer, eventually, moviehub, serving, two_workers

ME = "/api/auth/users/me/"
REFRESH = "/api/auth/token/refresh/"


@pytest.fixture(scope="module")
def settings(database: str, _valkey: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": _valkey, "SECRET_KEY": "k" * 32}


@pytest.fixture(scope="module")
def server(settings: dict[str, str]) -> Iterator[Server]:
    with two_workers(**settings) as server:
        yield server


@pytest.fixture(scope="module")
def each(server: Server) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A client of one worker, and a client of the other."""
    one, other = server.clients_of_each_worker(2).values()
    yield one, other
    one.close()
    other.close()


@pytest.fixture(scope="module")
def superuser(server: Server, settings: dict[str, str]) -> dict[str, str]:
    made = moviehub(
        *("user", "create-admin", "--username", "root", "--email", "root@example.org"), told=PASSWORD, **settings
    )
    assert made.returncode == 0, made.stderr
    return bearer(server.sign_in("root"))


Ends = Callable[[httpx.Client, dict[str, Any], dict[str, str]], httpx.Response]


def log_out(client: httpx.Client, tokens: dict[str, Any], _: dict[str, str]) -> httpx.Response:
    return client.post("/api/auth/token/revoke/", json={"refresh": tokens["refresh"]})


def change_password(client: httpx.Client, tokens: dict[str, Any], _: dict[str, str]) -> httpx.Response:
    body = {"current_password": PASSWORD, "new_password": "two large grey dogs"}
    return client.post("/api/auth/users/change_password/", json=body, headers=bearer(tokens))


def delete_account(client: httpx.Client, tokens: dict[str, Any], _: dict[str, str]) -> httpx.Response:
    return client.request("DELETE", ME, json={"password": PASSWORD}, headers=bearer(tokens))


def deactivate(client: httpx.Client, tokens: dict[str, Any], superuser: dict[str, str]) -> httpx.Response:
    return client.patch(f"/api/auth/users/{tokens['user']['id']}/", json={"is_active": False}, headers=superuser)


def use_an_old_refresh_token(client: httpx.Client, tokens: dict[str, Any], _: dict[str, str]) -> httpx.Response:
    newest = tokens["refresh"]
    for _turn in range(2):
        newest = client.post(REFRESH, json={"refresh": newest}).json()["refresh"]
    refused = client.post(REFRESH, json={"refresh": tokens["refresh"]})  # the newest one's grandparent
    assert refused.status_code == 401
    tokens["refresh"] = newest
    return httpx.Response(200)


@promises.access_ends
@pytest.mark.parametrize("end", [log_out, change_password, delete_account, deactivate, use_an_old_refresh_token])
@pytest.mark.parametrize("turn", [1, -1])
def test_access_ends_at_once_on_the_other_worker_too(
    server: Server, each: tuple[httpx.Client, httpx.Client], superuser: dict[str, str], end: Ends, turn: int
) -> None:
    ender, other = each[::turn]
    name = f"{end.__name__}{turn}"
    server.register(name)
    tokens = server.sign_in(name)
    for client in each:
        assert client.get(ME, headers=bearer(tokens)).status_code == 200
    assert end(ender, tokens, superuser).is_success
    for client in (other, ender):
        assert client.get(ME, headers=bearer(tokens)).status_code == 401
        assert client.post(REFRESH, json={"refresh": tokens["refresh"]}).status_code == 401
        assert client.post("/api/auth/token/verify/", json={"token": tokens["access"]}).status_code == 401


@promises.access_ends
def test_a_demotion_counts_at_once_on_both_workers(
    server: Server, each: tuple[httpx.Client, httpx.Client], superuser: dict[str, str]
) -> None:
    person = server.register("helper")
    auth, path = bearer(server.sign_in("helper")), f"/api/auth/users/{person['id']}/"
    for one, other in (each, each[::-1]):
        assert one.patch(path, json={"is_staff": True}, headers=superuser).status_code == 200
        assert [client.get("/api/auth/audit/", headers=auth).status_code for client in (other, one)] == [200, 200]
        assert other.patch(path, json={"is_staff": False}, headers=superuser).status_code == 200
        assert [client.get("/api/auth/audit/", headers=auth).status_code for client in (one, other)] == [403, 403]


@promises.refresh_reuse
async def test_a_reuse_ends_the_session_for_good_and_is_on_the_trail(server: Server, database: str) -> None:
    person = server.register("copied")
    tokens = server.sign_in("copied")
    other_session = server.sign_in("copied")
    use_an_old_refresh_token(server.http, tokens, {})
    query = "SELECT counter, ended_at IS NOT NULL FROM sessions WHERE user_id = $1 ORDER BY id"
    assert await rows(database, query, person["id"]) == [(2, True), (0, False)]
    query = "SELECT event, address FROM audit WHERE user_id = $1 AND event = 'refresh_reuse'"
    assert await rows(database, query, person["id"]) == [("refresh_reuse", "127.0.0.1")]
    assert server.http.get(ME, headers=bearer(other_session)).status_code == 200


@promises.refresh_lost_reply
async def test_of_twenty_refreshes_at_once_one_lineage_is_left_even_while_sessions_end(
    server: Server, database: str
) -> None:
    person = server.register("twenty")
    tokens = server.sign_in("twenty")

    async def refresh(client: httpx.AsyncClient, _: int) -> httpx.Response:
        return await client.post(REFRESH, json={"refresh": tokens["refresh"]})

    answers = await at_once(server, refresh, 20)
    assert statuses(answers).keys() <= {200, 401}
    assert len({one.json()["refresh"] for one in answers if one.status_code == 200}) == 1
    assert await rows(database, "SELECT counter FROM sessions WHERE user_id = $1", person["id"]) == [(1,)]


@promises.redis_forgets_access
def test_nothing_that_ended_comes_back_to_life_when_redis_loses_everything(
    server: Server, each: tuple[httpx.Client, httpx.Client], superuser: dict[str, str], settings: dict[str, str]
) -> None:
    server.register("forgotten")
    ended, live = server.sign_in("forgotten"), server.sign_in("forgotten")
    assert log_out(each[0], ended, {}).status_code == 200
    with redis.Redis.from_url(settings["REDIS_URL"], socket_timeout=5) as link:
        link.flushall()
    for client in each:
        assert client.get(ME, headers=bearer(ended)).status_code == 401
        assert client.post(REFRESH, json={"refresh": ended["refresh"]}).status_code == 401
        assert client.get(ME, headers=bearer(live)).status_code == 200


@promises.access_ends
async def test_a_token_opens_no_session_of_somebody_else_that_has_its_id_in_a_restored_database(
    server: Server, each: tuple[httpx.Client, httpx.Client], database: str
) -> None:
    lost, keeper = server.register("lost"), server.register("keeper")
    old = server.sign_in("lost")
    for client in each:
        assert client.get(ME, headers=bearer(old)).status_code == 200  # and the worker remembers the token
    ((session_id,),) = await rows(database, "DELETE FROM sessions WHERE user_id = $1 RETURNING id", lost["id"])
    await rows(database, f"ALTER TABLE sessions ALTER COLUMN id RESTART WITH {session_id}")
    theirs = server.sign_in("keeper")
    assert await rows(database, "SELECT user_id FROM sessions WHERE id = $1", session_id) == [(keeper["id"],)]
    for client in each:
        # Nobody tells a worker that a database was restored: what it read a moment ago holds for a second.
        eventually(lambda: client.get(ME, headers=bearer(old)).status_code == 401, within=2)  # noqa: B023
        assert client.post(REFRESH, json={"refresh": old["refresh"]}).status_code == 401
        assert log_out(client, old, {}).status_code == 200
        assert client.get(ME, headers=bearer(theirs)).json()["username"] == "keeper"


async def test_without_a_database_nobody_is_let_in_and_public_pages_are_served(
    migrated_url: str, postgres_url: str, valkey_url: str
) -> None:
    with serving(DATABASE_URL=migrated_url, REDIS_URL=valkey_url, SECRET_KEY="k" * 32) as server:
        server.register("stranded")
        tokens = server.sign_in("stranded")
        assert server.http.get("/api/movies/popular/").status_code == 200
        assert server.http.get(ME, headers=bearer(tokens)).status_code == 200
        name = migrated_url.rpartition("/")[2]
        await rows(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
        try:
            # What was read a moment ago holds for a second.
            eventually(lambda: server.http.get(ME, headers=bearer(tokens)).status_code == 503, within=2)
            for method, path, body in (
                ("GET", ME, None),
                ("GET", "/api/movies/popular/", None),
                ("GET", "/api/auth/audit/", None),
                ("POST", "/api/movies/1/rate/", {"rating": 5}),
                ("POST", REFRESH, {"refresh": tokens["refresh"]}),
                ("POST", "/api/auth/token/", {"username": "stranded", "password": PASSWORD}),
            ):
                answer = server.http.request(method, path, json=body, headers=bearer(tokens))
                assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), (path, answer.text)
                assert answer.json()["type"] == "/problems/unavailable"
            assert server.http.get("/api/movies/popular/").status_code == 200
        finally:
            await rows(postgres_url, f"CREATE DATABASE {name}")  # so that there is one to drop at the end
