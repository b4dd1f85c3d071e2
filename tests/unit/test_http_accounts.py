"""Accounts over HTTP: registration, profile, password, and the end of an account."""

from typing import Any

import pytest

from tests.api import PASSWORD, Api, fields, problem

USER = {
    "id",
    "username",
    "email",
    "first_name",
    "last_name",
    "bio",
    "profile_picture",
    "created_at",
    "updated_at",
}
ALICE: dict[str, Any] = {"username": "alice", "email": "alice@example.org", "password": PASSWORD}

WRONG = [
    ("username", "al"),
    ("username", "a" * 151),
    ("username", "al ice"),
    ("username", "al/ice"),
    ("username", "alice\0"),
    ("username", "alice\u200b"),
    ("email", "alice"),
    ("email", "alice@"),
    ("email", "alice@localhost"),
    ("email", "a@b@example.org"),
    ("email", "a" * 250 + "@example.org"),
    ("email", "alice@exa\0mple.org"),
    ("password", "2short!"),
    ("password", "p" * 257),
    ("password", "password123"),
    ("password", "PASSWORD123"),
    ("password", "with a \0 NUL"),
    ("password", "xx Alice xx"),
    ("password", "ALICE@EXAMPLE.ORG"),
    ("first_name", "line\nbreak"),
    ("last_name", "\x7f"),
    ("bio", "bell\x07"),
    ("profile_picture", "javascript:alert(1)"),
    ("profile_picture", "https://" + "a" * 500 + ".example"),
    ("profile_picture", "https://a.example/ b"),
    ("password_confirm", "a long enough phrasE"),
]


async def test_registration_answers_201_with_a_message_and_the_user(api: Api) -> None:
    answer = await api.post("/api/auth/users/", ALICE)
    assert answer.status_code == 201
    assert answer.json().keys() == {"message", "user"}
    user = answer.json()["user"]
    assert user.keys() == USER
    assert (user["username"], user["email"]) == ("alice", "alice@example.org")
    assert (user["first_name"], user["last_name"], user["bio"], user["profile_picture"]) == ("", "", None, None)
    assert user["created_at"] == user["updated_at"] == api.clock.now().isoformat().replace("+00:00", "Z")


async def test_registration_keeps_every_optional_field(api: Api) -> None:
    more = {"first_name": "Ada", "last_name": "L", "bio": "One\nTwo", "profile_picture": "https://a.example/p.png"}
    user = await api.register(password_confirm=PASSWORD, **more)
    assert {name: user[name] for name in more} == more


async def test_an_optional_field_may_be_null(api: Api) -> None:
    optional = ("first_name", "last_name", "bio", "profile_picture", "password_confirm")
    answer = await api.post("/api/auth/users/", ALICE | dict.fromkeys(optional))
    assert answer.status_code == 201
    assert (answer.json()["user"]["first_name"], answer.json()["user"]["bio"]) == ("", None)


async def test_every_fault_of_a_registration_is_told_at_once(api: Api) -> None:
    account = {
        "username": "a b",
        "email": "nowhere",
        "password": "short",
        "password_confirm": "other",
        "first_name": 5,
        "last_name": "x" * 151,
        "bio": "x" * 2_001,
        "profile_picture": "http://a.example/p.png",
        "is_staff": True,
    }
    assert fields(await api.post("/api/auth/users/", account)).keys() == account.keys()


async def test_a_field_that_breaks_its_rule_is_named(api: Api) -> None:
    for field, value in WRONG:
        named = fields(await api.post("/api/auth/users/", ALICE | {field: value})).keys()
        assert named == {field}, (field, value)


async def test_a_username_is_letters_digits_and_a_few_signs(api: Api) -> None:
    names = ["abc", "a" * 150, "al.ice@home+1_x-y", "Ünïcødé", "алиса", "小明小"]
    for number, username in enumerate(names):
        assert (await api.register(username, email=f"a{number}@example.org"))["username"] == username


