"""Tokens and sessions over HTTP: signing in, staying signed in, and ending it."""

from datetime import timedelta
from typing import Any

import pytest

from moviehub.domain.limits import Limit
from tests import promises
from tests.api import PASSWORD, Api, api_in_memory, fields, problem

TOKENS = {"access", "refresh", "token_type", "expires_in"}
SESSION = {"id", "created_at", "last_used_at", "client", "address", "current"}
ME = "/api/auth/users/me/"


async def refreshed(api: Api, refresh: str) -> dict[str, Any]:
    answer = await api.post("/api/auth/token/refresh/", {"refresh": refresh})
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == TOKENS
    pair: dict[str, Any] = answer.json()
    return pair


async def refuses(api: Api, *, access: str = "", refresh: str = "") -> None:
    if access:
        problem(await api.get(ME, token=access), 401, "invalid-token")
    if refresh:
        problem(await api.post("/api/auth/token/refresh/", {"refresh": refresh}), 401, "invalid-token")


async def test_signing_in_answers_with_a_pair_of_tokens_and_whose_they_are(api: Api) -> None:
    user = await api.register()
    tokens = await api.sign_in()
    assert tokens.keys() == TOKENS | {"user"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 300)
    assert tokens["user"] == {name: user[name] for name in ("id", "username", "email")}


async def test_a_person_signs_in_by_name_or_address_in_any_case(api: Api) -> None:
    await api.register()
    for name in ("alice", "ALICE", "ａｌｉｃｅ", "alice@example.org", "Alice@Example.Org"):
        assert (await api.sign_in(name))["user"]["username"] == "alice"


async def test_a_form_signs_in_too(api: Api) -> None:
    await api.register()
    form = {"username": "alice", "password": PASSWORD}
    answer = await api("POST", "/api/auth/token/", data=form)
    assert (answer.status_code, answer.json()["user"]["username"]) == (200, "alice")
    assert fields(await api("POST", "/api/auth/token/", data={"username": "alice"})) == {"password": "required"}


async def test_a_body_that_cannot_be_read_is_no_attempt() -> None:
    async with api_in_memory(rate_limit_auth=Limit("auth", 2, 60)) as api:
        await api.register()
        for _ in range(5):
            assert fields(await api.post("/api/auth/token/", {"username": "alice"})) == {"password": "required"}
            assert fields(await api.post("/api/auth/users/", {"username": "alice"})).keys() == {"email", "password"}
        await api.sign_in()
        problem(await api.post("/api/auth/token/", {"username": "bob", "password": ""}), 429, "too-many-requests")


@promises.enumeration
async def test_wrong_credentials_say_the_same_whatever_is_wrong(api: Api) -> None:
    await api.register()
    said = set()
    for username, password in (
        ("alice", "a wrong phrase"),
        ("nobody", PASSWORD),
        ("", ""),
        ("alice", ""),
        ("alice", "x" * 5_000),
        ("alice\0", PASSWORD),
        ("x" * 5_000, PASSWORD),
        ("alice", "\0"),
    ):
        answer = await api.post("/api/auth/token/", {"username": username, "password": password})
        said.add(problem(answer, 401, "bad-credentials")["detail"])
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(said) == 1


async def test_token_calls_ignore_an_authorization(api: Api) -> None:
    await api.register()
    bad = {"token": "nonsense"}
    answer = await api.post("/api/auth/token/", {"username": "alice", "password": PASSWORD}, **bad)
    refresh = answer.json()["refresh"]
    assert (await api.post("/api/auth/token/refresh/", {"refresh": refresh}, **bad)).status_code == 200
    assert (await api.post("/api/auth/token/revoke/", {"refresh": refresh}, **bad)).status_code == 200


async def test_an_access_token_is_good_for_as_long_as_it_says(api: Api) -> None:
    tokens = await api.tokens()
    api.clock.advance(seconds=tokens["expires_in"] - 1)
    assert (await api.get(ME, token=tokens["access"])).status_code == 200
    api.clock.advance(seconds=1)
    await refuses(api, access=tokens["access"])


async def test_a_refresh_token_gets_the_next_pair_and_is_dead_from_then_on(api: Api) -> None:
    old = await api.tokens()
    api.clock.advance(seconds=60)
    new = await refreshed(api, old["refresh"])
    assert new["refresh"] != old["refresh"]
    assert (await api.get(ME, token=new["access"])).status_code == 200
    newer = await refreshed(api, new["refresh"])
    api.clock.advance(seconds=60)
    await refuses(api, refresh=old["refresh"])
    await refuses(api, access=newer["access"], refresh=newer["refresh"])  # reuse ends the whole family


