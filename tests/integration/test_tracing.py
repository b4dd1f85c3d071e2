"""Traces on the real parts: the tree of a search, what is never told, and how spans get to a collector."""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import structlog
from dependency_injector.providers import Object
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from moviehub.entrypoints import tracing
from moviehub.entrypoints.bootstrap import Container, closing
from moviehub.entrypoints.http.app import create_app
from moviehub.entrypoints.http.traced import TracedEdge
from moviehub.entrypoints.settings import UNLIMITED, Settings
from moviehub.entrypoints.tracing import Tracing
from tests import promises
from tests.integration import test_marked_secrets as marked
from tests.servers import eventually, free_port, two_workers
from tests.tmdb_answers import FIRST_ID, title
from tests.tmdb_stand_in import TOKEN, Fault, StandIn

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
REDIS = {"db.system.name": "redis"}
POSTGRES = {"db.system.name": "postgresql"}
SEARCH = title(17)


def redis(command: str) -> tuple[str, dict[str, Any]]:
    return command, {**REDIS, "db.operation.name": command}


def postgres(name: str) -> tuple[str, dict[str, Any]]:
    return name, {**POSTGRES, "db.query.summary": name}


def tmdb(template: str, status: int, **more: Any) -> tuple[str, dict[str, Any]]:
    usual = {"http.request.method": "GET", "url.template": template, "service.peer.name": "tmdb"}
    return f"GET {template}", {**usual, "http.response.status_code": status, **more}


def told(spans: Sequence[ReadableSpan]) -> list[tuple[str, dict[str, Any]]]:
    return [(span.name, dict(span.attributes or {})) for span in spans]


class Hub:
    """The application in this process on real parts, and the spans that it has ended."""

    def __init__(
        self, client: httpx.AsyncClient, container: Container, traces: Tracing, spans: InMemorySpanExporter
    ) -> None:
        self.client, self.container, self.traces, self._spans = client, container, traces, spans

    async def asked(self, path: str, status: int = 200) -> tuple[ReadableSpan, list[ReadableSpan]]:
        """The span of a request that is answered so, and all that were within it, in the order of their beginning."""
        self._spans.clear()
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        await self.container.flights().settled()
        return self.ended()

    def ended(self) -> tuple[ReadableSpan, list[ReadableSpan]]:
        spans = sorted(self._spans.get_finished_spans(), key=lambda span: span.start_time or 0)
        assert len({span.context.trace_id for span in spans}) == 1
        return spans[0], spans[1:]


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with StandIn() as tmdb:
        yield tmdb


@pytest.fixture
async def hub(migrated_url: str, valkey_url: str, stand_in: StandIn) -> AsyncIterator[Hub]:
    settings: dict[str, Any] = {"database_url": migrated_url, "redis_url": valkey_url, "tmdb_url": stand_in.url}
    spans, provider = InMemorySpanExporter(), tracing.provider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    traces = Tracing(provider)
    container = Container(
        settings=Settings(secret_key="k" * 32, tmdb_token=TOKEN, **UNLIMITED, **settings), spans=Object(traces.asked)
    )
    async with closing(container):
        transport = httpx.ASGITransport(TracedEdge(create_app(container), traces))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
            yield Hub(client, container, traces, spans)


async def test_a_search_is_a_tree_of_what_was_asked_of_redis_tmdb_and_postgres(hub: Hub) -> None:
    await hub.asked("/api/movies/search/?q=first")  # the scripts are sent, and connections opened
    server, asked = await hub.asked(f"/api/movies/search/?q={SEARCH}")
    assert server.name == "GET /api/movies/search"
    assert {span.parent and span.parent.span_id for span in asked} == {server.context.span_id}
    assert told(asked) == [
        redis("MGET"),  # is it cached
        redis("SET"),  # the lease of the flight
        redis("MGET"),  # did somebody make it meanwhile
        redis("EVALSHA"),  # a place in the budget
        tmdb("/search/movie", 200),
        postgres("movies_sql.REMEMBER"),
        redis("PUBLISH"),  # there are new films
        redis("PING"),  # and that is passed on
        redis("SET"),
        redis("EVALSHA"),  # the lease is given back
    ]
    everything = server.to_json() + "".join(span.to_json() for span in asked)
    for secret in (SEARCH, SEARCH.split()[0], TOKEN, "127.0.0.1", "moviehub_test"):
        assert secret not in everything


async def test_what_goes_wrong_is_marked_where_it_went_wrong(hub: Hub, stand_in: StandIn) -> None:
    stand_in.fail(Fault.OFFLINE)
    server, asked = await hub.asked(f"/api/movies/tmdb/{FIRST_ID}/", 503)
    failed = tmdb("/movie/{id}", 503, **{"error.type": "503"})
    assert [span for span in told(asked) if span[0].startswith("GET /")] == [failed, failed]
    assert (server.attributes or {})["error.type"] == "503"
    assert [span.status.status_code.name for span in asked if span.name == failed[0]] == ["ERROR"] * 2