async def test_a_username_is_normalised(api: Api) -> None:
    assert (await api.register("ｂｏｂ", email="b@example.org"))["username"] == "bob"


async def test_a_username_is_taken_in_any_case_and_by_its_look_alikes(api: Api) -> None:
    await api.register()
    for username in ("ALICE", "Alice", "ａｌｉｃｅ"):
        answer = await api.post("/api/auth/users/", ALICE | {"username": username, "email": "other@example.org"})
        assert fields(answer) == {"username": "taken"}


async def test_an_address_is_taken_in_any_case(api: Api) -> None:
    await api.register()
    answer = await api.post("/api/auth/users/", ALICE | {"username": "bob", "email": "Alice@Example.ORG"})
    assert fields(answer) == {"email": "taken"}


async def test_a_taken_name_and_a_taken_address_are_told_together(api: Api) -> None:
    await api.register()
    assert fields(await api.post("/api/auth/users/", ALICE)) == {"username": "taken", "email": "taken"}


async def test_nobody_takes_somebody_elses_address_for_a_name(api: Api) -> None:
    answer = await api.post("/api/auth/users/", ALICE | {"username": "bob@example.org"})
    assert fields(answer).keys() == {"username"}


async def test_registration_takes_no_field_that_it_does_not_know(api: Api) -> None:
    for field in ("is_staff", "is_superuser", "id", "is_active", "created_at", "x" * 70):
        assert fields(await api.post("/api/auth/users/", ALICE | {field: 1})) == {field[:64]: "unknown"}


async def test_a_password_is_counted_after_normalisation_and_as_long_as_it_is(api: Api) -> None:
    long = "é" * 128  # 256 bytes and more than bcrypt reads
    await api.register(password=long)
    await api.sign_in(password="e\u0301" * 128)  # the same password, typed on another keyboard
    wrong = {"username": "alice", "password": long[:-1]}
    problem(await api.post("/api/auth/token/", wrong), 401, "bad-credentials")


async def test_me_is_the_caller(api: Api) -> None:
    token = await api.joined()
    answer = await api.get("/api/auth/users/me/", token=token)
    assert answer.status_code == 200
    assert answer.json().keys() == USER
    assert answer.json()["username"] == "alice"


async def test_staff_see_their_rights(api: Api) -> None:
    me = await api.get("/api/auth/users/me/", token=await api.superuser())
    assert me.json().keys() == USER | {"is_staff", "is_superuser"}
    assert me.json()["is_staff"] is me.json()["is_superuser"] is True


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_profile_changes_in_what_is_named_alone(api: Api, method: str) -> None:
    await api.register(first_name="Ada", bio="Hello")
    token = (await api.sign_in())["access"]
    api.clock.advance(seconds=60)
    change = {"last_name": "Lovelace", "email": "ada@example.org", "profile_picture": "https://a.example/a.png"}
    answer = await api(method, "/api/auth/users/update_profile/", change, token=token)
    assert answer.status_code == 200
    assert answer.json().keys() == {"message", "user"}
    user = answer.json()["user"]
    assert user.keys() == USER
    assert {name: user[name] for name in change} == change
    assert (user["first_name"], user["bio"]) == ("Ada", "Hello")
    assert user["updated_at"] > user["created_at"]
    assert (await api.get("/api/auth/users/me/", token=token)).json() == user
    await api.sign_in("ada@example.org")


@pytest.mark.parametrize("nothing", [None, ""])
async def test_a_bio_and_a_picture_can_be_taken_away(api: Api, nothing: str | None) -> None:
    await api.register(bio="Hello", profile_picture="https://a.example/a.png")
    token = (await api.sign_in())["access"]
    change = {"bio": nothing, "profile_picture": nothing}
    user = (await api("PATCH", "/api/auth/users/update_profile/", change, token=token)).json()["user"]
    assert (user["bio"], user["profile_picture"]) == (None, None)


