"""Reports to Sentry: which errors are told, what of them is, and that nothing else ever leaves."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from moviehub.domain.errors import Unavailable
from moviehub.entrypoints import logs, reports
from moviehub.entrypoints.reports import Reports
from moviehub.entrypoints.settings import SettingsError
from moviehub.entrypoints.worker import Job, Metrics, Worker
from tests.api import PASSWORD, Api, api_in_memory, memory_settings
from tests.commands import invoked, logs_as_before

KEY = "0123456789abcdef0123456789abcdef"
DSN = f"https://{KEY}@sentry.example.org/42"
SECRET = "marked-and-nobody-elses-business"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope)

    def events(self) -> list[dict[str, Any]]:
        """The events; everything else that might be sent is a fault."""
        found = [json.loads(item.payload.get_bytes()) for envelope in self.sent for item in envelope.items]
        assert all(item.type == "event" for envelope in self.sent for item in envelope.items)
        return found

    def text(self) -> str:
        return b"\n".join(envelope.serialize() for envelope in self.sent).decode()


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture(autouse=True)
def _reported(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SENTRY_DSN", "SENTRY_RELEASE", "SENTRY_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    with logs_as_before():
        logs.configure(memory_settings(), Reports(DSN, kept).take)
        yield


class Broken(Exception):
    """What nobody expected, with a secret in its words."""


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async def fail(_: object) -> None:
        local = SECRET
        try:
            raise ValueError(local)
        except ValueError as cause:
            raise Broken(f"could not do it with {local}") from cause

    async with api_in_memory() as api:
        api.catalogue.page = fail
        yield api


async def test_an_unexpected_error_is_told_with_its_place_and_its_request(api: Api, kept: Kept) -> None:
    headers = {"X-Request-ID": "one", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    assert (await api.get("/api/v1/movies/popular/", headers=headers)).status_code == 500
    (event,) = kept.events()
    assert event["tags"] == {
        "request_id": "one",
        "trace_id": TRACE,
        "method": "GET",
        "route": "/api/movies/popular",
    }
    assert (event["transaction"], event["level"], event["platform"]) == ("/api/movies/popular", "error", "python")
    cause, fault = event["exception"]["values"]
    assert [(error["type"], error["module"]) for error in (cause, fault)] == [
        ("ValueError", None),
        ("Broken", __name__),
    ]
    frame = fault["stacktrace"]["frames"][-1]
    assert (frame["module"], frame["function"]) == (__name__, "fail")
    assert frame["lineno"] > 0


async def test_nothing_that_anybody_sent_is_told(api: Api, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    token = await api.joined()
    await api.get(
        f"/api/movies/search/?q={SECRET}",
        token=token,
        headers={"User-Agent": SECRET, "Cookie": SECRET, "X-Forwarded-For": "192.0.2.7"},
    )
    assert len(kept.events()) == 1
    text = kept.text()
    found = [
        secret for secret in (SECRET, token, PASSWORD, "alice", "192.0.2.7", "127.0.0.1", "hub.test") if secret in text
    ]
    assert found == []
    assert KEY not in capsys.readouterr().err


async def test_an_event_has_no_more_than_what_is_on_the_lists(api: Api, kept: Kept) -> None:
    await api.get("/api/movies/popular/")
    (event,) = kept.events()
    usual = {"event_id", "timestamp", "platform", "level", "release", "environment", "transaction", "tags", "exception"}
    assert event.keys() == usual
    for error in event["exception"]["values"]:
        assert error.keys() == {"type", "module", "stacktrace"}
        assert error["stacktrace"].keys() == {"frames"}
        assert all(
            frame.keys() <= {"module", "function", "lineno", "in_app"} for frame in error["stacktrace"]["frames"]
        )


def test_what_a_newer_sdk_may_add_is_left_out() -> None:
    added = dict.fromkeys(("request", "user", "breadcrumbs", "extra", "contexts", "server_name", "modules"), SECRET)
    frame = {"module": "a", "vars": SECRET, "abs_path": SECRET, "context_line": SECRET}
    error = {"type": "E", "module": "m", "value": SECRET, "stacktrace": {"frames": [frame]}, "mechanism": SECRET}
    event: Any = {**added, "level": "error", "exception": {"values": [error, {"type": "E", "module": None}]}}
    assert SECRET not in str(reports.only_what_is_known(event))


async def test_what_is_expected_to_go_wrong_is_not_told(api: Api, kept: Kept) -> None:
    async def away(_: object) -> None:
        raise Unavailable("out")

    api.catalogue.page = away
    assert (await api.get("/api/movies/popular/")).status_code == 503
    assert (await api.get("/api/nowhere/")).status_code == 404
    assert (await api.get("/api/auth/users/me/")).status_code == 401
    assert kept.sent == []


async def test_a_job_that_fails_unexpectedly_is_told_by_its_name(kept: Kept) -> None:
    async def fail() -> dict[str, int]:
        raise Broken(SECRET)

    async def away() -> dict[str, int]:
        raise Unavailable("out")

    async with api_in_memory() as api:
        jobs = [Job("old", 60.0, fail), Job("warm", 60.0, away)]
        assert await Worker(jobs, api.container.leases(), Metrics()).once() is False
    (event,) = kept.events()
    assert (event["transaction"], event["tags"]) == ("job old", {"job": "old"})
    assert SECRET not in kept.text()


async def test_a_line_of_the_log_is_the_same_with_reports_and_without(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    await api.get("/api/movies/popular/")
    line = json.loads(capsys.readouterr().err.splitlines()[0])
    assert (line["event"], line["route"], line["method"]) == ("unexpected error", "/api/movies/popular", "GET")
    assert "Broken" in line["exception"]


async def test_a_report_that_cannot_be_made_disturbs_nobody(
    api: Api, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(kept, "capture_envelope", fail)
    assert (await api.get("/api/movies/popular/")).status_code == 500


@pytest.mark.parametrize("dsn", ["", " ", DSN, "http://key:old-secret@127.0.0.1:9000/prefix/7"])
def test_a_dsn_that_can_be_one_is_taken(dsn: str) -> None:
    assert reports.check({"SENTRY_DSN": dsn}) == dsn.strip()


@pytest.mark.parametrize(
    "dsn",
    [
        f"{SECRET}",
        f"ftp://{SECRET}@sentry.example.org/42",
        "https://sentry.example.org/42",
        f"https://{SECRET}@sentry.example.org/",
        f"https://{SECRET}@sentry.example.org/project",
        f"https://{SECRET}@sentry.example.org:port/42",
        f"https://{SECRET}@[sentry/42",
    ],
)
def test_a_dsn_that_can_be_none_is_one_line_that_does_not_quote_it(dsn: str) -> None:
    with pytest.raises(SettingsError, match=r"^SENTRY_DSN: expected a DSN such as .*$") as fault:
        reports.check({"SENTRY_DSN": dsn})
    assert SECRET not in str(fault.value)


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_dsn_that_can_be_none_is_told_before_anything_starts(command: str) -> None:
    database = "postgresql://hub@db.invalid/hub"
    ended = invoked(command, told="", env={"MOVIEHUB_DATABASE_URL": database, "SENTRY_DSN": KEY})
    assert ended.exit_code == 78
    assert ended.stderr == "Error: SENTRY_DSN: expected a DSN such as https://key@sentry.example.org/42, or nothing\n"


@asynccontextmanager
async def _begun(lines: list[Any]) -> AsyncIterator[None]:
    with structlog.testing.capture_logs() as told:
        async with reports.begun(memory_settings()):
            yield
    lines += told


async def test_without_the_extra_a_line_says_so_and_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[Any] = []
    monkeypatch.setenv("SENTRY_DSN", DSN)
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    async with _begun(lines):
        pass
    assert [(line["event"], "moviehub[sentry]" in line["hint"]) for line in lines] == [("not_reported", True)]
    assert KEY not in str(lines)
