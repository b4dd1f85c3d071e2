"""The access log: what is told of a request, of which requests, and what never is."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from moviehub.entrypoints.bootstrap import in_memory
from tests.api import api_in_memory, api_over, film, memory_settings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
SEARCH = "/api/movies/search/?q=nobody-elses-business"

Told = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """The lines since the last time, without their moments."""

    def read() -> list[dict[str, Any]]:
        text = capsys.readouterr().err
        assert text.isascii()
        lines = [json.loads(line) for line in text.splitlines()]
        for line in lines:
            assert datetime.fromisoformat(line.pop("timestamp")).tzinfo == UTC
            assert 0 < line.pop("seconds") < 10
        return lines

    return read


async def test_a_line_tells_the_route_and_never_what_was_asked_for(told: Told) -> None:
    async with api_in_memory(access_log="all") as api:
        (movie_id,) = await api.knows(film(1))
        told()
        answer = await api.get(f"/api/v1/movies/{movie_id}/", headers={"X-Request-ID": "one", "Traceparent": PARENT})
        size = int(answer.headers["content-length"])
        one = {"event": "request", "level": "info", "request_id": "one", "method": "GET", "status": 200}
        assert told() == [{**one, "route": "/api/movies/{movie_id}", "bytes": size, "trace_id": TRACE}]
        await api.get(SEARCH, headers={"User-Agent": "nobody-elses-business"})
        (line,) = told()
        assert line.keys() == {"event", "level", "request_id", "method", "route", "status", "bytes"}
        assert "business" not in str(line)
        assert "127.0.0.1" not in str(line)


async def test_a_line_tells_who_is_signed_in_and_why_a_request_was_refused(told: Told) -> None:
    async with api_in_memory(access_log="all") as api:
        user = await api.register("alice")
        token = (await api.sign_in("alice"))["access"]
        told()
        await api.get("/api/auth/users/me/", token=token)
        await api.get("/api/auth/users/", token=token)
        await api.get("/api/auth/users/me/")
        await api.get("/nowhere/nobody-elses-business/")
        good, forbidden, stranger, nowhere = told()
    assert (good["user_id"], good["status"], good.get("refusal")) == (user["id"], 200, None)
    assert (forbidden["user_id"], forbidden["status"], forbidden["refusal"]) == (user["id"], 403, "forbidden")
    assert (stranger["status"], stranger["refusal"], "user_id" in stranger) == (401, "unauthenticated", False)
    assert (nowhere["status"], nowhere["refusal"], nowhere["route"]) == (404, "no-such-path", "(none)")


async def test_a_line_tells_what_was_sent_from_the_kept_pages_too(told: Told) -> None:
    async with api_in_memory(access_log="all") as api:
        first = await api.get("/api/movies/popular/")
        await api("HEAD", "/api/movies/popular/")
        await api.get("/api/movies/popular/", headers={"If-None-Match": first.headers["etag"]})
        lines = told()
    size = int(first.headers["content-length"])
    assert [(line["method"], line["status"], line["bytes"]) for line in lines] == [
        ("GET", 200, size),
        ("HEAD", 200, 0),
        ("GET", 304, 0),
    ]
    assert {line["route"] for line in lines} == {"/api/movies/popular"}


@pytest.mark.parametrize(("wanted", "statuses"), [("off", []), ("errors", [500]), ("all", [200, 404, 500])])
async def test_the_setting_says_of_which_requests_there_is_a_line(told: Told, wanted: str, statuses: list[int]) -> None:
    async with api_in_memory(access_log=wanted) as api:
        await api.get("/api/movies/popular/")
        await api.get("/nowhere/")
        api.catalogue.films = ["no film at all"]
        await api.get("/api/movies/top_rated/")
        lines = told()
    assert [line["status"] for line in lines] == statuses
    assert [line["level"] for line in lines if line["status"] == 500] == ["error"] * statuses.count(500)


async def test_a_request_that_takes_long_is_told_though_it_went_well(told: Told) -> None:
    async with api_in_memory() as api:
        assert api.app.access.least_seconds == 1
        api.app.access.least_seconds = 0
        await api.get("/api/movies/popular/")
    assert [(line["status"], line["level"]) for line in told()] == [(200, "info")]


async def test_health_and_metrics_are_told_only_when_they_fail(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fall_ill() -> None:
        raise RuntimeError

    container = in_memory(memory_settings(access_log="all"))
    async with api_over(container) as api:
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert (await api.get(path)).status_code == 200
        assert told() == []
    monkeypatch.setattr(container.storage(), "ping", fall_ill, raising=False)
    async with api_over(container) as api:
        assert (await api.get("/health/ready")).status_code == 503
        assert [(line["status"], line["route"]) for line in told()] == [(503, "/health/ready")]


@pytest.mark.parametrize("wanted", ["errors", "all"])
async def test_those_who_are_turned_away_in_a_crowd_are_told_only_where_all_are(told: Told, wanted: str) -> None:
    async with api_in_memory(access_log=wanted, concurrency=8) as api:
        for _ in range(8):
            api.app.overload.begin("read", nothing)
        assert (await api.get(SEARCH)).status_code == 503
    lines = [(line["status"], line["refusal"], line["bytes"] > 0) for line in told()]
    assert lines == ([(503, "overloaded", True)] if wanted == "all" else [])


@pytest.mark.parametrize(
    ("parents", "told_as"),
    [
        ([PARENT], TRACE),
        ([PARENT.replace("00-", "01-", 1)], TRACE),
        ([PARENT.replace("00-", "cc-", 1) + "-what-comes-later"], TRACE),
        ([PARENT + "-more"], None),
        ([PARENT + "\n"], None),
        ([PARENT.upper()], None),
        ([PARENT.replace("00-", "ff-", 1)], None),
        ([PARENT.replace(TRACE, "0" * 32)], None),
        ([PARENT.replace("00f067aa0ba902b7", "0" * 16)], None),
        ([PARENT.replace(TRACE, TRACE[1:])], None),
        (["nonsense"], None),
        ([""], None),
        ([PARENT, PARENT], None),
        ([], None),
    ],
)
async def test_the_trace_is_the_one_that_the_client_names_if_it_is_well_formed(
    told: Told, parents: list[str], told_as: str | None
) -> None:
    async with api_in_memory(access_log="all") as api:
        await api.client.get("/api/movies/popular/", headers=[("traceparent", parent) for parent in parents])
    (line,) = told()
    assert line.get("trace_id") == told_as


async def test_a_method_that_http_does_not_know_is_told_as_other(told: Told) -> None:
    async with api_in_memory(access_log="all") as api:
        await api("MARKED", "/api/movies/popular/")
    (line,) = told()
    assert (line["method"], line["status"]) == ("OTHER", 405)


async def nothing() -> Any:
    """Receives nothing."""