async def test_a_profile_body_changes_nothing_but_the_profile(api: Api) -> None:
    token = await api.joined()
    for field in ("is_staff", "is_superuser", "is_active", "id", "password", "username", "created_at"):
        change = {"first_name": "Eve", field: 1}
        answer = await api("PATCH", "/api/auth/users/update_profile/", change, token=token)
        assert fields(answer) == {field: "unknown"}
    assert (await api.get("/api/auth/users/me/", token=token)).json()["first_name"] == ""


async def test_every_fault_of_a_profile_is_told_at_once(api: Api) -> None:
    token = await api.joined()
    change = {"first_name": None, "last_name": "x" * 151, "bio": 7, "profile_picture": "ftp://a", "email": "x"}
    assert fields(await api("PUT", "/api/auth/users/update_profile/", change, token=token)).keys() == change.keys()


async def test_an_address_that_is_taken_stays_where_it_is(api: Api) -> None:
    await api.register("bob")
    token = await api.joined()
    answer = await api("PATCH", "/api/auth/users/update_profile/", {"email": "BOB@example.org"}, token=token)
    assert fields(answer) == {"email": "taken"}


async def test_a_new_password_ends_every_session(api: Api) -> None:
    access = await api.joined()
    other = await api.sign_in()
    change = {"current_password": PASSWORD, "new_password": "another good phrase"}
    answer = await api.post("/api/auth/users/change_password/", change, token=access)
    assert (answer.status_code, answer.content) == (204, b"")
    for token in (access, other["access"]):
        problem(await api.get("/api/auth/users/me/", token=token), 401, "invalid-token")
    problem(await api.post("/api/auth/token/refresh/", {"refresh": other["refresh"]}), 401, "invalid-token")
    problem(await api.post("/api/auth/token/", {"username": "alice", "password": PASSWORD}), 401, "bad-credentials")
    await api.sign_in(password="another good phrase")


async def test_a_password_changes_for_who_knows_it_alone(api: Api) -> None:
    token = await api.joined()
    change = {"current_password": "a wrong phrase", "new_password": "another good phrase"}
    answer = await api.post("/api/auth/users/change_password/", change, token=token)
    assert fields(answer).keys() == {"current_password"}
    await api.sign_in()


async def test_a_new_password_obeys_the_rules(api: Api) -> None:
    token = await api.joined()
    for password in ("short", "password123", "my name is alice", "alice@example.org", "x" * 257, "with a \0 NUL"):
        change = {"current_password": PASSWORD, "new_password": password}
        answer = await api.post("/api/auth/users/change_password/", change, token=token)
        assert fields(answer).keys() == {"new_password"}


async def test_an_account_ends_with_everything_that_is_its_own(api: Api) -> None:
    tokens = await api.tokens()
    answer = await api("DELETE", "/api/auth/users/me/", {"password": PASSWORD}, token=tokens["access"])
    assert (answer.status_code, answer.content) == (204, b"")
    problem(await api.get("/api/auth/users/me/", token=tokens["access"]), 401, "invalid-token")
    problem(await api.get("/api/movies/", token=tokens["access"]), 401, "invalid-token")
    problem(await api.post("/api/auth/token/refresh/", {"refresh": tokens["refresh"]}), 401, "invalid-token")
    await api.register()  # the name and the address are free again
    mine = await api.get("/api/movies/ratings/my_ratings/", token=(await api.sign_in())["access"])
    assert mine.json()["count"] == 0


async def test_an_account_ends_for_who_knows_its_password_alone(api: Api) -> None:
    token = await api.joined()
    answer = await api("DELETE", "/api/auth/users/me/", {"password": "a wrong phrase"}, token=token)
    assert fields(answer).keys() == {"password"}
    assert (await api.get("/api/auth/users/me/", token=token)).status_code == 200


async def test_registration_ignores_an_authorization(api: Api) -> None:
    assert (await api.post("/api/auth/users/", ALICE, token="nonsense")).status_code == 201
