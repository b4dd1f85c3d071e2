"""Traces: what spans are called and tell, whose children they are, and that nobody pays who does not want them."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from moviehub.adapters.memory.leases import MemoryLeases
from moviehub.application.flights import Flights
from moviehub.application.tracing import SPAN
from moviehub.entrypoints import tracing
from moviehub.entrypoints.bootstrap import in_memory
from moviehub.entrypoints.http.app import create_app
from moviehub.entrypoints.http.traced import TracedEdge
from moviehub.entrypoints.tracing import Tracing
from tests.api import Api, film, memory_settings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SECRET = "marked-and-nobody-elses-business"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Spans(InMemorySpanExporter):
    """The spans that have ended since the last time."""

    def __call__(self) -> list[ReadableSpan]:
        ended = list(self.get_finished_spans())
        self.clear()
        return ended

    def one(self) -> tuple[str, dict[str, Any]]:
        """Name and attributes of the only one, without its request id."""
        (span,) = self()
        told = dict(span.attributes or {})
        del told["http.response.header.x-request-id"]
        return span.name, told


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*tracing.ENDPOINTS, "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def traces(spans: Spans) -> Tracing:
    provider = tracing.provider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracing(provider)


@pytest.fixture
async def api(traces: Tracing) -> AsyncIterator[Api]:
    container = in_memory(memory_settings(access_log="all"))
    edge = create_app(container)
    transport = httpx.ASGITransport(TracedEdge(edge, traces))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
        yield Api(client, container, edge)


def told(method: str, status: int, route: str | None = None, **more: str) -> dict[str, Any]:
    usual = {"http.request.method": method, "http.response.status_code": status, "url.scheme": "http", **more}
    return usual if route is None else {**usual, "http.route": route}


async def test_a_span_is_named_by_method_and_template_and_tells_no_more_than_that(api: Api, spans: Spans) -> None:
    (movie_id,) = await api.knows(film(1))
    answer = await api.get(f"/api/v1/movies/{movie_id}/", headers={"User-Agent": SECRET, "X-Request-ID": "one"})
    assert answer.status_code == 200
    (span,) = spans()
    assert (span.name, span.kind, span.parent) == ("GET /api/movies/{movie_id}", SpanKind.SERVER, None)
    assert span.attributes == {
        **told("GET", 200, "/api/movies/{movie_id}"),
        "http.response.header.x-request-id": ("one",),
    }
    assert SECRET not in span.to_json()


async def test_a_page_that_is_kept_has_the_name_of_the_one_that_was_made(api: Api, spans: Spans) -> None:
    for method in ("GET", "GET", "HEAD"):
        await api(method, f"/api/movies/search/?q={SECRET}")
    made, kept, head = spans()
    assert made.name == kept.name == "GET /api/movies/search"
    assert head.name == "HEAD /api/movies/search"
    assert SECRET not in made.to_json() + kept.to_json() + head.to_json()


async def test_a_path_that_nobody_serves_is_in_no_span(api: Api, spans: Spans) -> None:
    await api.get(f"/api/{SECRET}/")
    assert spans.one() == ("GET", told("GET", 404))


async def test_a_method_that_http_does_not_know_is_in_no_span(api: Api, spans: Spans) -> None:
    await api(SECRET.upper(), "/api/movies/popular/")
    name, attributes = spans.one()
    assert (name.split()[0], attributes["http.request.method"]) == ("HTTP", "_OTHER")
    assert SECRET.upper() not in str(attributes)


async def test_what_orchestrators_and_prometheus_ask_is_not_traced(api: Api, spans: Spans) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert (await api.get(path)).status_code == 200
    assert spans() == []


async def test_an_unexpected_error_marks_the_span_without_its_words(api: Api, spans: Spans) -> None:
    async def fail(_: object) -> None:
        raise RuntimeError(SECRET)

    api.catalogue.page = fail
    await api.get("/api/movies/popular/")
    (span,) = spans()
    assert (span.status.status_code.name, span.status.description, span.events) == ("ERROR", None, ())
    assert (span.attributes or {})["error.type"] == "500"
    assert SECRET not in span.to_json()


async def test_a_refusal_is_no_error_of_ours(api: Api, spans: Spans) -> None:
    await api.get("/api/auth/users/me/")
    (span,) = spans()
    assert (span.status.status_code.name, (span.attributes or {})["http.response.status_code"]) == ("UNSET", 401)
    assert "error.type" not in (span.attributes or {})


async def test_the_trace_of_the_client_is_continued(api: Api, spans: Spans) -> None:
    await api.get("/api/movies/popular/", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    (span,) = spans()
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)


@pytest.mark.parametrize(
    "lines",
    [["nonsense"], [f"00-{'0' * 32}-{PARENT}-01"], [f"00-{TRACE}-{PARENT}-01"] * 2, [f"ff-{TRACE}-{PARENT}-01"]],
)
async def test_a_trace_that_cannot_be_read_is_none(api: Api, spans: Spans, lines: list[str]) -> None:
    headers = [("traceparent", line) for line in lines]
    await api.client.get("/api/movies/popular/", headers=headers)
    (span,) = spans()
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE


async def test_a_trace_that_its_client_does_not_keep_is_not_kept_here(api: Api, spans: Spans) -> None:
    await api.get("/api/movies/popular/", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert spans() == []


async def test_the_environment_says_how_many_are_kept(monkeypatch: pytest.MonkeyPatch, spans: Spans) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    provider = tracing.provider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with Tracing(provider).request("GET", [], {}) as span:
        assert int(span.trace_id, 16) > 0
    assert spans() == []


async def test_the_environment_may_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing.provider().resource.attributes["service.name"] == "moviehub"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "films")
    assert tracing.provider().resource.attributes["service.name"] == "films"


async def test_lines_of_the_log_tell_the_trace_of_the_span(
    api: Api, spans: Spans, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    await api.get("/api/movies/popular/")
    await api.get("/api/movies/popular/", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    ours = [f"{span.context.trace_id:032x}" for span in spans()]
    assert [line["trace_id"] for line in lines] == ours
    assert ours[1] == TRACE


async def test_work_that_outlives_a_request_is_still_part_of_it(traces: Tracing) -> None:
    flights = Flights(MemoryLeases())

    async def work() -> str:
        span = SPAN.get()
        return span.trace_id if span else "none"

    async def done() -> None:
        return None

    with traces.request("GET", [], {}) as request:
        assert await flights.join("film", work, done) == request.trace_id
    assert SPAN.get() is None


async def test_questions_are_children_of_the_request_and_tell_what_is_written_in_the_code(
    traces: Tracing, spans: Spans
) -> None:
    with traces.request("GET", [], {}):
        with traces.asked("postgresql", "movies.BY_IDS"):
            pass
        with traces.asked("redis", "MGET"):
            pass
        with traces.asked("tmdb", "GET /movie/{id}") as span:
            span.answered(200)
    *asked, request = spans()
    assert {span.parent and span.parent.span_id for span in asked} == {request.context.span_id}
    assert {span.kind for span in asked} == {SpanKind.CLIENT}
    assert [(span.name, dict(span.attributes or {})) for span in asked] == [
        ("movies.BY_IDS", {"db.system.name": "postgresql", "db.query.summary": "movies.BY_IDS"}),
        ("MGET", {"db.system.name": "redis", "db.operation.name": "MGET"}),
        (
            "GET /movie/{id}",
            {
                "http.request.method": "GET",
                "url.template": "/movie/{id}",
                "service.peer.name": "tmdb",
                "http.response.status_code": 200,
            },
        ),
    ]


async def test_a_question_that_fails_tells_the_kind_of_fault_alone(traces: Tracing, spans: Spans) -> None:
    with traces.request("GET", [], {}):
        with suppress(LookupError), traces.asked("redis", "GET"):
            raise LookupError(SECRET)
        with suppress(LookupError), traces.asked("tmdb", "GET /movie/{id}") as span:
            span.answered(404)
            raise LookupError(SECRET)
    redis, tmdb, _ = spans()
    assert [(span.attributes or {})["error.type"] for span in (redis, tmdb)] == ["LookupError", "404"]
    assert {span.status.status_code.name for span in (redis, tmdb)} == {"ERROR"}
    assert SECRET not in redis.to_json() + tmdb.to_json()


async def test_what_is_asked_for_nobody_is_not_traced(traces: Tracing, spans: Spans) -> None:
    with traces.asked("redis", "PING") as span:
        span.answered(200)
        assert span.trace_id == ""
    assert spans() == []


async def test_a_job_of_the_worker_is_a_trace_of_its_own(traces: Tracing, spans: Spans) -> None:
    async def act() -> int:
        with traces.asked("redis", "MGET"):
            return 7

    assert await traces.job("warm", act)() == 7
    asked, job = spans()
    assert (job.name, job.kind, job.parent) == ("job warm", SpanKind.INTERNAL, None)
    assert asked.parent is not None
    assert asked.parent.span_id == job.context.span_id


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: " "}, False),
        ({ENDPOINT: "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({ENDPOINT: "http://collector:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_traces_are_wanted_once_there_is_somewhere_to_send_them(variables: dict[str, str], wanted: bool) -> None:
    assert tracing.wanted(variables) is wanted


@pytest.fixture
def _library_as_before() -> Iterator[None]:
    level = logging.getLogger("opentelemetry").level
    yield
    logging.getLogger("opentelemetry").setLevel(level)


@pytest.mark.usefixtures("_library_as_before")
async def test_without_the_extra_a_line_says_so_and_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://collector:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with structlog.testing.capture_logs() as lines:
        async with tracing.begun() as traces:
            assert traces is None
    assert [(line["event"], "moviehub[otel]" in line["hint"]) for line in lines] == [("not_traced", True)]


@pytest.mark.usefixtures("_library_as_before")
async def test_variables_that_cannot_be_are_told_and_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://collector:4318")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with structlog.testing.capture_logs() as lines:
        async with tracing.begun() as traces:
            assert traces is None
    assert [line["event"] for line in lines] == ["not_traced"]


STARTS = """
import asyncio, sys
absent = ("opentelemetry", "sentry_sdk")
for name in absent:
    sys.modules[name] = None
from moviehub.entrypoints.http.app import create
from moviehub.entrypoints import worker
async def main():
    async with create()._started():
        pass
asyncio.run(main())
print([name for name in sys.modules if name.startswith(absent) and name not in absent])
"""


def test_a_server_that_neither_traces_nor_reports_imports_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOVIEHUB_DATABASE_URL", "memory://")
    monkeypatch.setenv("MOVIEHUB_SECRET_KEY", "k" * 32)
    monkeypatch.delenv("SENTRY_DSN", raising=False)
    ended = subprocess.run([sys.executable, "-c", STARTS], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout.strip()) == (0, "[]"), ended.stderr


async def test_spans_of_requests_side_by_side_do_not_mix(api: Api, spans: Spans) -> None:
    paths = [f"/api/movies/search/?q=film{number}" for number in range(8)]
    await asyncio.gather(*(api.get(path) for path in paths))
    ended = spans()
    assert len({span.context.trace_id for span in ended}) == len(ended) == 8
