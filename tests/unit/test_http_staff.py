"""What staff do over HTTP: look after accounts, read the audit trail, empty the cache."""

from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from tests.api import PASSWORD, Api, api_in_memory, fields, film, problem

USERS, AUDIT, FLUSH, ME = "/api/auth/users/", "/api/auth/audit/", "/api/admin/cache/flush/", "/api/auth/users/me/"
RIGHTS = {"is_active", "is_staff", "is_superuser"}
USER = {
    *("id", "username", "email", "first_name", "last_name", "bio", "profile_picture"),
    *("created_at", "updated_at"),
}
ENTRY = {"id", "at", "event", "user_id", "actor_id", "address", "detail"}
ANOTHER = "another good phrase"


async def names(api: Api, token: str, query: str = "") -> list[str]:
    """The usernames on a page of accounts."""
    answer = await api.get(USERS + query, token=token)
    assert answer.status_code == 200, answer.text
    return [user["username"] for user in answer.json()["results"]]


async def govern(api: Api, token: str, user_id: int, **rights: Any) -> httpx.Response:
    return await api("PATCH", f"{USERS}{user_id}/", rights, token=token)


async def staff(api: Api, root: str, username: str = "sigourney") -> tuple[int, str]:
    """Id and access token of somebody whom a superuser made staff."""
    user_id = (await api.register(username))["id"]
    assert (await govern(api, root, user_id, is_staff=True)).status_code == 200
    return user_id, (await api.sign_in(username))["access"]


async def trail(api: Api, token: str, query: str = "") -> list[dict[str, Any]]:
    """The newest entries of the audit trail, newest first."""
    answer = await api.get(f"{AUDIT}?page_size=100{query}", token=token)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def test_staff_see_accounts_with_their_rights_and_no_more(api: Api) -> None:
    root = await api.superuser()
    alice = await api.register(bio="Hello")
    _, token = await staff(api, root)
    for path in (f"{USERS}?search=alice", f"{USERS}{alice['id']}/"):
        answer = await api.get(path, token=token)
        seen = answer.json()["results"][0] if "search" in path else answer.json()
        assert seen == {**alice, "is_active": True, "is_staff": False, "is_superuser": False}
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers


async def test_accounts_are_listed_newest_first_page_by_page(api: Api) -> None:
    root = await api.superuser()
    for number in range(5):
        await api.register(f"person{number}")
    assert await names(api, root) == ["person4", "person3", "person2", "person1", "person0", "root"]
    page = (await api.get(f"{USERS}?search=person&page_size=2&page=2", token=root)).json()
    assert (page["count"], page["page"], page["page_size"], page["total_pages"]) == (5, 2, 2, 3)
    assert page["next"] == f"http://hub.test{USERS}?search=person&page_size=2&page=3"
    assert page["previous"] == f"http://hub.test{USERS}?search=person&page_size=2"
    assert [user["username"] for user in page["results"]] == ["person2", "person1"]
    problem(await api.get(f"{USERS}?page=2", token=root), 404, "no-such-page")


async def test_accounts_are_found_by_any_part_of_name_or_address_in_any_case(api: Api) -> None:
    root = await api.superuser()
    await api.register("alice", email="liddell@wonderland.example")
    await api.register("bob_1", email="100%@example.org")
    await api.register("zoë", email="z@example.org")
    for search, found in (
        ("LIC", ["alice"]),
        ("wonder", ["alice"]),
        ("dell@w", ["alice"]),
        ("Example.ORG", ["zoë", "bob_1", "root"]),
        ("_", ["bob_1"]),
        ("0%25", ["bob_1"]),
        ("%25", ["bob_1"]),
        ("%5C", []),
        ("ZOË", ["zoë"]),
        ("nobody", []),
        ("' OR 1=1 --", []),
        ("", ["zoë", "bob_1", "alice", "root"]),
    ):
        assert (await names(api, root, f"?search={search}"), search) == (found, search)


async def test_a_search_is_one_line_of_bounded_length(api: Api) -> None:
    root = await api.superuser()
    for search in ("x" * 255, "a%00b", "a%0Ab", "%7F"):
        assert fields(await api.get(f"{USERS}?search={search}", token=root)).keys() == {"search"}
    assert await names(api, root, "?search=" + "x" * 254) == []


