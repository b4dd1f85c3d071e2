"""What no client in this process can send: broken frames and smuggled requests, to a server that really runs.

And the hostile requests of the unit tests once more, on Postgres and Redis, where nothing of them may be kept either.
"""

# ruff: noqa: F401 - the tests below are the very functions that run in memory; here they get the fixture of this file
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from moviehub.entrypoints.bootstrap import closing, in_memory
from tests import promises
from tests.api import api_over, memory_settings
from tests.servers import Server, serving
from tests.unit.test_hostile_bodies import (
    test_a_body_that_is_no_object_in_json_is_400,
    test_a_field_given_twice_is_400_and_named,
    test_a_value_of_another_kind_is_400_and_named,
    test_text_that_is_none_is_400_and_named_where_it_would_be_kept,
)
from tests.unit.test_hostile_input import (
    test_a_parameter_of_another_form_is_400_and_named,
    test_a_query_that_is_not_utf_8_or_has_no_end_is_refused,
    test_an_authorization_of_any_other_form_is_401,
    test_an_id_of_another_form_is_404_and_named,
    test_numbers_as_large_as_they_may_be_find_nothing,
)
from tests.unit.test_injection import (
    test_staff_search_for_plain_text_too,
    test_what_looks_like_a_pattern_or_a_statement_is_plain_text,
)
from tests.wire import Wire

pytestmark = promises.hostile_input

HOST = b"Host: hub.test\r\n"
SIGN_IN = b"POST /api/auth/token/ HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
BODY = b'{"username":"a","password":"b"}'
CHUNKED = b"1f\r\n" + BODY + b"\r\n0\r\n\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\n" + HOST
LAST = LIVE + b"Connection: close\r\n\r\n"
PATIENCE = 15.0


class KeptByPostgres(Wire):
    """The same client; what is kept is every row of every table but the audit trail, on which attempts belong."""

    database_url = ""

    async def kept(self) -> Any:
        link = await asyncpg.connect(self.database_url)
        tables = await link.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'audit' ORDER BY 1"
        )
        rows = {name: await link.fetch(f'SELECT t::text FROM "{name}" t ORDER BY 1') for (name,) in tables}
        await link.close()
        return rows


@pytest.fixture
async def wire(migrated_url: str, valkey_url: str) -> AsyncIterator[Wire]:
    container = in_memory(memory_settings(database_url=migrated_url, redis_url=valkey_url))
    async with closing(container), api_over(container) as api:
        wire = await KeptByPostgres.over(api)
        wire.database_url = migrated_url
        yield wire


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(DATABASE_URL="memory://", SECRET_KEY="k" * 32) as server:
        yield server


def spoken(server: Server, *pieces: bytes) -> bytes:
    """What the server says to these bytes until it closes the connection; pieces go out one by one."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as link:
        said = b""
        try:
            for piece in pieces:
                link.sendall(piece)
            while more := link.recv(65_536):
                said += more
        except (ConnectionResetError, BrokenPipeError):
            pass  # closed while bytes were on their way
        return said


def answers(said: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of each answer to a GET or POST."""
    found = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status, length = int(first.split()[1]), int(headers.get("content-length", 0))
        if status >= 200:
            found.append((status, headers, said[:length]))
        said = said[length:]
    return found


def statuses(server: Server, *pieces: bytes) -> list[int]:
    """The statuses of the answers; one of ours that refuses is a problem document, one of the server's own is empty."""
    found = answers(spoken(server, *pieces))
    for status, headers, body in found:
        if status >= 400 and body:
            assert headers["content-type"] == "application/problem+json"
            assert json.loads(body)["status"] == status
        assert len(body) < 4_096
        assert "set-cookie" not in headers
    return [status for status, _, _ in found]


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"5\r\nabcdefgh\r\n0\r\n\r\n",
        b"-5\r\nabcde\r\n0\r\n\r\n",
        b"0x5\r\nabcde\r\n0\r\n\r\n",
        b"f" * 17 + b"\r\nabcde\r\n0\r\n\r\n",
        b"1f\r\n" + BODY + b"xx0\r\n\r\n",
        b"\r\n",
    ],
)
def test_a_bad_chunk_is_400_and_ends_the_connection(server: Server, body: bytes) -> None:
    said = spoken(server, SIGN_IN + b"Transfer-Encoding: chunked\r\n\r\n" + body + LAST)
    [(status, headers, problem)] = answers(said)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(problem)["type"] == "/problems/invalid-request"


def test_a_good_chunk_is_read(server: Server) -> None:
    assert statuses(server, SIGN_IN + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED + LAST) == [401, 200]


