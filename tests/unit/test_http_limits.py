"""Rate limits as clients meet them: whom a request counts for, and what the answer tells."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from moviehub.domain.limits import Limit
from tests import promises
from tests.api import PASSWORD, Api, api_in_memory, film, problem

BEHIND_A_PROXY = {"trusted_proxies": ("127.0.0.1",)}
GENRES = "/api/movies/genres/"


def anonymous(quota: int) -> dict[str, Any]:
    return {"rate_limit_anonymous": Limit("anonymous", quota, 60)}


def user(quota: int) -> dict[str, Any]:
    return {"rate_limit_user": Limit("user", quota, 60)}


def auth(quota: int) -> dict[str, Any]:
    return {"rate_limit_auth": Limit("auth", quota, 60)}


def remaining(answer: httpx.Response, limit: str = "anonymous") -> int:
    """How many requests the answer says are left."""
    (left,) = re.findall(rf'"{limit}";r=(\d+);t=\d+', answer.headers["ratelimit"])
    return int(left)


def sent_from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def attempt(api: Api, name: str, address: str, password: str = "not the right one") -> int:
    """The status of a sign-in."""
    body = {"username": name, "password": password}
    return (await api.post("/api/auth/token/", body, headers=sent_from(address))).status_code


async def test_a_limited_answer_tells_the_policy_and_how_the_caller_stands() -> None:
    async with api_in_memory(**anonymous(3)) as api:
        answer = await api.get(GENRES)
    assert answer.headers["ratelimit-policy"] == '"anonymous";q=3;w=60'
    assert answer.headers["ratelimit"] == '"anonymous";r=2;t=60'


async def test_past_the_quota_the_answer_is_429_until_the_window_ends() -> None:
    async with api_in_memory(**anonymous(3)) as api:
        assert [(await api.get(GENRES)).status_code for _ in range(3)] == [200] * 3
        api.clock.advance(seconds=20)
        refused = await api.get(GENRES)
        problem(refused, 429, "too-many-requests")
        assert refused.headers["retry-after"] == "40"
        assert refused.headers["ratelimit"] == '"anonymous";r=0;t=40'
        api.clock.advance(seconds=40)
        assert remaining(await api.get(GENRES)) == 2


async def test_a_page_that_is_looked_up_in_front_of_the_router_counts_like_any_other() -> None:
    async with api_in_memory(**anonymous(100)) as api:
        api.catalogue.films.extend(film(number) for number in range(20))
        answers = [await api.get("/api/movies/popular/") for _ in range(3)]
        assert [answer.headers["cache-status"] for answer in answers][1:] == ["moviehub; hit"] * 2
        assert list(map(remaining, answers)) == [99, 98, 97]


@pytest.mark.parametrize("path", ["/api/movies/999/", "/nothing/here", "/docs", "/openapi.json"])
async def test_every_path_counts_one_that_is_not_there_too(path: str) -> None:
    async with api_in_memory(**anonymous(10)) as api:
        assert [remaining(await api.get(path)) for _ in range(3)] == [9, 8, 7]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready/", "/metrics"])
async def test_health_and_metrics_are_not_limited(path: str) -> None:
    async with api_in_memory(**anonymous(2)) as api:
        answers = [await api.get(path) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert all("ratelimit" not in answer.headers for answer in answers)


async def test_without_limits_nothing_is_told_of_them() -> None:
    async with api_in_memory() as api:
        answer = await api.get(GENRES)
    assert "ratelimit" not in answer.headers
    assert "ratelimit-policy" not in answer.headers


async def test_who_is_signed_in_counts_for_themselves_wherever_they_are() -> None:
    async with api_in_memory(**anonymous(50), **user(5)) as api:
        alice, bob = await api.joined("alice"), await api.joined("bob")
        before = remaining(await api.get(GENRES))
        assert [remaining(await api.get(GENRES, token=alice), "user") for _ in range(2)] == [4, 3]
        assert remaining(await api.get(GENRES, token=bob), "user") == 4
        assert remaining(await api.get(GENRES)) == before - 1


async def test_of_many_writes_at_once_exactly_the_quota_passes() -> None:
    async with api_in_memory(**user(7)) as api:
        alice = await api.joined()
        (movie_id,) = await api.knows(film(1))
        path = f"/api/movies/{movie_id}/rate/"
        answers = await asyncio.gather(*(api.post(path, {"rating": 5}, token=alice) for _ in range(20)))
    assert sum(answer.status_code < 300 for answer in answers) == 7
    assert sum(answer.status_code == 429 for answer in answers) == 13


async def test_a_token_that_is_no_good_counts_for_the_address() -> None:
    async with api_in_memory(**anonymous(3), **user(100)) as api:
        statuses = [(await api.get(GENRES, token=f"made.up.{number}")).status_code for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/auth/token/refresh/"), ("GET", "/nothing/here"), ("GET", "/docs")]
)
async def test_an_authorization_that_nobody_reads_opens_no_way_around(method: str, path: str) -> None:
    async with api_in_memory(**anonymous(3)) as api:
        body = {"refresh": "x"} if method == "POST" else None
        statuses = [(await api(method, path, body, token="whatever")).status_code for _ in range(5)]
    assert 429 not in statuses[:3]
    assert statuses[3:] == [429, 429]


async def test_a_refused_request_does_nothing() -> None:
    async with api_in_memory(**anonymous(4)) as api:
        tokens = await api.tokens()  # two of four
        await api.get(GENRES)
        await api.get(GENRES)
        refused = await api.post("/api/auth/token/refresh/", {"refresh": tokens["refresh"]})
        assert refused.status_code == 429
        api.clock.advance(seconds=60)
        assert (await api.post("/api/auth/token/refresh/", {"refresh": tokens["refresh"]})).status_code == 200


@promises.forwarded
async def test_forwarded_addresses_are_believed_of_trusted_proxies_alone() -> None:
    async with api_in_memory(**anonymous(2)) as api:
        statuses = [(await api.get(GENRES, headers=sent_from(f"203.0.113.{n}"))).status_code for n in range(4)]
    assert statuses == [200, 200, 429, 429]


@promises.forwarded
async def test_behind_a_trusted_proxy_the_rightmost_hop_that_is_none_counts() -> None:
    async with api_in_memory(**anonymous(2), **BEHIND_A_PROXY) as api:
        told = [
            f"198.51.100.{number}, 203.0.113.7" for number in range(3)
        ]  # the first of each is the client's own word
        assert [(await api.get(GENRES, headers=sent_from(each))).status_code for each in told] == [200, 200, 429]
        assert (await api.get(GENRES, headers=sent_from("203.0.113.8"))).status_code == 200


async def test_all_addresses_of_an_ipv6_network_are_one_client() -> None:
    async with api_in_memory(**anonymous(2), **BEHIND_A_PROXY) as api:
        told = [f"2001:db8:0:1::{number}" for number in range(1, 4)]
        assert [(await api.get(GENRES, headers=sent_from(each))).status_code for each in told] == [200, 200, 429]
        assert (await api.get(GENRES, headers=sent_from("2001:db8:0:2::1"))).status_code == 200


async def test_a_page_of_another_origin_can_read_that_it_was_refused() -> None:
    origin = {"Origin": "https://app.example.org"}
    async with api_in_memory(**anonymous(1), cors_origins=("https://app.example.org",)) as api:
        await api.get(GENRES, headers=origin)
        refused = await api.get(GENRES, headers=origin)
    assert refused.status_code == 429
    assert refused.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "Origin" in refused.headers["vary"]
    exposed = refused.headers["access-control-expose-headers"].split(", ")
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(exposed)


async def test_refusals_are_counted_by_limit() -> None:
    async with api_in_memory(**anonymous(1)) as api:
        for _ in range(3):
            await api.get(GENRES)
        assert 'moviehub_rate_limited_total{limit="anonymous"} 2.0' in (await api.get("/metrics")).text


async def test_attempts_to_sign_in_are_limited_by_address() -> None:
    async with api_in_memory(**auth(3), **BEHIND_A_PROXY) as api:
        statuses = [await attempt(api, f"person{number}", "203.0.113.7") for number in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert await attempt(api, "person9", "203.0.113.8") == 401
        api.clock.advance(seconds=60)
        assert await attempt(api, "person9", "203.0.113.7") == 401


async def test_attempts_to_sign_in_are_limited_by_name_in_any_spelling() -> None:
    async with api_in_memory(**auth(3), **BEHIND_A_PROXY) as api:
        names = ["alice", "ALICE", "Alice", "aLiCe", "alice"]
        statuses = [await attempt(api, name, f"203.0.113.{number}") for number, name in enumerate(names)]
    assert statuses == [401, 401, 401, 429, 429]


async def test_attempts_to_sign_in_are_limited_in_sum() -> None:
    everyone = {"rate_limit_auth_everyone": Limit("auth-everyone", 4, 60)}
    async with api_in_memory(**everyone, **BEHIND_A_PROXY) as api:
        statuses = [await attempt(api, f"person{number}", f"203.0.113.{number}") for number in range(6)]
    assert statuses == [401] * 4 + [429] * 2


async def test_a_stranger_at_the_door_keeps_nobody_out_of_their_own_house() -> None:
    async with api_in_memory(**auth(3), **BEHIND_A_PROXY) as api:
        await api.register("alice")
        assert await attempt(api, "alice", "203.0.113.1", PASSWORD) == 200
        for number in range(10, 20):
            await attempt(api, "alice", f"198.51.100.{number}")
        assert await attempt(api, "alice", "198.51.100.99", PASSWORD) == 429
        assert await attempt(api, "alice", "203.0.113.1", PASSWORD) == 200


async def test_the_answer_to_an_attempt_tells_how_many_are_left() -> None:
    async with api_in_memory(**auth(3), **anonymous(50)) as api:
        await api.register("alice")
        answer = await api.post("/api/auth/token/", {"username": "alice", "password": PASSWORD})
    assert remaining(answer, "auth") == 1
    assert answer.headers["ratelimit-policy"] == '"anonymous";q=50;w=60, "auth";q=3;w=60'


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/auth/users/change_password/", {"current_password": "a guess", "new_password": "another guess"}),
        ("DELETE", "/api/auth/users/me/", {"password": "a guess"}),
    ],
)
async def test_a_stolen_token_does_not_allow_to_guess_the_password(method: str, path: str, body: Any) -> None:
    async with api_in_memory(**auth(6)) as api:
        alice = await api.joined()  # one registration and one sign-in
        statuses = [(await api(method, path, body, token=alice)).status_code for _ in range(6)]
    assert statuses == [400] * 4 + [429] * 2


async def test_registrations_are_limited() -> None:
    async with api_in_memory(**auth(2)) as api:
        for name in ("alice", "bob"):
            await api.register(name)
        refused = await api.post(
            "/api/auth/users/", {"username": "carol", "email": "carol@example.org", "password": PASSWORD}
        )
        problem(refused, 429, "too-many-requests")