async def test_an_account_that_is_not_there_is_404(api: Api) -> None:
    root = await api.superuser()
    for missing in ("77", str(2**63 - 1)):
        problem(await api.get(f"{USERS}{missing}/", token=root), 404, "user-not-found")
        problem(await govern(api, root, int(missing), is_active=False), 404, "user-not-found")


async def test_a_change_of_rights_names_one_of_them_at_least(api: Api) -> None:
    root, alice = await api.superuser(), await api.register()
    assert fields(await govern(api, root, alice["id"])) == {"is_active": "required", "is_staff": "required"}
    values: tuple[Any, ...] = (None, 0, 1, "true", [], {})
    for value in values:
        rights = {"is_active": value, "is_staff": value}
        assert fields(await govern(api, root, alice["id"], **rights)) == dict.fromkeys(rights, "type")
    for field in ("is_superuser", "id", "password", "username", "email", "first_name", "created_at"):
        change = {"is_active": False, field: True}
        assert fields(await govern(api, root, alice["id"], **change)) == {field: "unknown"}
    now = (await api.get(f"{USERS}{alice['id']}/", token=root)).json()
    assert {name: now[name] for name in RIGHTS} == {"is_active": True, "is_staff": False, "is_superuser": False}


async def test_who_is_kept_out_loses_every_session_at_once_and_comes_in_again_when_let(api: Api) -> None:
    root = await api.superuser()
    _, token = await staff(api, root)
    alice = await api.register()
    here, there = await api.sign_in(), await api.sign_in()
    api.clock.advance(seconds=60)
    answer = await govern(api, token, alice["id"], is_active=False)
    assert (answer.status_code, answer.json().keys()) == (200, USER | RIGHTS)
    assert answer.json()["is_active"] is False
    assert answer.json()["updated_at"] > alice["updated_at"]
    for tokens in (here, there):
        problem(await api.get(ME, token=tokens["access"]), 401, "invalid-token")
        problem(await api.get("/api/movies/", token=tokens["access"]), 401, "invalid-token")
        problem(await api.post("/api/auth/token/refresh/", {"refresh": tokens["refresh"]}), 401, "invalid-token")
    problem(await api.post("/api/auth/token/", {"username": "alice", "password": PASSWORD}), 401, "bad-credentials")

    answer = await govern(api, token, alice["id"], is_active=True)
    assert answer.json()["is_active"] is True
    for tokens in (here, there):  # what has ended stays ended
        problem(await api.get(ME, token=tokens["access"]), 401, "invalid-token")
    assert (await api.get(ME, token=(await api.sign_in())["access"])).status_code == 200


async def test_staff_govern_people_alone(api: Api) -> None:
    root = await api.superuser()
    own_id, token = await staff(api, root)
    colleague, _ = await staff(api, root, "winona")
    alice = (await api.register())["id"]
    root_id = (await api.get(ME, token=root)).json()["id"]
    for user_id, rights in (
        (colleague, {"is_active": False}),
        (root_id, {"is_active": False}),
        (own_id, {"is_active": False}),
        (own_id, {"is_staff": True}),
        (own_id, {"is_staff": False}),
        (alice, {"is_staff": True}),
        (alice, {"is_staff": False}),
        (alice, {"is_active": False, "is_staff": True}),
    ):
        problem(await govern(api, token, user_id, **rights), 403, "forbidden")
    listed = (await api.get(USERS, token=root)).json()["results"]
    assert [(user["id"], user["is_active"], user["is_staff"]) for user in listed] == [
        (alice, True, False),
        (colleague, True, True),
        (own_id, True, True),
        (root_id, True, True),
    ]


async def test_a_superuser_governs_staff_and_superusers_but_not_themselves(api: Api) -> None:
    root, other = await api.superuser(), await api.superuser("ash")
    root_id, other_id = [(await api.get(ME, token=token)).json()["id"] for token in (root, other)]
    for rights in ({"is_active": False}, {"is_active": True}, {"is_staff": False}, {"is_staff": True}):
        problem(await govern(api, root, root_id, **rights), 403, "forbidden")
    assert fields(await govern(api, root, other_id, is_staff=False)) == {"is_staff": "superuser"}
    assert (await govern(api, root, other_id, is_active=False)).json()["is_active"] is False
    problem(await api.get(ME, token=other), 401, "invalid-token")

    alice = (await api.register())["id"]
    for is_staff in (True, False):
        changed = (await govern(api, root, alice, is_staff=is_staff)).json()
        assert (changed["is_staff"], changed["is_superuser"], changed["is_active"]) == (is_staff, False, True)