@pytest.mark.parametrize(
    ("request_line", "host", "status"),
    [
        (b"GET /health/live HTTP/1.1", b"", 400),
        (b"GET /api/movies/popular/ HTTP/1.1", b"", 400),
        (b"GET /health/live HTTP/1.1", b"Host: a\r\nHost: b\r\n", 400),
        (b"GET /health/live HTTP/1.1", b"Host: a\r\nHost: a\r\n", 400),
        (b"GET /health/live HTTP/1.1", b"Host: \r\n", 400),
        (b"GET /health/live HTTP/1.1", b"Host: a/b\r\n", 400),
        (b"GET http://hub.test/health/live HTTP/1.1", HOST, 200),
        (b"GET http://hub.test/health/live HTTP/1.1", b"", 200),
        (b"GET hub.test:80 HTTP/1.1", HOST, 400),
        (b"OPTIONS * HTTP/1.1", HOST, 400),
        (b"GET //health/live HTTP/1.1", HOST, 404),
        (b"GET /health%2Flive HTTP/1.1", HOST, 404),
        (b"GET /x/../health/live HTTP/1.1", HOST, 404),
        (b"GET /%ff%00 HTTP/1.1", HOST, 404),
        (b"GET /api/movies/?search=%ff HTTP/1.1", HOST, 400),
        (b"get /api/movies/ HTTP/1.1", HOST, 405),
        (b"BREW /api/movies/ HTTP/1.1", HOST, 405),
        (b"A" * 9_000 + b" /api/movies/ HTTP/1.1", HOST, 405),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1", HOST, 414),
        (b"GET /health/live HTTP/1.1", HOST + b"X-Long: " + b"a" * 40_000 + b"\r\n", 431),
        (b"GET /health/live HTTP/1.1", HOST + b"X-Long: " + b"a" * 100_000 + b"\r\n", 431),
    ],
)
def test_a_request_that_we_refuse_leaves_the_connection_usable(
    server: Server, request_line: bytes, host: bytes, status: int
) -> None:
    assert statuses(server, request_line + b"\r\n" + host + b"\r\n" + LAST) == [status, 200]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET health/live HTTP/1.1\r\n" + HOST,
        b"GET /a b HTTP/1.1\r\n" + HOST,
        b"GET /\xff HTTP/1.1\r\n" + HOST,
        b"GET /health/live HTTP/9.9\r\n" + HOST,
        b"GET /health/live\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        LIVE + b"X-A: b\r\n c\r\n",
        LIVE + b"X-A: b\0c\r\n",
        LIVE + b"X-Request-ID: a\rSet-Cookie: x=1\r\n",
        LIVE + b"X A: b\r\n",
        LIVE + b"no colon\r\n",
        LIVE + b": b\r\n",
        LIVE + b"".join(b"X-%d: a\r\n" % number for number in range(1_000)),
    ],
)
def test_a_head_that_is_none_is_refused_by_the_server_and_ends_the_connection(server: Server, request_: bytes) -> None:
    assert statuses(server, request_ + b"\r\n" + LAST) in ([400], [431])


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 31\r\nContent-Length: 5\r\n",
        b"Content-Length: 31, 31\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +31\r\n",
        b"Content-Length: 0x1f\r\n",
        b"Content-Length: 31abc\r\n",
        b"Content-Length: \r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding\t: chunked\r\n",
    ],
)
def test_a_length_that_two_readers_could_read_otherwise_is_refused(server: Server, framing: bytes) -> None:
    assert statuses(server, SIGN_IN + framing + b"\r\n" + CHUNKED + LAST) == [400]


@pytest.mark.parametrize("order", [1, -1])
def test_a_request_cannot_be_smuggled_behind_a_body_of_two_lengths(server: Server, order: int) -> None:
    hidden = b"0\r\n\r\n" + LAST
    two = [b"Content-Length: %d\r\n" % len(hidden), b"Transfer-Encoding: chunked\r\n"][::order]
    assert len(statuses(server, SIGN_IN + b"".join(two) + b"\r\n" + hidden)) == 1


def test_requests_sent_in_one_go_are_answered_in_order(server: Server) -> None:
    names = [f"request-{number}" for number in range(20)]
    said = spoken(server, b"".join(LIVE + f"X-Request-ID: {name}\r\n\r\n".encode() for name in names) + LAST)
    assert [headers["x-request-id"] for _, headers, _ in answers(said)][:-1] == names


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /nowhere HTTP/1.1\r\n" + HOST, 404),
        (b"PUT /api/movies/ HTTP/1.1\r\n" + HOST, 405),
        (b"POST /api/movies/1/rate/ HTTP/1.1\r\n" + HOST, 401),
        (b"POST /api/auth/token/ HTTP/1.1\r\n" + HOST + b"Content-Type: text/plain\r\n", 415),
        (b"POST /api/auth/token/ HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\n", 401),
        (b"GET /health/live HTTP/1.1\r\n" + HOST, 200),
    ],
)
def test_a_body_that_nobody_read_is_not_the_next_request(server: Server, request_: bytes, status: int) -> None:
    assert statuses(server, request_ + b"Content-Length: 31\r\n\r\n" + BODY + LAST) == [status, 200]


def test_a_body_that_is_too_large_is_413(server: Server) -> None:
    large = SIGN_IN + b"Content-Length: 70000\r\n\r\n"
    assert statuses(server, large, b" " * 70_000, LAST)[0] == 413
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    assert statuses(server, SIGN_IN + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3 + b"0\r\n\r\n" + LAST)[0] == 413


def test_a_target_that_is_far_too_long_is_414(server: Server) -> None:
    assert statuses(server, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n")[0] == 414


def test_http_1_0_is_answered_once_and_closed(server: Server) -> None:
    said = spoken(server, b"GET /health/live HTTP/1.0\r\n" + HOST + b"\r\n" + LAST)
    assert said.startswith(b"HTTP/1.0 200 ")
    assert len(answers(said)) == 1


def test_a_header_cannot_be_put_into_an_answer(server: Server) -> None:
    for header in (b"X-Request-ID: a\nSet-Cookie: x=1", b"Origin: a%0d%0aSet-Cookie: x=1", b"X-Forwarded-Host: a\n b"):
        said = spoken(server, LIVE + header + b"\r\n\r\n" + LAST)
        assert b"x=1" not in said


def test_a_client_that_leaves_amid_its_body_harms_nobody(server: Server) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            link.sendall(SIGN_IN + b"Content-Length: 31\r\n\r\n" + BODY[:10])
    assert statuses(server, LAST) == [200]


def test_after_all_of_this_nothing_has_broken(server: Server) -> None:
    assert server.http.get("/nowhere").status_code == 404
    metrics = server.http.get("/metrics").text
    assert 'status="4' in metrics
    assert 'status="5' not in metrics
    assert "unexpected error" not in server.output
    assert "Traceback" not in server.output
