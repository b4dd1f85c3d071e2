"""Bodies that no honest client sends: each is refused in good form on every call, and nothing of it is kept."""

import json
import time

import pytest

from tests import promises
from tests.api import PASSWORD, Api
from tests.wire import BREAK, Wire, calls_with_a_body, refused

pytestmark = promises.hostile_input

JSON = (b"content-type", b"application/json")


@pytest.fixture
async def wire(api: Api) -> Wire:
    return await Wire.over(api)


BROKEN = {
    "nothing": b"",
    "a BOM": b"\xef\xbb\xbf{}",
    "null": b"null",
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"5",
    "two values": b"{}{}",
    "a half": b'{"rating": 5',
    "not UTF-8": b'{"x": "\xff\xfe"}',
    "overlong UTF-8": b'{"x": "\xc0\xaf"}',
    "UTF-16": '{"rating": 5}'.encode("utf-16"),
    "UTF-32": '{"rating": 5}'.encode("utf-32"),
    "a lone surrogate": b'{"x": "\\ud800"}',
    "a lone surrogate as a name": b'{"\\udfff": 1}',
    "a raw NUL": b'{"x": "\0"}',
    "deep arrays": b"[" * 60_000,
    "deep objects": b'{"x":' * 12_000,
    "deep and whole": b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "NaN": b'{"rating": NaN}',
    "Infinity": b'{"rating": -Infinity}',
    "1e400": b'{"rating": 1e400}',
    "many digits": b'{"rating": ' + b"9" * 60_000 + b"}",
    "a form": b"username=alice&password=x",
    "XML": b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>",
    "only spaces": b" " * 65_536,
}


async def test_a_body_that_is_no_object_in_json_is_400(wire: Wire) -> None:
    before = await wire.kept()
    for method, target, _ in calls_with_a_body():
        for name, body in BROKEN.items():
            answer = await wire(method, target, wire.signed, JSON, body=body)
            assert (refused(answer, 400)["status"], target, name) == (400, target, name)
    assert await wire.kept() == before


async def test_a_body_over_64_kib_is_413_with_and_without_a_length(wire: Wire) -> None:
    before = await wire.kept()
    for method, target, good in calls_with_a_body():
        body = json.dumps(good).encode().ljust(65_537)
        length = (b"content-length", b"%d" % len(body))
        refused(await wire(method, target, wire.signed, JSON, length, body=body), 413)
        refused(await wire(method, target, wire.signed, JSON, body=body), 413)
        refused(await wire(method, target, wire.signed, JSON, body=[body[:1_000], body[1_000:]]), 413)
    assert await wire.kept() == before


async def test_a_body_of_just_64_kib_is_read_and_answered_in_few_words(wire: Wire) -> None:
    before = await wire.kept()
    for method, target, good in calls_with_a_body():
        for name in ("x" * 9, *good):  # a field that nobody knows, and all of those that somebody does
            body = json.dumps({field: value for field, value in good.items() if field != name} | {name: ""})
            body = body[:-2] + "z" * (65_536 - len(body)) + body[-2:]
            answer = await wire(method, target, wire.signed, JSON, body=body.encode())
            assert len(answer.body) < 2_000
            assert b"z" * 100 not in b"".join((answer.body, *answer.headers.values()))
            if b"/token/" not in target or name not in good:  # nothing of a token or log-in is kept
                refused(answer, 400, field=name)
    whole = json.dumps({"username": "alice", "password": PASSWORD}).encode()
    assert (await wire("POST", b"/api/auth/token/", JSON, body=whole.ljust(65_536))).status == 200
    refused(await wire("POST", b"/api/auth/token/", JSON, body=whole.ljust(65_537)), 413)
    many = json.dumps({f"{number}": number for number in range(4_000)}).encode()
    assert len(refused(await wire("POST", b"/api/auth/token/", JSON, body=many), 400)["errors"]) == 20
    assert {**await wire.kept(), "sessions": None} == {**before, "sessions": None}


async def test_a_body_that_breaks_off_is_400(wire: Wire) -> None:
    before = await wire.kept()
    for method, target, good in calls_with_a_body():
        pieces = [json.dumps(good).encode(), BREAK]
        refused(await wire(method, target, wire.signed, JSON, body=pieces), 400)
    assert await wire.kept() == before