@promises.refresh_lost_reply
async def test_who_lost_the_reply_asks_again_within_ten_seconds_and_gets_the_same_refresh_token(api: Api) -> None:
    old = await api.tokens()
    api.clock.advance(seconds=60)
    lost = await refreshed(api, old["refresh"])
    api.clock.advance(seconds=10)
    again = await refreshed(api, old["refresh"])
    assert again["refresh"] == lost["refresh"]
    assert (await api.get(ME, token=again["access"])).status_code == 200


@promises.refresh_reuse
async def test_who_asks_again_after_eleven_seconds_has_a_copy(api: Api) -> None:
    old = await api.tokens()
    lost = await refreshed(api, old["refresh"])
    api.clock.advance(seconds=11)
    await refuses(api, refresh=old["refresh"])
    await refuses(api, access=lost["access"], refresh=lost["refresh"])


@promises.refresh_reuse
async def test_a_lost_reply_is_forgiven_to_the_parent_alone(api: Api) -> None:
    first = await api.tokens()
    second = await refreshed(api, first["refresh"])
    third = await refreshed(api, second["refresh"])
    await refuses(api, refresh=first["refresh"])
    await refuses(api, refresh=third["refresh"])


async def test_a_session_lasts_thirty_days_without_use_and_ninety_in_all(api: Api) -> None:
    idle = await api.tokens()
    used = await api.sign_in()
    for _ in range(3):
        api.clock.advance(timedelta(days=29, hours=23))
        used = await refreshed(api, used["refresh"])
    await refuses(api, refresh=idle["refresh"])
    api.clock.advance(timedelta(hours=3))
    await refuses(api, access=used["access"], refresh=used["refresh"])


@promises.bad_tokens
async def test_a_token_of_the_wrong_kind_is_no_token(api: Api) -> None:
    tokens = await api.tokens()
    await refuses(api, access=tokens["refresh"])
    await refuses(api, refresh=tokens["access"])
    await refuses(api, access=tokens["access"][:-2], refresh=tokens["refresh"] + "x")
    await refuses(api, access="a.b.c", refresh="x" * 10_000)


@promises.bad_tokens
async def test_a_token_that_somebody_else_signed_is_no_token(api: Api) -> None:
    own = await api.joined()
    async with api_in_memory(secret_key="z" * 32) as other:
        foreign = await other.tokens()
    await refuses(api, access=foreign["access"], refresh=foreign["refresh"])
    assert (await api.get(ME, token=own)).status_code == 200


async def test_verify_tells_whether_a_token_of_either_kind_is_good(api: Api) -> None:
    tokens = await api.tokens()
    for token in (tokens["access"], tokens["refresh"]):
        answer = await api.post("/api/auth/token/verify/", {"token": token})
        assert (answer.status_code, answer.json()) == (200, {})
    await refreshed(api, tokens["refresh"])
    for token in (tokens["refresh"], "nonsense", ""):
        problem(await api.post("/api/auth/token/verify/", {"token": token}), 401, "invalid-token")


async def test_revoking_ends_the_session_with_its_access_tokens(api: Api) -> None:
    await api.register()
    for path in ("/api/auth/token/revoke/", "/api/auth/token/blacklist/"):
        tokens = await api.sign_in()
        answer = await api.post(path, {"refresh": tokens["refresh"]})
        assert (answer.status_code, answer.json()) == (200, {})
        await refuses(api, access=tokens["access"], refresh=tokens["refresh"])
        problem(await api.post("/api/auth/token/verify/", {"token": tokens["access"]}), 401, "invalid-token")
        assert (await api.post(path, {"refresh": tokens["refresh"]})).json() == {}  # once more does no harm


async def test_revoking_an_unknown_token_is_fine(api: Api) -> None:
    tokens = await api.tokens()
    for token in ("nonsense", "", tokens["access"]):
        answer = await api.post("/api/auth/token/revoke/", {"refresh": token})
        assert (answer.status_code, answer.json()) == (200, {})
    assert (await api.get(ME, token=tokens["access"])).status_code == 200


