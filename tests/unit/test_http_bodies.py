"""Bodies that clients should not send, and those that they may."""

from collections.abc import AsyncIterator
from typing import Any

from tests.api import PASSWORD, Api, fields, film, problem

TOKEN = "/api/auth/token/"
JSON = {"Content-Type": "application/json"}


async def calls_with_a_body(api: Api) -> list[tuple[str, str, str]]:
    """Method, path and token of every call that reads a body."""
    (movie,), token = await api.knows(film(1)), await api.joined()
    await api.post(f"/api/movies/{movie}/rate/", {"rating": 5}, token=token)
    return [
        ("POST", "/api/auth/users/", ""),
        ("POST", "/api/auth/token/", ""),
        ("POST", "/api/auth/token/refresh/", ""),
        ("POST", "/api/auth/token/verify/", ""),
        ("POST", "/api/auth/token/revoke/", ""),
        ("POST", "/api/auth/token/blacklist/", ""),
        ("PUT", "/api/auth/users/update_profile/", token),
        ("PATCH", "/api/auth/users/update_profile/", token),
        ("POST", "/api/auth/users/change_password/", token),
        ("DELETE", "/api/auth/users/me/", token),
        ("PATCH", "/api/auth/users/1/", await api.superuser()),
        ("POST", f"/api/movies/{movie}/rate/", token),
        ("PUT", f"/api/movies/{movie}/rate/", token),
        ("PATCH", f"/api/movies/{movie}/rate/", token),
    ]


BROKEN = {
    "nothing": b"",
    "null": b"null",
    "an array": b"[]",
    "a string": b'"rating"',
    "a number": b"5",
    "cut short": b'{"username": "al',
    "two values": b"{}{}",
    "not UTF-8": b'{"username": "\xff\xfe"}',
    "UTF-16": '{"username": "alice"}'.encode("utf-16"),
    "half a character": b'{"username": "\xe2\x82"}',
    "a lone surrogate": b'{"username": "\\ud800"}',
    "an encoded surrogate": b'{"username": "\xed\xa0\x80"}',
    "a raw NUL": b'{"username": "\0"}',
    "a raw line break": b'{"username": "a\nb"}',
    "nested arrays": b"[" * 60_000,
    "nested objects": b'{"a":' * 10_000,
    "nested in a field": b'{"username": ' + b"[" * 60_000,
    "no number": b'{"rating": NaN}',
    "no machine's number": b'{"rating": 1e400}',
    "single quotes": b"{'rating': 5}",
    "a trailing comma": b'{"rating": 5,}',
    "a comment": b'{"rating": 5} // good',
}


async def test_a_broken_body_is_400_on_every_call(api: Api) -> None:
    for method, path, token in await calls_with_a_body(api):
        for name, body in BROKEN.items():
            answer = await api(method, path, token=token or None, content=body, headers=JSON)
            assert (answer.status_code, path, name) == (400, path, name)
            problem(answer, 400, "invalid-request")


async def test_an_unknown_field_is_named_on_every_call(api: Api) -> None:
    for method, path, token in await calls_with_a_body(api):
        answer = await api(method, path, {"nonsense": 1}, token=token or None)
        assert fields(answer)["nonsense"] == "unknown", path


async def test_what_is_missing_is_named(api: Api) -> None:
    token = await api.superuser()
    for method, path, missing in (
        ("POST", "/api/auth/users/", {"username", "email", "password"}),
        ("POST", "/api/auth/token/", {"username", "password"}),
        ("POST", "/api/auth/token/refresh/", {"refresh"}),
        ("POST", "/api/auth/token/verify/", {"token"}),
        ("POST", "/api/auth/token/revoke/", {"refresh"}),
        ("POST", "/api/auth/users/change_password/", {"current_password", "new_password"}),
        ("DELETE", "/api/auth/users/me/", {"password"}),
        ("PATCH", "/api/auth/users/1/", {"is_active", "is_staff"}),
        ("POST", "/api/movies/1/rate/", {"rating"}),
    ):
        assert fields(await api(method, path, {}, token=token)) == dict.fromkeys(missing, "required")


async def test_a_value_of_another_type_is_named(api: Api) -> None:
    values: tuple[Any, ...] = (None, 5, 5.0, True, [], {}, ["alice"])
    for value in values:
        answer = await api.post(TOKEN, {"username": value, "password": value})
        assert fields(answer) == {"username": "type", "password": "type"}


