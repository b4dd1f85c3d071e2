"""What the hub does by itself, and how often: by one worker at a time over the fleet, while the others wait."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NoReturn

import structlog
from prometheus_client import start_http_server

from moviehub.application.ports import BACKGROUND, Leases
from moviehub.application.tracing import untraced
from moviehub.domain.errors import MovieHubError
from moviehub.entrypoints import reports, tracing
from moviehub.entrypoints.bootstrap import running
from moviehub.entrypoints.bootstrap.figures import figures_of
from moviehub.entrypoints.figures import Figures
from moviehub.entrypoints.settings import Settings
from moviehub.entrypoints.use_cases import use_cases

log = structlog.get_logger()

NAME = "worker"
"""The lease of who works."""

LEASE = 10.0
"""Seconds that it lives unless it is renewed: so soon another worker takes over from one that was killed."""

RENEW_EVERY = 3.0
LOOK_AGAIN = 1.0
AGAIN = 180.0
"""Seconds after which a job that failed is tried again; twice as long each time, and never longer than usual."""

MINUTE, HOUR = 60.0, 3_600.0
WARM_AHEAD = timedelta(seconds=75)
"""A little longer than until the next time."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done every so many seconds, however often; `act` tells what came of it, in numbers."""

    name: str
    every: float
    act: Callable[[], Awaitable[Mapping[str, int]]]


def jobs_of(cases: Mapping[str, Any]) -> tuple[Job, ...]:
    """The jobs, done by these use cases; what may take long comes last."""

    async def warm() -> dict[str, int]:
        return {"pages_fetched": await cases["warm_listings"](ahead=WARM_AHEAD)}

    async def end_sessions() -> dict[str, int]:
        return {"sessions_ended": await cases["end_expired_sessions"]()}

    async def refresh_changed() -> dict[str, int]:
        done = await cases["refresh_changed_movies"]()
        return {"films_confirmed": done.confirmed, "films_dropped": done.dropped}

    async def refresh_old() -> dict[str, int]:
        done = await cases["refresh_old_movies"]()
        return {"films_confirmed": done.confirmed, "films_dropped": done.dropped}

    return (
        Job("warm", MINUTE, warm),
        Job("sessions", HOUR, end_sessions),
        Job("old", 10 * MINUTE, refresh_old),
        Job("changed", 6 * HOUR, refresh_changed),
    )


