"""Targets, headers and methods that no honest client sends: each is refused in good form, and nothing is kept."""

import json
from itertools import product

import pytest

from tests import promises
from tests.api import Api
from tests.wire import KNOWN, OPERATIONS, Wire, refused, targets

pytestmark = promises.hostile_input

JSON = (b"content-type", b"application/json")


@pytest.fixture
async def wire(api: Api) -> Wire:
    return await Wire.over(api)


BAD_IDS = (
    b"0 00 01 -1 +1 1.0 1e0 1_0 0x1 0b1 x null NaN [] {} 1;x 1,2 '1' %20 %201 1%20 1%0a %00 1%00 %ff %c0%b1 %D9%A1 "
    b"%EF%BC%91 %C2%B2 %F0%9D%9F%8F %25 %2500 $1 1%27%20OR%20%271%27=%271 9223372036854775808 18446744073709551617 "
    b"\xff "
) + b"9" * 5_000


@pytest.mark.parametrize("name", ["movie_id", "tmdb_id", "session_id", "user_id"])
async def test_an_id_of_another_form_is_404_and_named(wire: Wire, name: str) -> None:
    before = await wire.kept()
    for method, target in targets(name):
        for bad in BAD_IDS.split(b" "):
            answer = await wire(method, target.replace(b"{}", bad), wire.signed, JSON, body=b'{"rating": 5}')
            refused(answer, 404, field=name)
    assert await wire.kept() == before


INTEGERS = b"0 00 01 -1 +1 1.0 1e0 1_0 0x1 x null %00 1%00 %20 %201 1%0a %D9%A1 %EF%BC%91 %C2%B2 1%27-- " + b"9" * 4_000
NUMBERS = b"-1 +1 1e0 1_0 0x1 x nan NaN inf -inf Infinity %00 1%00 %20 1%0a .5 5. 1,5 --1 1e999 %D9%A1 " + b"9" * 4_000
TEXTS = b"%00 a%00 %0a a%0d%0aSet-Cookie:%20x=1 %1b[31m %7f %C2%85 " + b"x" * 4_000
WRONG = {
    "page": INTEGERS,
    "cursor": b"x 0 null W10 WyIiLG51bGwsMV0 %00 %0a === ' $1 ../x " + b"W" * 4_000,
    "page_size": INTEGERS + b" 101 1000000",
    "genre": b"1.0 1e0 x %00 " + b"9" * 4_000,
    "release_year": INTEGERS + b" 1869 2201 99999",
    "min_rating": NUMBERS + b" 10.1 11",
    "max_rating": NUMBERS + b" 10.1 11",
    "min_popularity": NUMBERS,
    "language": TEXTS,
    "search": TEXTS,
    "q": TEXTS + b" %20 %E3%80%80",
    "ordering": b"id -id --title title%20DESC title;DROP%20TABLE%20movies (SELECT%201) 1 %00 " + b"x" * 4_000,
    "user": INTEGERS,
    "before": INTEGERS,
    "event": b"none Sign_in sign_in%00 %20sign_in sign_in,deletion 1 %00 " + b"x" * 4_000,
    "time_window": b"month Day day%00 %20day 1 " + b"x" * 4_000,
}


async def test_a_parameter_of_another_form_is_400_and_named(wire: Wire) -> None:
    told = {each["name"] for _, _, told in OPERATIONS for each in told["parameters"] if each["in"] == "query"}
    assert told == WRONG.keys()
    before = await wire.kept()
    for name, values in WRONG.items():
        for method, target in targets(name):
            for value in [*values.split(b" "), b""]:
                if value or name != "search":
                    answer = await wire(method, target.replace(b"{}", value), wire.signed)
                    refused(answer, 400, field=name)
    assert await wire.kept() == before


