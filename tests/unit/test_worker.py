"""The worker without processes: its jobs, when they are done, and the lease, on memory adapters."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs

from moviehub.adapters.memory.leases import MemoryLeases
from moviehub.application.ports import BACKGROUND, Leases
from moviehub.domain.errors import Unavailable
from moviehub.entrypoints.harness import Harness, harness
from moviehub.entrypoints.worker import NAME, WARM_AHEAD, Job, Metrics, Worker, jobs_of
from tests.api import film

LONG = 60.0


class Chore:
    """Something to be done: it fails with these errors, one a time; `begun` is released each time it begins."""

    def __init__(self, name: str, *faults: Exception, every: float = LONG, may_end: bool = True) -> None:
        self.job = Job(name, every, self.act)
        self.begun = asyncio.Semaphore(0)
        self.may_end = asyncio.Event()
        self.runs = 0
        self.cut_short = asyncio.Event()
        self.in_background = False
        self.last_words = 0.0
        self.faults = list(faults)
        if may_end:
            self.may_end.set()

    async def act(self) -> Mapping[str, int]:
        self.runs += 1
        self.in_background = BACKGROUND.get()
        self.begun.release()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(self.last_words)
            self.cut_short.set()
            raise
        if self.faults:
            raise self.faults.pop(0)
        return {"pages_fetched": 2}


class WatchedLeases(MemoryLeases):
    """Leases that tell who got the last one, and when somebody gets none."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = ""
        self.refused = asyncio.Semaphore(0)

    async def take(self, name: str, seconds: float) -> str | None:
        owner = await super().take(name, seconds)
        self.owner = owner or self.owner
        if owner is None:
            self.refused.release()
        return owner


def worker(*chores: Chore, leases: Leases | None = None, metrics: Metrics | None = None, **pace: float) -> Worker:
    """A worker in a hurry."""
    pace = {"lease": LONG, "renew_every": 0.01, "look_again": 0.01, "again": 0.001} | pace
    return Worker([chore.job for chore in chores], leases or MemoryLeases(), metrics or Metrics(), **pace)


@asynccontextmanager
async def at_work(worker: Worker) -> AsyncIterator["asyncio.Task[None]"]:
    """The worker, at work until the end of the block; nothing in it waits for long."""
    working: asyncio.Task[None] = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(5):
            yield working
    finally:
        working.cancel()
        await asyncio.wait([working])


def told(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"moviehub_worker_{name}", labels)


async def test_what_is_due_is_done_and_nothing_else() -> None:
    often, seldom = Chore("often", every=0.0), Chore("seldom")
    async with at_work(worker(often, seldom)):
        for _ in range(5):
            await often.begun.acquire()
        assert seldom.runs == 1


async def test_there_is_one_job_at_a_time() -> None:
    long, other = Chore("long", may_end=False), Chore("other")
    async with at_work(worker(long, other)):
        await long.begun.acquire()
        await asyncio.sleep(0)
        assert other.runs == 0
        long.may_end.set()
        await other.begun.acquire()


async def test_what_a_worker_does_lets_go_first_whoever_is_waited_for() -> None:
    chore = Chore("chore")
    async with at_work(worker(chore)):
        await chore.begun.acquire()
    assert chore.in_background
    assert not BACKGROUND.get()


async def test_a_job_that_fails_is_told_and_leaves_the_others_alone() -> None:
    failing, other, metrics = Chore("failing", Unavailable("It is out.")), Chore("other"), Metrics()
    with capture_logs() as logs:
        assert not await worker(failing, other, metrics=metrics).once()
    assert (failing.runs, other.runs) == (1, 1)
    [line] = [line for line in logs if line["log_level"] == "warning"]
    assert line == {"event": "job_failed", "job": "failing", "why": "It is out.", "log_level": "warning"}
    ends = [(line["job"], line["outcome"]) for line in logs if line["event"] == "job_ends"]
    assert ends == [("failing", "failed"), ("other", "done")]
    assert told(metrics, "job_seconds_count", name="failing", outcome="failed") == 1
    assert told(metrics, "job_seconds_count", name="other", outcome="done") == 1
    assert told(metrics, "last_done_timestamp_seconds", name="failing") is None
    assert told(metrics, "pages_fetched_total") == 2


async def test_an_error_that_nobody_expects_is_logged_with_where_it_was_and_does_not_end_the_worker() -> None:
    broken, other = Chore("broken", ValueError("a fault of ours"), every=0.0), Chore("other")
    with capture_logs() as logs:
        async with at_work(worker(broken, other)):
            await other.begun.acquire()
            await broken.begun.acquire()
            await broken.begun.acquire()
    [line] = [line for line in logs if line["log_level"] == "error"]
    assert (line["job"], repr(line["exc_info"])) == ("broken", "ValueError('a fault of ours')")


async def test_what_fails_again_and_again_is_tried_less_and_less_often_but_never_less_than_usual() -> None:
    chore = Chore("chore", *(Unavailable() for _ in range(5)), every=0.005)
    with capture_logs() as logs:
        async with at_work(worker(chore, again=0.001)):
            for _ in range(6):
                await chore.begun.acquire()
    pauses = [line["seconds"] for line in logs if line["event"] == "job_waits"]
    assert pauses == [0.001, 0.002, 0.004, 0.005, 0.005]


async def test_after_it_went_well_a_job_is_tried_again_as_soon_as_at_first() -> None:
    chore = Chore("chore", Unavailable(), Unavailable(), every=0.005)
    with capture_logs() as logs:
        async with at_work(worker(chore, again=0.001)):
            for _ in range(4):
                await chore.begun.acquire()
            chore.faults.append(Unavailable())
            for _ in range(2):
                await chore.begun.acquire()
    pauses = [line["seconds"] for line in logs if line["event"] == "job_waits"]
    assert pauses == [0.001, 0.002, 0.001]