async def test_a_value_of_another_kind_is_400_and_named(wire: Wire) -> None:
    before = await wire.kept()
    for method, target, good in calls_with_a_body():
        for field, value in good.items():
            kinds = [[], {}, True, 5.5, -1, 2**64, 2**70, [value], {"$ne": None}]
            for other in [*kinds, "5" if isinstance(value, int) else 5]:
                if isinstance(other, bool) and isinstance(value, bool):
                    continue
                body = json.dumps(good | {field: other}).encode()
                refused(await wire(method, target, wire.signed, JSON, body=body), 400, field=field)
    assert await wire.kept() == before


async def test_text_that_is_none_is_400_and_named_where_it_would_be_kept(wire: Wire) -> None:
    before = await wire.kept()
    for method, target, good in calls_with_a_body():
        for field, value in good.items():
            for text in ("\0", f"{value}\0", "\x1b[31m", "\x7f", "\x85", "x" * 60_000):
                answer = await wire(method, target, wire.signed, JSON, body=json.dumps(good | {field: text}).encode())
                if b"/token/" in target:  # nothing of a token or log-in is kept; revoking an unknown one is fine
                    assert answer.status in (200, 401)
                elif field in ("current_password", "password") and target[-7:] != b"/users/":
                    refused(answer, 400, field=field)
                else:
                    refused(answer, 400, field=field)
    assert await wire.kept() == before


async def test_marks_by_the_thousand_stop_nobody(wire: Wire) -> None:
    """To order them takes the square of their number: what a body holds of them, six seconds."""
    marks = "a" + "\u0301" * 15_000 + "\u0316" * 15_000
    for method, target, good in calls_with_a_body():
        for field in good:
            body = json.dumps(good | {field: marks}, ensure_ascii=False).encode()
            started = time.process_time()
            answer = await wire(method, target, wire.signed, JSON, body=body)
            assert time.process_time() - started < 1, (method, target, field)
            assert answer.status < 500


async def test_a_field_given_twice_is_400_and_named(wire: Wire) -> None:
    before = await wire.kept()
    for method, target, good in calls_with_a_body():
        whole = json.dumps(good)[:-1]
        for field, value in good.items():
            for name in (field, f"\\u{ord(field[0]):04x}{field[1:]}"):
                body = f'{whole}, "{name}": {json.dumps(value)}}}'.encode()
                refused(await wire(method, target, wire.signed, JSON, body=body), 400, field=field)
    form = (b"content-type", b"application/x-www-form-urlencoded")
    twice = b"username=alice&password=x&username=bob"
    refused(await wire("POST", b"/api/auth/token/", form, body=twice), 400, field="username")
    assert await wire.kept() == before


UNKNOWN = ("is_superuser", "__proto__", "constructor", "$where", "id", "x" * 30_000, "💥" * 5_000, "\u202e\u200b")


async def test_fields_that_nobody_knows_are_named_in_few_words(wire: Wire) -> None:
    before = await wire.kept()
    for method, target, good in calls_with_a_body():
        for name in UNKNOWN:
            answer = await wire(method, target, wire.signed, JSON, body=json.dumps(good | {name: 1}).encode())
            assert [fault["code"] for fault in refused(answer, 400)["errors"]] == ["unknown"]
        many = good | {f"{number}" + "💥" * 20: number for number in range(200)}
        refused(await wire(method, target, wire.signed, JSON, body=json.dumps(many).encode()), 400)
    assert await wire.kept() == before


KINDS = (
    b"text/plain",
    b"text/json",
    b"application/xml",
    b"multipart/form-data",
    b"multipart/form-data; boundary=x",
    b"application/json, text/plain",
    b"application/json; charset=utf-16",
    b"application/json; charset=latin-1",
    b"application/ld+json; charset=utf-7",
    b"json",
    b"",
    b"/",
    b"\xff\xfe",
    b"application/" + b"x" * 20_000,
)


async def test_a_body_of_another_kind_or_charset_is_415(wire: Wire) -> None:
    before = await wire.kept()
    for method, target, good in calls_with_a_body():
        for kind in KINDS:
            body = json.dumps(good).encode()
            refused(await wire(method, target, wire.signed, (b"content-type", kind), body=body), 415)
    assert await wire.kept() == before