async def test_numbers_as_large_as_they_may_be_find_nothing(wire: Wire) -> None:
    before = await wire.kept()
    for name in ("movie_id", "tmdb_id", "session_id", "user_id"):
        for method, target in targets(name):
            largest = target.replace(b"{}", b"%d" % (2**63 - 1))
            body = b'{"is_active": true}' if name == "user_id" else b'{"rating": 5}'
            refused(await wire(method, largest, wire.signed, JSON, body=body), 404)
    for method, target in targets("page"):
        refused(await wire(method, target.replace(b"{}", b"9" * 18), wire.signed), 404)
    for value in (b"9" * 18, b"-" + b"9" * 18, b"%d" % 2**31, b"%d" % 2**32):
        for method, target in targets("genre"):
            answer = await wire(method, target.replace(b"{}", value), wire.signed)
            assert (answer.status, json.loads(answer.body)["count"]) == (200, 0)
    assert await wire.kept() == before


NOT_UTF_8 = (b"x=%ff", b"x=\xff", b"x=%c0%af", b"x=%ed%a0%80", b"x=%e2%82", b"%ff=1")


async def test_a_query_that_is_not_utf_8_or_has_no_end_is_refused(wire: Wire) -> None:
    for method, target in targets("page"):
        bare = target.partition(b"page=")[0]
        for query in (*NOT_UTF_8, b"a=1&" * 300, b"&" * 201 + b"a"):
            refused(await wire(method, bare + query, wire.signed), 400)
        for query in (b"a=1&" * 10_000, b"x=" + b"y" * 8_192):
            refused(await wire(method, bare + query, wire.signed), 414)


async def test_escapes_of_other_languages_are_plain_text(wire: Wire) -> None:
    for text in (b"%u0041", b"%zz", b"%2", b"\\u0041", b"&amp;x", b"${jndi:ldap://x}", b"{{7*7}}", b"<script>"):
        answer = await wire("GET", b"/api/movies/?search=x" + text)
        assert (answer.status, json.loads(answer.body)["count"]) == (200, 0), text


AUTHORIZATIONS = (
    b"", b" ", b"Bearer", b"Bearer ", b"Bearer  ", b"bearer\tx", b"Bearer x", b"Bearer x.y.z", b"Bearer null",
    b"Bearer " + b"x" * 30_000, b"Bearer \xff\xfe", b"Bearer \xc3\xa9.\xc3\xa9.\xc3\xa9", b"\xff", b"Basic YTpi",
    b"Basic", b"Bearer,Bearer", b"Token x", b"Digest x", b"Bearer eyJhbGciOiJub25lIn0.e30.", b"Bearer e30.e30.e30",
)  # fmt: skip


async def test_an_authorization_of_any_other_form_is_401(wire: Wire) -> None:
    before = await wire.kept()
    for method, path, told in OPERATIONS:
        target = path.format(**KNOWN).encode()
        if "security" in told:
            for value in AUTHORIZATIONS:
                refused(await wire(method, target, (b"authorization", value)), 401)
            # Of several, no reader knows which one another believes.
            refused(await wire(method, target, wire.signed, wire.signed), 401)
            refused(await wire(method, target, wire.signed, (b"authorization", b"Bearer x")), 401)
    assert await wire.kept() == before


ODD = (
    b"", b" ", b",", b",,,,", b";;;=", b'"', b"*;q=x", b"gzip;q=1e999", b"W/", b'W/"', b"\xff\xfe", b"\0",
    b"x" * 30_000, b"a," * 15_000, b"a\r\nSet-Cookie: x=1", b"a\nb",
)  # fmt: skip
HEADERS = [
    "accept",
    "accept-encoding",
    "cookie",
    "expect",
    "forwarded",
    "if-modified-since",
    "if-none-match",
    "origin",
    "range",
    "traceparent",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-request-id",
]


async def test_headers_without_sense_do_no_harm(wire: Wire) -> None:
    for name, value in product(HEADERS, ODD):
        for target in (b"/api/movies/", b"/api/movies/popular/", b"/api/movies/1/"):
            answer = await wire("GET", target, (name.encode(), value))
            assert (answer.status, name, value) == (200, name, value)
            for sent in answer.headers.values():
                assert len(sent) < 200
                assert not {*b"\r\n\0"} & {*sent}


HOSTS = (
    b"", b" ", b"a b", b"a/b", b"a@b", b"a,b", b"a:b", b"[::1", b"<x>", b"\xff", b"x" * 300, b"a\r\nb",
    b"a?b", b"a#b", b"a\0",
)  # fmt: skip