class Metrics:
    """Numbers about the worker for Prometheus."""

    def __init__(self) -> None:
        self.figures = Figures("worker")
        self.registry = self.figures.registry
        self._seconds = self.figures["moviehub_worker_job_seconds"]
        self._last_done = self.figures["moviehub_worker_last_done_timestamp_seconds"]
        self._holds = self.figures["moviehub_worker_holds_lease"]

    def count(self, job: str, outcome: str, seconds: float, counts: Mapping[str, int]) -> None:
        """One run of a job is over."""
        self._seconds.labels(job, outcome).observe(seconds)
        if outcome == "done":
            self._last_done.labels(job).set_to_current_time()
        for name, number in counts.items():
            self.figures[f"moviehub_worker_{name}_total"].inc(number)

    def holds(self, lease: bool) -> None:
        """Whether this worker is the one that works."""
        self._holds.set(lease)

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[None]:
        """Told over HTTP, by a thread of their own; OSError if there is no listening there."""
        server, thread = start_http_server(port, host, self.registry)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class Worker:
    """Does one job after the other, whichever is due, as long as it holds the lease. Jobs may be cut short anywhere."""

    def __init__(
        self,
        jobs: Sequence[Job],
        leases: Leases,
        metrics: Metrics,
        *,
        lease: float = LEASE,
        renew_every: float = RENEW_EVERY,
        look_again: float = LOOK_AGAIN,
        again: float = AGAIN,
    ) -> None:
        self._jobs, self._leases, self._metrics = jobs, leases, metrics
        self._lease, self._renew_every, self._look_again, self._again = lease, renew_every, look_again, again
        self._due = {job.name: -math.inf for job in jobs}
        self._pauses: dict[str, float] = {}

    async def run(self) -> NoReturn:
        """Work whenever the lease is ours, until cancelled."""
        while True:
            if owner := await self._take(math.inf):
                await self._hold(owner, self._by_schedule())

    async def once(self) -> bool:
        """Do each job one time, and nothing if another worker is at it; whether all went well."""
        owner = await self._take(self._lease + self._look_again)  # by then one that was killed has lost it
        return owner is None or await self._hold(owner, self._each())

    async def _take(self, patience: float) -> str | None:
        deadline, told = time.monotonic() + patience, False
        while (owner := await self._leases.take(NAME, self._lease)) is None and time.monotonic() < deadline:
            if not told:
                log.info("another_worker_works")
            told = True
            await asyncio.sleep(self._look_again)
        return owner

    async def _hold(self, owner: str, work: Coroutine[Any, Any, bool]) -> bool:
        """What comes of the work, which is cancelled when the lease is lost; False then."""
        context = copy_context()
        context.run(BACKGROUND.set, True)
        working = asyncio.create_task(work, context=context)
        self._metrics.holds(True)
        log.info("worker_begins")
        try:
            while not (await asyncio.wait([working], timeout=self._renew_every))[0]:
                if not await self._leases.renew(NAME, owner, self._lease):
                    log.warning("lease_lost")
                    return False
            return working.result()
        finally:
            working.cancel()
            await asyncio.wait([working])
            self._metrics.holds(False)
            await self._leases.give_back(NAME, owner)
            log.info("worker_ends")

    async def _by_schedule(self) -> NoReturn:
        while True:
            job = min(self._jobs, key=lambda job: self._due[job.name])
            await asyncio.sleep(max(0.0, self._due[job.name] - time.monotonic()))
            began = time.monotonic()
            if await self._do(job):
                self._pauses.pop(job.name, None)
                self._due[job.name] = began + job.every
            else:
                pause = min(job.every, self._pauses.get(job.name, self._again))
                self._pauses[job.name] = 2 * pause
                self._due[job.name] = time.monotonic() + pause
                log.info("job_waits", job=job.name, seconds=pause)

    async def _each(self) -> bool:
        return all([await self._do(job) for job in self._jobs])

    async def _do(self, job: Job) -> bool:
        log.info("job_begins", job=job.name)
        began, outcome = time.monotonic(), "cancelled"
        counts: Mapping[str, int] = {}
        try:
            counts = await job.act()
            outcome = "done"
        except MovieHubError as fault:
            outcome = "failed"
            log.warning("job_failed", job=job.name, why=str(fault))
        except Exception as error:
            outcome = "failed"
            log.error("unexpected error", job=job.name, exc_info=error)
        finally:
            seconds = time.monotonic() - began
            self._metrics.count(job.name, outcome, seconds, counts)
            log.info("job_ends", job=job.name, outcome=outcome, seconds=round(seconds, 3), **counts)
        return outcome == "done"


async def work(settings: Settings, metrics: Metrics, *, once: bool) -> bool:
    """Work until cancelled, or do each job one time; whether all went well."""
    if settings.cache == "memory":
        log.warning("warm_for_nobody", hint="set MOVIEHUB_REDIS_URL: nobody else sees what is cached in memory")
    async with (
        reports.begun(settings),
        tracing.begun() as traces,
        running(settings, traces.asked if traces else untraced) as container,
    ):
        jobs = jobs_of(use_cases(container))
        if traces:
            jobs = tuple(replace(job, act=traces.job(job.name, job.act)) for job in jobs)
        worker = Worker(jobs, container.leases(), metrics)
        metrics.figures.watch(figures_of(container))
        async with metrics.figures.kept():
            if once:
                return await worker.once()
            await worker.run()
