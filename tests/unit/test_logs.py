"""What the hub logs: each event one line of JSON, whatever it quotes and whoever logs it."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moviehub.adapters.memory.budget import MemoryBudget
from moviehub.adapters.tmdb.catalogue import TmdbCatalogue
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import Search
from moviehub.entrypoints import logs
from tests.api import Api, memory_settings

log = structlog.get_logger()

Written = Callable[[], list[dict[str, Any]]]


def configure(level: str = "info") -> None:
    """Configure logging as a hub does. Within a test this removes pytest's own handlers too, which not all can bear."""
    logs.configure(memory_settings(log_level=level))


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Logging as a hub does it; what was written since the last time, each line read as JSON."""

    def read() -> list[dict[str, Any]]:
        lines = capsys.readouterr().err.split("\n")
        assert lines.pop() == "", "every line has an end"
        for line in lines:
            assert line.isascii(), "no encoding and no locale matters"
            assert line.isprintable(), "nothing in it steers a terminal"
        return [json.loads(line) for line in lines]

    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure()
    yield read
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


class Mute:
    """Something that cannot even tell what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


LOOP: list[Any] = []
LOOP.append(LOOP)
DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]

QUOTED = {
    "line breaks": "a\nb\r\nc\rd",
    "a line that somebody forged": 'x"}\n{"event": "sign_in", "level": "info"}',
    "every control character": "".join(map(chr, [*range(32), *range(0x7F, 0xA0)])),
    "escapes of a terminal": "\x1b[31mred\x1b]0;title\x07\x9b31m\x1bc",
    "separators of lines": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "directions of writing": "a\u202eb\u2066c\u200e",
    "what has no width": "a\u200bb\ufeffc",
    "letters of the world": "Žofie, 映画, \N{CLAPPER BOARD}",
    "quotes and backslashes": '"\\"\\n\\u0000',
    "half a pair": "a\ud800b",
    "halves in a wrong order": "\udc00\ud800",
}
"""Texts that a log must quote, by what is in them."""


@pytest.mark.parametrize("text", QUOTED.values(), ids=QUOTED)
def test_an_event_is_one_line_whatever_it_quotes(written: Written, text: str) -> None:
    configure()
    told = text.encode(errors="backslashreplace").decode()  # half a pair is no text that another program could read
    deep = [{"deep": (text,)}]
    log.warning("quoted", text=text, deep=deep, number=1)
    (line,) = written()
    assert (line["event"], line["text"], line["number"]) == ("quoted", told, 1)
    assert line["deep"] == ([{"deep": [text]}] if told == text else repr(deep))
    log.warning(text, **{text: 1})
    (line,) = written()
    assert (line["event"], line[told]) == (told, 1)
    logging.getLogger("library").warning("it says %s", text)
    (line,) = written()
    assert line["event"] == f"it says {told}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_every_text_is_told_in_one_line(written: Written, text: str) -> None:
    log.info(text, text=text)
    (line,) = written()
    assert line["text"] == line["event"] == text.encode(errors="backslashreplace").decode()


ODD: dict[str, tuple[Any, Any]] = {
    "bytes": (b"\xff\x00\n", "/wAK"),
    "a number with many digits": (10**30, 10**30),
    "a number with more digits than Python writes": (10**5_000, "<int>"),
    "no number": (float("nan"), None),
    "more than any number": (float("inf"), None),
    "a moment": (datetime(2030, 1, 1, tzinfo=UTC), "2030-01-01T00:00:00Z"),
    "an exception": (ValueError("a\nb"), "a\nb"),
    "an object that cannot be told": (Mute(), "<Mute>"),
    "a list in itself": (LOOP, "[[...]]"),
    "a list of great depth": (DEEP, "<list>"),
    "names that are no text": ({(1, 2): 3}, {"(1, 2)": 3}),
    "a long text": ("x" * 1_000_000, "x" * 1_000_000),
    "a long list": (list(range(50_000)), list(range(50_000))),
}


@pytest.mark.parametrize(("value", "told"), ODD.values(), ids=ODD)
def test_what_is_no_text_is_told_in_one_line_as_well(written: Written, value: Any, told: Any) -> None:
    log.info("odd", value=value, number=7, right=True)
    (line,) = written()
    assert (line["value"], line["number"], line["right"]) == (told, 7, True)


@pytest.mark.parametrize("text", QUOTED.values(), ids=QUOTED)
def test_an_exception_is_one_line(written: Written, text: str) -> None:
    configure()

    def fail() -> None:
        try:
            raise KeyError("the cause")
        except KeyError as cause:
            raise RuntimeError(text) from cause

    for logger in (log, logging.getLogger("library")):
        try:
            fail()
        except RuntimeError:
            logger.error("failed", exc_info=True)
        (line,) = written()
        assert (line["event"], line["level"]) == ("failed", "error")
        for part in ("Traceback (most recent call last):\n", "KeyError: 'the cause'", "RuntimeError: "):
            assert part in line["exception"]