async def test_of_two_workers_one_works_and_the_other_takes_over_at_once_when_it_ends() -> None:
    leases, metrics = WatchedLeases(), (Metrics(), Metrics())
    one, other = Chore("one", may_end=False), Chore("other")
    one.last_words = 0.1  # longer than others wait before they look again
    async with at_work(worker(one, leases=leases, metrics=metrics[0])) as first:
        await one.begun.acquire()
        with capture_logs() as logs:
            async with at_work(worker(other, leases=leases, metrics=metrics[1])):
                for _ in range(3):
                    await leases.refused.acquire()
                assert [told(each, "holds_lease") for each in metrics] == [1, 0]
                assert other.runs == 0
                first.cancel()
                await other.begun.acquire()
                assert one.cut_short.is_set()
                assert [told(each, "holds_lease") for each in metrics] == [0, 1]
        assert logs[0]["event"] == "another_worker_works"
        assert [line["event"] for line in logs].count("another_worker_works") == 1
    assert told(metrics[0], "job_seconds_count", name="one", outcome="cancelled") == 1
    assert await leases.take(NAME, LONG) is not None


async def test_from_a_worker_that_was_killed_another_takes_over_when_its_lease_is_over() -> None:
    leases, chore = MemoryLeases(), Chore("chore")
    assert await leases.take(NAME, 0.05) is not None  # by who is no more
    async with at_work(worker(chore, leases=leases)):
        await chore.begun.acquire()


async def test_a_lease_is_kept_as_long_as_the_work_lasts() -> None:
    leases, chore = MemoryLeases(), Chore("chore", may_end=False)
    async with at_work(worker(chore, leases=leases, lease=0.2)):
        await chore.begun.acquire()
        await asyncio.sleep(0.3)
        assert await leases.take(NAME, LONG) is None
    assert chore.runs == 1


async def test_a_worker_that_loses_its_lease_stops_at_once_and_waits_for_it_again() -> None:
    leases, chore, metrics = WatchedLeases(), Chore("chore", may_end=False), Metrics()
    async with at_work(worker(chore, leases=leases, metrics=metrics)):
        await chore.begun.acquire()
        await leases.give_back(NAME, leases.owner)
        other = await leases.take(NAME, LONG)
        assert other is not None
        await chore.cut_short.wait()
        await leases.refused.acquire()
        assert told(metrics, "holds_lease") == 0
        assert await leases.renew(NAME, other, LONG), "nobody takes it from its new owner"
        await leases.give_back(NAME, other)
        await chore.begun.acquire()
        assert told(metrics, "holds_lease") == 1


async def test_once_is_nothing_where_another_worker_is_at_it() -> None:
    leases, chore = MemoryLeases(), Chore("chore")
    owner = await leases.take(NAME, LONG)
    assert owner is not None
    assert await worker(chore, leases=leases, lease=0.01).once()
    assert chore.runs == 0
    await leases.give_back(NAME, owner)
    assert await worker(chore, leases=leases).once()
    assert chore.runs == 1
    assert await leases.take(NAME, LONG) is not None


def worker_of(hub: Harness, metrics: Metrics) -> Worker:
    cases: Any = {
        job: getattr(hub, job)
        for job in ("warm_listings", "refresh_changed_movies", "refresh_old_movies", "end_expired_sessions")
    }
    return Worker(jobs_of(cases), hub.container.leases(), metrics)


async def test_the_jobs_are_done_and_counted() -> None:
    async with harness() as hub:
        metrics = Metrics()
        await hub.knows(film(1), film(2))
        hub.catalogue.films.pop()  # the catalogue has it no more
        await hub.register(username="ripley", email="ripley@example.org", password="one small orange cat")
        await hub.sign_in(login="ripley", password="one small orange cat")
        hub.clock.advance(timedelta(days=180))

        assert await worker_of(hub, metrics).once()
        fetched = told(metrics, "pages_fetched_total")
        assert fetched
        assert told(metrics, "sessions_ended_total") == 1
        assert told(metrics, "films_dropped_total") == 1

        asked = len(hub.catalogue.calls)
        assert await worker_of(hub, metrics).once()
        assert told(metrics, "pages_fetched_total") == fetched
        assert told(metrics, "sessions_ended_total") == 1
        assert len(hub.catalogue.calls) == asked + 1, "what changed is asked for again, and nothing else"
        for job in ("warm", "sessions", "old", "changed"):
            assert told(metrics, "job_seconds_count", name=job, outcome="done") == 2


async def test_a_catalogue_that_is_out_keeps_nobody_from_ending_sessions() -> None:
    async with harness() as hub:
        metrics = Metrics()
        hub.catalogue.out = True
        assert not await worker_of(hub, metrics).once()
        outcomes = {
            job: [told(metrics, "job_seconds_count", name=job, outcome=outcome) for outcome in ("done", "failed")]
            for job in ("warm", "sessions", "old", "changed")
        }
        assert outcomes == {"warm": [None, 1], "sessions": [1, None], "old": [1, None], "changed": [None, 1]}


def test_what_is_kept_warm_lasts_until_it_is_looked_at_again() -> None:
    every = {job.name: job.every for job in jobs_of({})}
    assert every == {"warm": 60, "sessions": 3_600, "old": 600, "changed": 21_600}
    assert WARM_AHEAD.total_seconds() > every["warm"]