async def test_lengths_hosts_and_sizes_that_cannot_be_are_refused(wire: Wire) -> None:
    for length in (b"-1", b"+5", b"", b"abc", b"0x10", b"1e3", b"5, 5", b"\xb2", b"\xff"):
        answer = await wire("POST", b"/api/auth/token/", JSON, (b"content-length", length), body=b"{}")
        refused(answer, 400, field="Content-Length")
    for length in (b"65537", b"9" * 30, b"9" * 5_000):
        refused(await wire("POST", b"/api/auth/token/", JSON, (b"content-length", length), body=b"{}"), 413)
    for target in (b"/api/movies/", b"/api/movies/popular/"):
        for _ in range(2):  # the second time the answer is at hand
            assert (await wire("GET", target)).status == 200
            for host in HOSTS:
                refused(await wire("GET", target, (b"host", host)), 400, field="Host")
            twice = ((b"host", b"hub.test"), (b"host", b"hub.test"))
            refused(await wire("GET", target, *twice), 400, field="Host")
            refused(await wire("GET", target, (b"x-long", b"x" * 40_000)), 431)
            refused(await wire("GET", target, *[(b"x", b"y" * 100)] * 400), 431)


PATHS = (
    b"//api/movies/", b"/api//movies/", b"/api/movies//", b"//evil.example/api/movies/", b"/./api/movies/",
    b"/api/./movies/", b"/api/x/../movies/", b"/%2e%2e/%2e%2e/etc/passwd", b"/..%2f..%2fetc/passwd", b"/api%2Fmovies/",
    b"/api%2fmovies/", b"/api/movies%2F1/", b"/api/movies/1%2Freviews/", b"/api/movies/1/%00", b"/api/movies/1%2F/",
    b"/%00", b"/%ff", b"/\xff", b"/api\\movies\\", b"/API/movies/", b"/api/Movies/", b"/api/movies/1/;x/",
    b"/api/v1//movies/", b"/api/v2/movies/", b"/api/v1/api/movies/", b"/docs/assets/..", b"/docs/assets/.",
    b"/docs/assets/%2e%2e%2fdocs.py", b"/docs/assets/%5c..%5cx", b"/docs/assets/start.js%00", b"/problems/%00",
    b"/problems/../x", b"/\xe2\x80\xae", b"/~root", b"/.git/config", b"/.env",
)  # fmt: skip


async def test_a_path_has_one_form(wire: Wire) -> None:
    for path in PATHS:
        told = refused(await wire("GET", path, wire.signed), 404)
        assert not told["instance"].startswith("//")
    for path in (b"", b"*", b"http://hub.test/api/movies/", b"api/movies/", b"?page=1"):
        refused(await wire("GET", path), 400)
    for path in (b"/" + b"a" * 9_000, b"/api/movies/" + b"%41" * 3_000, b"/a" * 5_000):
        refused(await wire("GET", path), 414)


METHODS = ("BREW", "get", "Get", "post", "delete", " ", "GET ", "TRACE", "CONNECT", "ALLOW", "A" * 9_000)


async def test_a_method_that_nothing_has_is_405(wire: Wire) -> None:
    before = await wire.kept()
    for method in METHODS:
        for path in (b"/api/movies/", b"/api/auth/users/me/", b"/api/movies/1/rate/", b"/health/live"):
            answer = await wire(method, path, wire.signed)
            refused(answer, 405)
            assert b"OPTIONS" in answer.headers[b"allow"]
        refused(await wire(method, b"/nowhere"), 404)
    assert await wire.kept() == before


async def test_options_tells_every_method_of_a_path(wire: Wire) -> None:
    for path in {path for _, path, _ in OPERATIONS}:
        methods = {method for method, other, _ in OPERATIONS if other == path}
        target = path.format(**KNOWN).encode()
        answer = await wire("OPTIONS", target)
        assert (answer.status, answer.body) == (204, b"")
        allowed = {*answer.headers[b"allow"].decode().split(", ")}
        assert allowed == methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()), path
