"""Reports to a Sentry that is there, and to one that is away, which disturbs nobody."""

import gzip
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import structlog

from moviehub.entrypoints import reports
from tests.api import memory_settings
from tests.commands import logs_as_before
from tests.servers import free_port

KEY = "0123456789abcdef0123456789abcdef"
SECRET = "marked-and-nobody-elses-business"


class Sentry(ThreadingHTTPServer):
    """Takes envelopes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taken)
        self.taken: list[tuple[str, bytes]] = []


class _Taken(BaseHTTPRequestHandler):
    server: Sentry

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        unpacked = gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body
        self.server.taken.append((self.path, unpacked))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with Sentry() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    with logs_as_before():
        yield


def fail() -> None:
    """What nobody expected."""
    try:
        raise RuntimeError(SECRET)
    except RuntimeError as error:
        structlog.get_logger().error("unexpected error", exc_info=error)


async def test_a_report_is_sent_before_the_process_ends(monkeypatch: pytest.MonkeyPatch, sentry: Sentry) -> None:
    monkeypatch.setenv("SENTRY_DSN", f"http://{KEY}@127.0.0.1:{sentry.server_port}/42")
    async with reports.begun(memory_settings()):
        fail()
    ((path, envelope),) = sentry.taken
    assert path == "/api/42/envelope/"
    assert b'"type":"RuntimeError"' in envelope
    assert SECRET.encode() not in envelope


async def test_a_sentry_that_is_away_costs_nobody_a_line_or_a_second(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SENTRY_DSN", f"http://{KEY}@127.0.0.1:{free_port()}/42")
    began = time.monotonic()
    async with reports.begun(memory_settings()):
        for _ in range(3):
            fail()
        assert time.monotonic() - began < 1
    assert time.monotonic() - began < 2 + reports.LONGEST_GOODBYE
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert KEY not in "".join(lines)
