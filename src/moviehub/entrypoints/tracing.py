"""Traces by OpenTelemetry: how spans are named, what they tell, and how they get to a collector."""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from contextvars import Token
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from moviehub import __version__
from moviehub.application.tracing import SPAN, Span, untraced

if TYPE_CHECKING:
    # At run time it is imported by `begun` alone: it takes a tenth of a second, and may not be installed.
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

T = TypeVar("T")
Headers = Iterable[tuple[bytes, bytes]]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

LONGEST_GOODBYE = 1.0
"""Seconds that the last spans may take to be delivered when a process ends."""

log = structlog.get_logger()


class Traced(AbstractContextManager["Traced"]):
    """A span under way. It ends with its block, and with a fault if that raises: of what kind, never in which words."""

    def __init__(self, span: "trace.Span", *, parent: bool) -> None:
        self.span = span
        self._parent = parent
        self._failed = False
        self._token: Token[Span | None] | None = None

    @property
    def trace_id(self) -> str:
        return f"{self.span.get_span_context().trace_id:032x}"

    def __enter__(self) -> "Traced":
        if self._parent:
            self._token = SPAN.set(self)
        return self

    def __exit__(self, _: object, fault: BaseException | None, __: object) -> None:
        if self._token is not None:
            SPAN.reset(self._token)
        if fault is not None:
            self._fail(type(fault).__name__)
            if sqlstate := getattr(fault, "sqlstate", None):
                self.span.set_attribute("db.response.status_code", sqlstate)
        self.span.end()

    def answered(self, status: int) -> None:
        self.span.set_attribute("http.response.status_code", status)
        if status >= (500 if self._parent else 400):  # whoever asks is at fault below 500, and that is us or they
            self._fail(str(status))

    def _fail(self, why: str) -> None:
        if self._failed:
            return
        self._failed = True
        from opentelemetry.trace import StatusCode

        self.span.set_attribute("error.type", why)
        self.span.set_status(StatusCode.ERROR)


class Tracing:
    """Begins the spans of one process, by the semantic conventions of OpenTelemetry.

    They hold no path, query, address, header, value or message: only what is written in the code, numbers, and the
    request id.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("moviehub", __version__)
        self._kinds = trace.SpanKind
        self._within = trace.set_span_in_context
        self._read = TraceContextTextMapPropagator().extract
        self._nothing = Context()

    def request(self, method: str, headers: Headers, attributes: Mapping[str, str]) -> Traced:
        """The span of a request, within the trace that its `traceparent` names, if there is one that can be read."""
        told = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
        # Without a context of its own, the library would look for one that others have left in this task.
        within = self._read({"traceparent": told[0]}, self._nothing) if len(told) == 1 else self._nothing
        span = self._tracer.start_span(method, within, self._kinds.SERVER, attributes)
        return Traced(span, parent=True)

    def asked(self, system: str, what: object) -> AbstractContextManager[Span]:
        """The span of asking a system something, if that is for a request or a job that is traced."""
        parent = SPAN.get()
        if not isinstance(parent, Traced):
            return untraced(system, what)
        name = str(what)
        attributes: dict[str, str]
        if system == "postgresql":
            attributes = {"db.system.name": system, "db.query.summary": name}
        elif system == "redis":
            attributes = {"db.system.name": system, "db.operation.name": name}
        else:
            method, template = name.split(" ")
            attributes = {"http.request.method": method, "url.template": template, "service.peer.name": system}
        within = self._within(parent.span, self._nothing)
        return Traced(self._tracer.start_span(name, within, self._kinds.CLIENT, attributes), parent=False)

    def job(self, name: str, act: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """What the worker does by itself, with a trace for each time."""

        async def traced() -> T:
            with Traced(self._tracer.start_span(f"job {name}", self._nothing), parent=True):
                return await act()

        return traced

    async def close(self) -> None:
        """Deliver what is left, unless that takes too long."""
        goodbye = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        goodbye.start()
        await asyncio.to_thread(goodbye.join, LONGEST_GOODBYE)


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment, in the variables that OpenTelemetry defines, asks for traces."""
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    return exporter == "otlp" and not off and any(environ.get(name, "").strip() for name in ENDPOINTS)


@asynccontextmanager
async def begun() -> AsyncIterator[Tracing | None]:
    """The traces of this process, if they are wanted; delivered to the end. To be begun in each worker for itself."""
    tracing = _begin() if wanted() else None
    try:
        yield tracing
    finally:
        if tracing is not None:
            await tracing.close()


def _begin() -> Tracing | None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("not_traced", hint="OTEL_EXPORTER_OTLP_ENDPOINT is set: pip install 'moviehub[otel]', or unset it")
        return None
    try:
        traces = provider()
        traces.add_span_processor(BatchSpanProcessor(_told_once(OTLPSpanExporter())))
    except ValueError as fault:
        log.warning("not_traced", why=str(fault), hint="look at the OTEL_ variables")
        return None
    # From here on its own lines, several for each batch that is lost, say less than ours.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return Tracing(traces)


def provider() -> "TracerProvider":
    """What makes spans of this service; the environment says which of them are kept, and may name it otherwise."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider

    ours: dict[str, Any] = {"service.name": "moviehub", "service.version": __version__, "process.pid": os.getpid()}
    return TracerProvider(resource=Resource(ours).merge(OTELResourceDetector().detect()), shutdown_on_exit=False)


def _told_once(exporter: "SpanExporter") -> "SpanExporter":
    """The same exporter, which tells in one line that spans do not arrive, and in one that they do again."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Told(SpanExporter):
        lost = False

        def export(self, spans: "Sequence[ReadableSpan]") -> SpanExportResult:
            result = exporter.export(spans)
            lost = result is not SpanExportResult.SUCCESS
            if lost and not self.lost:
                log.warning("spans_are_lost", hint="the collector at OTEL_EXPORTER_OTLP_ENDPOINT does not take them")
            elif self.lost and not lost:
                log.info("spans_arrive_again")
            self.lost = lost
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    return Told()