async def test_a_transaction_is_told_from_its_begin_to_its_commit(hub: Hub) -> None:
    with hub.traces.request("POST", [], {}):
        async with hub.container.storage().transaction() as uow:
            await uow.movies.find_by_tmdb(1)
    _, asked = hub.ended()
    assert told(asked) == [postgres("BEGIN"), postgres("movies_sql.FIND_BY_TMDB"), postgres("COMMIT")]


class Collector(ThreadingHTTPServer):
    """Takes what is exported over OTLP/HTTP."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Taken)
        self.status = 200
        self.paths: set[str] = set()
        self.bodies: list[bytes] = []

    def exported(self) -> list[tuple[int, Any]]:
        """Each span with the process that it came from."""
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                (pid,) = [pair.value.int_value for pair in resource.resource.attributes if pair.key == "process.pid"]
                found += [(pid, span) for scope in resource.scope_spans for span in scope.spans]
        return found


class _Taken(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.paths.add(self.path)
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collector(port: int = 0) -> Iterator[Collector]:
    with Collector(port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """OpenTelemetry's own lines are as they were afterwards."""
    level = logging.getLogger("opentelemetry").level
    for name in (*tracing.ENDPOINTS, "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)
    yield
    logging.getLogger("opentelemetry").setLevel(level)


@promises.secrets_kept
@pytest.mark.slow
@pytest.mark.usefixtures("_own_environment")
def test_two_workers_export_all_spans_to_the_last_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, migrated_url: str, valkey_url: str
) -> None:
    settings = {
        "DATABASE_URL": migrated_url,
        "REDIS_URL": valkey_url,
        "SECRET_KEY": marked.SECRET_KEY,
        "PREVIOUS_SECRET_KEYS": marked.OLD_SECRET_KEY,
        "TMDB_URL": f"http://127.0.0.1:{free_port()}/3",  # where nobody is
        "TMDB_TOKEN": marked.TMDB_KEY,
        "ACCESS_LOG": "all",
    }
    with collector() as taken:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{taken.server_port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")  # so that only the end sends what is left
        with two_workers(**settings) as server:
            life = marked.Told(server)
            marked.everything(life)
            workers = server.clients_of_each_worker(2)
            for client in workers.values():
                for _ in range(3):
                    client.get("/api/movies/genres/")
                client.close()
            logged = server.output
            assert server.end() == 0
        exported = taken.exported()
        assert taken.paths == {"/v1/traces"}
    assert {pid for pid, _ in exported} == set(workers)
    names = [span.name for _, span in exported]
    assert names.count("GET /api/movies/genres") == 6
    assert {"POST /api/auth/token", "GET /api/movies/search", "EVALSHA", "BEGIN", "GET /search/movie"} <= set(names)
    events = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    told_by_logs = {line["trace_id"] for line in events if "trace_id" in line}
    assert told_by_logs == {span.trace_id.hex() for _, span in exported if span.kind == span.SPAN_KIND_SERVER}
    text = b"".join(taken.bodies).decode("latin-1")
    parts = [part for token in life.tokens for part in (token, token.rpartition(".")[2], token.split(".")[1])]
    assert len(parts) > 30
    secrets = (marked.SECRET_KEY, marked.OLD_SECRET_KEY, marked.TMDB_KEY, marked.PASSWORD, marked.NEW_PASSWORD)
    for secret in (*secrets, marked.MISTYPED, marked.ADDRESS, marked.OTHER_ADDRESS, marked.SEARCH, "127.0.0.1", *parts):
        assert secret not in text


@pytest.mark.usefixtures("_own_environment")
async def test_a_collector_that_is_away_is_one_line_and_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    with structlog.testing.capture_logs() as lines:
        async with tracing.begun() as traces:
            assert traces is not None

            def span() -> None:
                with traces.request("GET", [], {}):
                    pass

            span()
            await asyncio.to_thread(eventually, lambda: lines)
            with collector(port) as taken:
                for number, status in enumerate((400, 400, 200), 1):
                    taken.status = status
                    span()
                    await asyncio.to_thread(eventually, lambda: len(taken.bodies) == number)  # noqa: B023
    assert [line["event"] for line in lines] == ["spans_are_lost", "spans_arrive_again"]


@pytest.mark.usefixtures("_own_environment")
async def test_a_collector_that_hangs_holds_nobody_back_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(tracing.LONGEST_GOODBYE + 0.2))
        async with tracing.begun() as traces:
            assert traces is not None
            with traces.request("GET", [], {}):
                pass
            began = time.monotonic()
        assert time.monotonic() - began < tracing.LONGEST_GOODBYE + 0.5
        for thread in threading.enumerate():  # which would else tell of its own end in the midst of another test
            if thread.name == "OtelBatchSpanRecordProcessor":
                await asyncio.to_thread(thread.join)