async def test_sessions_are_listed_latest_used_first(api: Api) -> None:
    await api.register()
    agents = {"User-Agent": "Films for Android/2"}
    here = await api.post("/api/auth/token/", {"username": "alice", "password": PASSWORD}, headers=agents)
    api.clock.advance(seconds=60)
    there = await api.sign_in()
    page = (await api.get("/api/auth/sessions/", token=here.json()["access"])).json()
    assert (page["count"], page["page"], page["total_pages"]) == (2, 1, 1)
    assert all(session.keys() == SESSION for session in page["results"])
    assert [session["current"] for session in page["results"]] == [False, True]
    assert page["results"][1]["client"] == "Films for Android/2"
    assert page["results"][1]["address"] == "127.0.0.1"
    assert page["results"][0]["created_at"] == "2030-01-01T12:01:00Z"
    api.clock.advance(seconds=60)
    await refreshed(api, here.json()["refresh"])
    page = (await api.get("/api/auth/sessions/?page_size=1", token=there["access"])).json()
    assert (page["count"], page["total_pages"]) == (2, 2)
    assert [(s["last_used_at"], s["current"]) for s in page["results"]] == [("2030-01-01T12:02:00Z", False)]


async def test_what_a_program_calls_itself_is_kept_without_what_cannot_be_shown(api: Api) -> None:
    await api.register()
    body = {"username": "alice", "password": PASSWORD}
    await api.post("/api/auth/token/", body, headers={"User-Agent": "x" * 300})
    tokens = await api.post("/api/auth/token/", body, headers={"User-Agent": b"tab\tb\xfcg \x9b"})
    page = await api.get("/api/auth/sessions/", token=tokens.json()["access"])
    assert {session["client"] for session in page.json()["results"]} == {"tabbüg ", "x" * 200}


@pytest.mark.parametrize(
    ("hops", "address"),
    [("203.0.113.9, unknown", "127.0.0.1"), ("203.0.113.9, 2001:db8::1", "2001:db8::1"), ("", "127.0.0.1")],
)
async def test_what_a_proxy_reports_is_an_address_or_nothing(hops: str, address: str) -> None:
    async with api_in_memory(trusted_proxies=("127.0.0.1", "10.0.0.0/8")) as api:
        await api.register()
        body = {"username": "alice", "password": PASSWORD}
        tokens = (await api.post("/api/auth/token/", body, headers={"X-Forwarded-For": hops})).json()
        (session,) = (await api.get("/api/auth/sessions/", token=tokens["access"])).json()["results"]
        assert session["address"] == address


async def test_one_session_can_be_ended(api: Api) -> None:
    here = await api.joined()
    there = await api.sign_in()
    listed = (await api.get("/api/auth/sessions/", token=here)).json()["results"]
    other = next(session["id"] for session in listed if not session["current"])
    answer = await api("DELETE", f"/api/auth/sessions/{other}/", token=here)
    assert (answer.status_code, answer.content) == (204, b"")
    await refuses(api, access=there["access"], refresh=there["refresh"])
    assert (await api.get("/api/auth/sessions/", token=here)).json()["count"] == 1
    problem(await api("DELETE", f"/api/auth/sessions/{other}/", token=here), 404, "session-not-found")


async def test_the_present_session_can_be_ended(api: Api) -> None:
    token = await api.joined()
    (present,) = (await api.get("/api/auth/sessions/", token=token)).json()["results"]
    assert (await api("DELETE", f"/api/auth/sessions/{present['id']}/", token=token)).status_code == 204
    await refuses(api, access=token)


async def test_somebody_elses_session_is_not_there(api: Api) -> None:
    alice, bob = await api.joined(), await api.joined("bob")
    (session,) = (await api.get("/api/auth/sessions/", token=bob)).json()["results"]
    problem(await api("DELETE", f"/api/auth/sessions/{session['id']}/", token=alice), 404, "session-not-found")
    assert (await api.get(ME, token=bob)).status_code == 200


async def test_all_other_sessions_can_be_ended_at_once(api: Api) -> None:
    here, bob = await api.joined(), await api.joined("bob")
    others = [await api.sign_in() for _ in range(3)]
    answer = await api("DELETE", "/api/auth/sessions/", token=here)
    assert (answer.status_code, answer.content) == (204, b"")
    for other in others:
        await refuses(api, access=other["access"], refresh=other["refresh"])
    assert (await api.get("/api/auth/sessions/", token=here)).json()["count"] == 1
    assert (await api.get(ME, token=bob)).status_code == 200


async def test_lifetimes_are_settings(api: Api) -> None:
    async with api_in_memory(access_token_ttl=10, refresh_token_ttl=60, session_ttl=90) as short:
        tokens = await short.tokens()
        assert tokens["expires_in"] == 10
        short.clock.advance(seconds=10)
        await refuses(short, access=tokens["access"])
        tokens = await refreshed(short, tokens["refresh"])
        short.clock.advance(seconds=59)
        tokens = await refreshed(short, tokens["refresh"])
        short.clock.advance(seconds=21)  # the 90 seconds of the whole session are over
        await refuses(short, refresh=tokens["refresh"])