def test_an_event_says_when_it_was_in_utc_and_how_grave_it_is(written: Written) -> None:
    before = datetime.now(UTC)
    log.info("ours")
    logging.getLogger("library").warning("theirs")
    for line, level in zip(written(), ("info", "warning"), strict=True):
        assert line.keys() == {"event", "level", "timestamp"}
        assert line["level"] == level
        assert line["timestamp"].endswith("Z")
        assert before <= datetime.fromisoformat(line["timestamp"]) <= before + timedelta(minutes=1)


LEVELS = ("debug", "info", "warning", "error")


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_less_grave_than_the_settings_want_is_not_told(written: Written, level: str) -> None:
    configure(level)
    for each in LEVELS:
        getattr(log, each)(each)
    assert [line["event"] for line in written()] == [*LEVELS[LEVELS.index(level) :]]
    talkative = logging.getLogger("talkative")
    talkative.setLevel(logging.DEBUG)
    for each in LEVELS:
        getattr(talkative, each)(each)
    talkative.setLevel(logging.NOTSET)
    told = ["error"] if level == "error" else ["warning", "error"]
    assert [line["event"] for line in written()] == told, "of libraries nobody wants to hear less than a warning"


async def test_an_event_within_a_request_has_its_ids_and_any_other_has_none(api: Api, written: Written) -> None:
    api.catalogue.films = ["no film at all"]

    async def ask(name: str, trace: str) -> None:
        ids = {"X-Request-ID": name, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        assert (await api.get("/api/movies/popular/", headers=ids)).status_code == 500

    await asyncio.gather(ask("one", "1" * 32), ask("two", "2" * 32))
    log.info("nobody asked")
    *within, outside = written()
    assert {line["event"] for line in within} == {"unexpected error", "request"}
    assert {(line["request_id"], line["trace_id"]) for line in within} == {("one", "1" * 32), ("two", "2" * 32)}
    assert not {"request_id", "trace_id"} & outside.keys()

    def listen(request: httpx.Request) -> httpx.Response:
        logging.getLogger("library").warning("asked")
        return httpx.Response(200)

    async def serve() -> None:
        logs.REQUEST.set(("three", ()))
        await asyncio.to_thread(listen, httpx.Request("GET", "http://x.test"))

    await asyncio.create_task(serve())
    assert [line["request_id"] for line in written()] == ["three"]


def test_a_library_that_logs_wrongly_is_told_in_one_line(written: Written) -> None:
    configure()
    logging.getLogger("careless").warning("%d films", "many")
    (line,) = written()
    assert (line["event"], line["logger"]) == ("a library logs what cannot be told", "careless")
    assert "TypeError" in line["exception"]


@pytest.mark.parametrize("gone", ["closed", "broken"])
def test_logging_breaks_nothing_where_nobody_can_read_it(
    written: Written, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    stream = io.StringIO()
    if gone == "closed":
        stream.close()
    else:
        monkeypatch.setattr(stream, "write", lambda _: (_ for _ in ()).throw(BrokenPipeError()), raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    configure()
    log.error("nobody hears")
    logging.getLogger("library").error("nor this")


KEY, QUERY = "0123456789abcdef" * 2, "a search that is nobody else's business"
UPSTREAM: dict[str, Any] = {
    "an answer": httpx.Response(200, json={"page": 1, "results": [], "total_results": 0, "total_pages": 0}),
    "nonsense": httpx.Response(200, text="<html>"),
    "a redirect": httpx.Response(302, headers={"Location": f"https://elsewhere.test/?api_key={KEY}"}),
    "a refusal": httpx.Response(401),
    "too many": httpx.Response(429),
    "a fault": httpx.Response(500),
    "a lost connection": httpx.ConnectError(f"https://tmdb.test/3/?api_key={KEY}"),
    "silence": httpx.ReadTimeout(f"https://tmdb.test/3/?api_key={KEY}"),
}


@pytest.mark.parametrize("answer", UPSTREAM.values(), ids=UPSTREAM)
async def test_nothing_prints_the_query_with_which_the_catalogue_is_asked(written: Written, answer: Any) -> None:
    configure("debug")
    catalogue = TmdbCatalogue(url="https://tmdb.test/3", token=KEY, budget=MemoryBudget(1_000, 20))
    with respx.mock:
        route = respx.get(host="tmdb.test")
        route.mock(**{"return_value" if isinstance(answer, httpx.Response) else "side_effect": answer})
        with suppress(Unavailable):
            await catalogue.page(Search(query=QUERY))
        asked = route.calls.last.request.url.params
    await catalogue.close()
    assert (asked["api_key"], asked["query"]) == (KEY, QUERY)
    told = json.dumps(written())
    assert KEY not in told
    assert "business" not in told


@pytest.mark.parametrize("name", ["httpx", "httpcore", "asyncio", "litestar", "asyncpg", "redis", "granian", "alembic"])
def test_a_library_says_nothing_of_every_day(written: Written, name: str) -> None:
    configure("debug")
    logging.getLogger(name).info('HTTP Request: GET https://tmdb.test/3/?api_key=%s "HTTP/1.1 200 OK"', KEY)
    assert written() == []