async def test_every_act_is_on_the_trail_with_who_did_it_from_where() -> None:
    async with api_in_memory(trusted_proxies=("127.0.0.1",)) as api:
        root = await api.superuser()
        root_id = (await api.get(ME, token=root)).json()["id"]
        hosts = iter(range(1, 99))
        seen: list[str] = []

        async def act(method: str, path: str, body: Any = None, token: str | None = None) -> httpx.Response:
            seen.append(f"203.0.113.{next(hosts)}")
            return await api(method, path, body, token=token, headers={"X-Forwarded-For": seen[-1]})

        account = {"username": "alice", "email": "alice@example.org", "password": PASSWORD}
        alice = (await act("POST", USERS, account)).json()["user"]["id"]
        await act("POST", "/api/auth/token/", {"username": "alice", "password": "wrong"})
        await act("POST", "/api/auth/token/", {"username": "nobody", "password": "wrong"})
        signed_in = (await act("POST", "/api/auth/token/", {"username": "alice", "password": PASSWORD})).json()
        access, refresh = signed_in["access"], {"refresh": signed_in["refresh"]}
        await act("PATCH", "/api/auth/users/update_profile/", {"email": "al@example.org"}, access)
        change = {"current_password": "wrong", "new_password": ANOTHER}
        await act("POST", "/api/auth/users/change_password/", change, access)
        await act("DELETE", ME, {"password": "wrong"}, access)
        await api.post("/api/auth/token/refresh/", refresh)
        api.clock.advance(seconds=11)
        await act("POST", "/api/auth/token/refresh/", refresh)
        access = (await act("POST", "/api/auth/token/", {"username": "alice", "password": PASSWORD})).json()["access"]
        change = {"current_password": PASSWORD, "new_password": ANOTHER}
        await act("POST", "/api/auth/users/change_password/", change, access)
        for rights in ({"is_active": False}, {"is_active": True}, {"is_staff": True}, {"is_staff": False}):
            await act("PATCH", f"{USERS}{alice}/", rights, root)
        await act("POST", FLUSH, token=root)
        access = (await act("POST", "/api/auth/token/", {"username": "alice", "password": ANOTHER})).json()["access"]
        await act("DELETE", ME, {"password": ANOTHER}, access)

        root = (await api.sign_in("root"))["access"]
        entries = [each for each in await trail(api, root) if each["address"].startswith("203.")][::-1]
        assert all(entry.keys() == ENTRY for entry in entries)
        assert [entry["address"] for entry in entries] == seen
        assert [(each["event"], each["user_id"], each["actor_id"], each["detail"]) for each in entries] == [
            ("registration", alice, alice, ""),
            ("failed_sign_in", alice, None, "wrong password"),
            ("failed_sign_in", None, None, "no such account"),
            ("sign_in", alice, alice, ""),
            ("email_change", alice, alice, ""),
            ("failed_sign_in", alice, alice, "wrong password for a change of password"),
            ("failed_sign_in", alice, alice, "wrong password for a deletion"),
            ("refresh_reuse", alice, None, ""),
            ("sign_in", alice, alice, ""),
            ("password_change", alice, alice, ""),
            ("deactivation", alice, root_id, ""),
            ("activation", alice, root_id, ""),
            ("role_change", alice, root_id, "made staff"),
            ("role_change", alice, root_id, "staff no more"),
            ("cache_flush", None, root_id, ""),
            ("sign_in", alice, alice, ""),
            ("deletion", alice, alice, ""),
        ]


async def test_what_changes_nothing_is_not_on_the_trail(api: Api) -> None:
    root, alice = await api.superuser(), await api.register()
    before = await trail(api, root)
    answer = await govern(api, root, alice["id"], is_active=True, is_staff=False)
    assert (answer.status_code, answer.json()["updated_at"]) == (200, alice["updated_at"])
    problem(await govern(api, await api.joined("bob"), alice["id"], is_active=False), 403, "forbidden")
    assert [each["event"] for each in await trail(api, root)][: -len(before)] == ["sign_in", "registration"]