async def test_text_that_no_database_holds_is_refused_everywhere(api: Api) -> None:
    token = await api.joined()
    for escaped in (b"\\u0000", b"a\\u0000b", b"\\u001b[31m", b"\\u0085"):
        body = b'{"username": "%b", "password": "%b"}' % (escaped, escaped)
        assert (await api("POST", TOKEN, content=body, headers=JSON)).status_code == 401
        body = b'{"first_name": "%b", "bio": "%b", "email": "%b@example.org"}' % (escaped, escaped, escaped)
        answer = await api("PATCH", "/api/auth/users/update_profile/", token=token, content=body, headers=JSON)
        assert fields(answer).keys() == {"first_name", "bio", "email"}
        for name in (b"refresh", b"nonsense" + escaped):
            body = b'{"%b": "%b"}' % (name, escaped)
            answer = await api("POST", f"{TOKEN}refresh/", content=body, headers=JSON)
            assert answer.status_code in (400, 401)
        body = b'{"current_password": "%b", "new_password": "%b 12345678"}' % (escaped, escaped)
        answer = await api("POST", "/api/auth/users/change_password/", token=token, content=body, headers=JSON)
        assert answer.status_code == 400


async def test_another_kind_of_body_is_415_on_every_call(api: Api) -> None:
    for method, path, token in await calls_with_a_body(api):
        for kind in (
            "text/plain",
            "application/xml",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "nonsense",
        ):
            answer = await api(method, path, token=token or None, content=b"{}", headers={"Content-Type": kind})
            problem(answer, 415, "unsupported-media-type")
        form = await api(method, path, token=token or None, data={"username": "alice"})
        if path == TOKEN:
            assert fields(form) == {"password": "required"}
        else:
            problem(form, 415, "unsupported-media-type")


async def test_json_is_json_by_many_names_and_in_utf_8_alone(api: Api) -> None:
    await api.register()
    body = b'{"username": "alice", "password": "%b"}' % PASSWORD.encode()
    for kind in (
        "application/json",
        "APPLICATION/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/vnd.api+json",
    ):
        assert (await api("POST", TOKEN, content=body, headers={"Content-Type": kind})).status_code == 200
    for charset in ("latin-1", "utf-16", "shift_jis"):
        headers = {"Content-Type": f"application/json; charset={charset}"}
        problem(await api("POST", TOKEN, content=body, headers=headers), 415, "unsupported-media-type")
    assert (await api("POST", TOKEN, content=body)).status_code == 200  # without a type it is JSON


async def test_a_form_is_read_as_strictly(api: Api) -> None:
    await api.register()
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    for form, named in (
        (b"", {"username": "required", "password": "required"}),
        (b"username=alice", {"password": "required"}),
        (b"username=alice&password=x&scope=all", {"scope": "unknown"}),
        (b"username=%FF&password=x", {}),
        (b"username=%ED%A0%80&password=x", {}),
        (b"&".join(b"a%d=1" % n for n in range(300)), {}),
    ):
        assert fields(await api("POST", TOKEN, content=form, headers=headers)) == named
    good = b"username=alice&password=" + PASSWORD.replace(" ", "+").encode()
    assert (await api("POST", TOKEN, content=good, headers=headers)).status_code == 200


async def test_a_body_may_come_in_pieces(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in b'{"username": "nobody", "password": "x"}':
            yield bytes([byte])

    problem(await api("POST", TOKEN, content=pieces()), 401, "bad-credentials")


async def test_of_a_thousand_faults_twenty_are_named(api: Api) -> None:
    assert len(fields(await api.post(TOKEN, {f"field{number}": 1 for number in range(1_000)}))) == 20


async def test_a_field_given_twice_is_named(api: Api) -> None:
    twice = b'{"username": "alice", "password": "x", "username": "bob"}'
    assert fields(await api("POST", TOKEN, content=twice, headers=JSON)) == {"username": "repeated"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await api("POST", TOKEN, content=b"username=a&password=x&password=y", headers=form)
    assert fields(answer) == {"password": "repeated"}


async def test_a_name_of_a_field_is_shown_as_far_as_it_is_sane(api: Api) -> None:
    answer = await api.post(TOKEN, {"x" * 10_000: 1, "\u0000<script>": 2, "username": "a", "password": "b"})
    assert fields(answer).keys() == {"x" * 64, "\u0000<script>"}
    assert len(answer.content) < 2_000
