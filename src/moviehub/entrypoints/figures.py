"""Every number that the hub tells Prometheus, in one table, and how those that its parts count get there."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, NoReturn

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from moviehub import __version__

log = structlog.get_logger()

Value = float | Mapping[Any, float] | Mapping[Any, Sequence[float]]
"""A number, or one for each value of its label; of several labels, the values are a tuple. Of a histogram, how many
fell into each bucket, and the sum of all that was seen."""

Source = Callable[[], Value]

LOOK_EVERY = 0.25
LOOKS = 4
"""Seconds from one look at the event loop to the next; what the parts count is copied after so many looks."""

_LAG = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_PROCESS = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Metric:
    """One of them, told by a server, by the background worker or by both.

    `over` says what is told of a gauge when a server has several workers: all, with a label `pid`, or one number of
    them. A worker that has ended is none of them; what it has counted stays.
    """

    kind: type[Counter] | type[Gauge] | type[Histogram] | type[Summary]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    by: Literal["server", "worker", "both"] = "both"
    over: Literal["liveall", "livesum", "livemin", "livemax"] = "livesum"
    buckets: tuple[float, ...] = ()

    def made(self, registry: CollectorRegistry) -> Any:
        """The client's object for it."""
        more: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        if self.kind is Gauge:
            more["multiprocess_mode"] = self.over
        return self.kind(self.name, self.help, self.labels, registry=registry, **more)


def _server(kind: Any, name: str, told: str, *labels: str, **more: Any) -> Metric:
    return Metric(kind, f"moviehub_{name}", told, labels, "server", **more)


def _worker(kind: Any, name: str, told: str, *labels: str) -> Metric:
    return Metric(kind, f"moviehub_worker_{name}", told, labels, "worker")


def _both(kind: Any, name: str, told: str, *labels: str, **more: Any) -> Metric:
    return Metric(kind, f"moviehub_{name}", told, labels, **more)


METRICS = (
    _server(
        *(Histogram, "http_request_seconds", "Time from request to answer, in seconds."),
        *("method", "route", "status"),
        buckets=REQUEST_BUCKETS,
    ),
    _server(Counter, "rate_limited_total", "Requests refused by a rate limit.", "limit"),
    _server(Counter, "turned_away_total", "Requests turned away because too many were under way.", "kind"),
    _server(Gauge, "requests_under_way", "Requests begun and not answered yet, but for kept pages.", "kind"),
    _server(Gauge, "waiting_for_catalogue", "Requests that wait for a page of the catalogue under way."),
    _server(
        *(Counter, "catalogue_answers_total"),
        "Answers from the catalogue: kept encoded, hit, stale, miss, or local while it is out.",
        *("route", "cache"),
    ),
    _server(Gauge, "healthy", "1 if a part was well when it was last asked, else 0.", "part", over="livemin"),
    _both(
        Counter,
        "cache_lookups_total",
        "Look-ups in the shared cache by where it was found: local, redis, none.",
        "found",
    ),
    _both(Counter, "tmdb_calls_total", "Questions to TMDb, asked or not, by what came of them.", "outcome"),
    _both(Counter, "tmdb_call_seconds_total", "Time that they took, in seconds.", "outcome"),
    _both(Counter, "tmdb_budget_wait_seconds_total", "Time that they waited for their turn, in seconds."),
    _both(Gauge, "tmdb_circuit_open", "Processes that do not ask TMDb, or only to probe it, since it is out."),
    _both(Gauge, "postgres_pool_limit", "Connections to Postgres that may be open.", "server"),
    _both(Gauge, "postgres_pool_open", "Connections to Postgres that are open.", "server"),
    _both(Gauge, "postgres_pool_in_use", "Connections to Postgres that are lent to somebody.", "server"),
    _both(Gauge, "postgres_pool_waiting", "Who waits for a connection to Postgres.", "server"),
    _both(Counter, "postgres_pool_wait_seconds_total", "Time that they waited, in seconds.", "server"),
    _both(Counter, "postgres_pool_refused_total", "Who waited for a connection in vain.", "server"),
    _both(Gauge, "redis_skipped", "Processes that do not ask Redis, since it does not answer."),
    _both(Counter, "redis_failures_total", "Commands to Redis that failed."),
    _both(Gauge, "passwords_under_way", "Passwords that are being hashed, or wait for it."),
    _both(Counter, "passwords_refused_total", "Passwords that found too many others waiting."),
    _both(Histogram, "loop_lag_seconds", "How late the event loop was, four times a second.", buckets=_LAG),
    _both(Gauge, "memory_bytes", "Resident memory of a process.", over="liveall"),
    _both(Gauge, "open_handles", "Files and sockets that a process has open.", over="liveall"),
    _both(Gauge, "tasks", "Tasks of the event loop of a process.", over="liveall"),
    _both(Counter, "cpu_seconds_total", "Processor time used, in seconds."),
    _both(Counter, "garbage_collections_total", "Collections of the garbage collector.", "generation"),
    _both(Gauge, "build_info", "1, with the version as a label.", "version", over="livemax"),
    _worker(
        Summary, "job_seconds", "Time that a job took; the outcome is done, failed or cancelled.", "name", "outcome"
    ),
    _worker(Gauge, "last_done_timestamp_seconds", "When a job was last done without a fault.", "name"),
    _worker(Gauge, "holds_lease", "1 while this worker is the one that works, 0 while it waits for another."),
    _worker(Counter, "pages_fetched_total", "Pages of the catalogue fetched before anybody asks."),
    _worker(Counter, "films_confirmed_total", "Films confirmed with the catalogue."),
    _worker(Counter, "films_dropped_total", "Films that the catalogue has no more."),
    _worker(Counter, "sessions_ended_total", "Sessions ended because their time was over."),
)