async def test_the_trail_is_narrowed_to_an_account_and_an_event(api: Api) -> None:
    root = await api.superuser()
    alice, bob = await api.register(), await api.register("bob")
    for _ in range(3):
        await api.sign_in("bob")
    await govern(api, root, bob["id"], is_active=False)
    of_bob = await trail(api, root, f"&user={bob['id']}")
    assert [each["event"] for each in of_bob] == ["deactivation", *["sign_in"] * 3, "registration"]
    assert [each["id"] for each in of_bob] == sorted((each["id"] for each in of_bob), reverse=True)
    joined = await trail(api, root, "&event=registration")
    assert [each["user_id"] for each in joined] == [bob["id"], alice["id"], 1]
    assert len(await trail(api, root, f"&event=sign_in&user={bob['id']}")) == 3
    assert await trail(api, root, f"&event=sign_in&user={alice['id']}") == []
    last = of_bob[1]["id"]
    assert await trail(api, root, f"&user={bob['id']}&before={last}") == of_bob[2:]
    rest = (await api.get(f"{AUDIT}?before={last}&page_size=2", token=root)).json()
    assert f"before={last}" in rest["next"]
    page = (await api.get(f"{AUDIT}?user={bob['id']}&page_size=2&page=2", token=root)).json()
    assert (page["count"], page["total_pages"], [each["event"] for each in page["results"]]) == (5, 3, ["sign_in"] * 2)


async def test_a_filter_of_the_trail_that_cannot_be_is_named(api: Api) -> None:
    root = await api.superuser()
    for user in ("0", "-1", "alice", "1.0", "", "9" * 40):
        for name in ("user", "before"):
            assert fields(await api.get(f"{AUDIT}?{name}={user}", token=root)).keys() == {name}
    for event in ("", "SIGN_IN", "sign-in", "nonsense", "sign_in%00", "x" * 5_000):
        answer = await api.get(f"{AUDIT}?event={event}", token=root)
        assert fields(answer) == {"event": "unknown"}
        assert len(answer.content) < 1_000


async def test_the_trail_never_holds_what_was_typed(api: Api) -> None:
    root = await api.superuser()
    await api.register()
    for username in ("alice", "alice@example.org", "hunter2 hunter2", "hunter2@example.org"):
        await api.post("/api/auth/token/", {"username": username, "password": "hunter2 hunter2"})
    token = (await api.sign_in())["access"]
    await api("DELETE", ME, {"password": "hunter2 hunter2"}, token=token)
    answer = await api.get(AUDIT, token=root)
    assert answer.json()["count"] > 5
    assert "hunter2" not in answer.text
    assert "alice" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", [USERS, f"{USERS}1/", AUDIT])
async def test_staff_alone_read_what_is_for_staff(api: Api, path: str) -> None:
    root, token = await api.superuser(), await api.joined()
    problem(await api.get(path), 401, "unauthenticated")
    refused = await api.get(path, token=token)
    assert "example.org" not in refused.text
    problem(refused, 403, "forbidden")
    assert (await api.get(path, token=root)).status_code == 200


async def test_a_flush_empties_the_cache(api: Api) -> None:
    root = await api.superuser()
    api.catalogue.films.append(film(1))

    async def state() -> str:
        status: str = (await api.get("/api/movies/popular/", token=root)).headers["cache-status"]
        return status

    assert [await state(), await state()] == ["moviehub; fwd=miss; stored", "moviehub; hit"]
    problem(await api.post(FLUSH, token=await api.joined()), 403, "forbidden")
    assert await state() == "moviehub; hit"
    answer = await api.post(FLUSH, token=root)
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (204, b"", "no-store")
    api.clock.advance(seconds=1)  # so long a worker may go on with a page that it has just made
    assert await state() == "moviehub; fwd=miss; stored"
    (entry,) = await trail(api, root, "&event=cache_flush")
    assert (entry["actor_id"], entry["user_id"], entry["address"]) == (1, None, "127.0.0.1")


async def test_who_asks_for_what_they_have_no_right_to_is_in_the_logs(api: Api) -> None:
    person = await api.register("alice")
    token = (await api.sign_in("alice"))["access"]
    with capture_logs() as logs:
        problem(await api("PATCH", "/api/auth/users/17/", {"is_staff": True}, token=token), 403, "forbidden")
    told = [log for log in logs if log["event"] == "forbidden"]
    assert [(log["user_id"], log["address"], log["method"], log["route"]) for log in told] == [
        (person["id"], "127.0.0.1", "PATCH", "/api/auth/users/{user_id}")
    ]