class Figures:
    """The metrics of one process. What its parts count in plain numbers is copied here now and then.

    So the parts know nothing of Prometheus, and to count costs them next to nothing.
    """

    def __init__(self, process: Literal["server", "worker"]) -> None:
        self.registry = CollectorRegistry()
        self._metrics = {each.name: each.made(self.registry) for each in METRICS if each.by in (process, "both")}
        self._sources = _of_this_process()
        self._copied: dict[tuple[str, str | tuple[str, ...]], tuple[Any, Any]] = {}

    def __getitem__(self, name: str) -> Any:
        """The client's object, for what is told of at once."""
        return self._metrics[name]

    def watch(self, sources: Mapping[str, Source]) -> None:
        """Copy these from now on: by a metric's name, what tells its value. Counts must never fall."""
        self._sources |= sources

    def copy(self) -> None:
        """Copy what the parts count, as it is now."""
        for name, source in self._sources.items():
            try:
                told = source()
            except OSError:  # no handle is left to look with, for one
                continue
            for labels, value in (told if isinstance(told, Mapping) else {(): told}).items():
                self._tell(name, labels, value)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Have everything copied once a second within this block, and the event loop looked at."""
        self.copy()  # or it would be told for a second that no memory is used
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _keep(self) -> NoReturn:
        lag = self["moviehub_loop_lag_seconds"]
        while True:
            for _ in range(LOOKS):
                due = time.monotonic() + LOOK_EVERY
                await asyncio.sleep(LOOK_EVERY)
                lag.observe(max(0.0, time.monotonic() - due))
            try:
                self.copy()
            except Exception as error:  # of one source; the numbers that are told go on
                log.error("unexpected error", exc_info=error)

    def _tell(self, name: str, labels: str | tuple[str, ...], value: float | Sequence[float]) -> None:
        known = self._copied.get((name, labels))
        if known is None:
            values = (labels,) if isinstance(labels, str) else labels
            child, before = self[name].labels(*values) if values else self[name], None
        else:
            child, before = known
            if value == before:
                return
        if isinstance(value, Sequence):
            value = tuple(value)
            # The client itself takes one observation at a time, which is a third of the price of a quick answer.
            for cell, now, then in zip((*child._buckets, child._sum), value, before or repeat(0), strict=False):
                cell.inc(now - then)
        elif isinstance(child, Gauge):
            child.set(value)
        else:
            child.inc(value - (before or 0))
        self._copied[name, labels] = child, value


def _of_this_process() -> dict[str, Source]:
    found: dict[str, Source] = {
        "moviehub_build_info": lambda: {__version__: 1},
        "moviehub_cpu_seconds_total": time.process_time,
        "moviehub_garbage_collections_total": _collections,
        "moviehub_tasks": lambda: len(asyncio.all_tasks()),
    }
    if (_PROCESS / "statm").exists():  # on Linux; others do not tell it so cheaply
        page = os.sysconf("SC_PAGE_SIZE")
        found["moviehub_memory_bytes"] = lambda: int((_PROCESS / "statm").read_text().split()[1]) * page
        found["moviehub_open_handles"] = lambda: len(os.listdir(_PROCESS / "fd")) - 1  # one is this look's own
    return found


def _collections() -> dict[str, float]:
    return {str(generation): told["collections"] for generation, told in enumerate(gc.get_stats())}
