"""Work that many want at once is done once, in one process and over several."""

import asyncio
import gc
import time

import pytest
from structlog.testing import capture_logs

from moviehub.adapters.memory.leases import MemoryLeases
from moviehub.application import flights as module
from moviehub.application.callers import CALLER, Caller
from moviehub.application.flights import Flights
from moviehub.application.ports import Leases
from moviehub.domain.errors import Unavailable
from tests import promises
from tests.contracts.leases import LeasesContract


class TestMemoryLeases(LeasesContract):
    @pytest.fixture
    def leases(self) -> Leases:
        return MemoryLeases()


class Page:
    """Something that is made by work, and whether it was."""

    def __init__(self) -> None:
        self.made: str | None = None
        self.calls = 0
        self.may_end = asyncio.Event()

    async def work(self) -> str:
        self.calls += 1
        await self.may_end.wait()
        self.made = "a page"
        return self.made

    async def done(self) -> str | None:
        return self.made


async def test_over_two_processes_the_work_is_done_once_and_both_have_it() -> None:
    leases, page = MemoryLeases(), Page()
    one, other = Flights(leases), Flights(leases)
    waiting = [
        asyncio.create_task(flights.join("a", page.work, page.done)) for flights in (one, one, other, other, other)
    ]
    await asyncio.sleep(0.1)
    assert (len(one), len(other)) == (1, 1)
    assert (one.waiting, other.waiting) == (2, 3)
    waiting.pop().cancel()  # which harms nobody
    page.may_end.set()
    assert await asyncio.gather(*waiting) == ["a page"] * 4
    assert page.calls == 1
    assert (len(one), len(other)) == (0, 0)
    assert (one.waiting, other.waiting) == (0, 0)


@promises.herd_holder
async def test_whose_owner_was_killed_another_takes_over_within_three_seconds() -> None:
    leases, page = MemoryLeases(), Page()
    await leases.take("a", module.LEASE)  # by who is no more
    page.may_end.set()
    async with asyncio.timeout(3):
        assert await Flights(leases).join("a", page.work, page.done) == "a page"


async def test_a_lease_lasts_as_long_as_the_work_does() -> None:
    leases, page = MemoryLeases(), Page()
    flight = asyncio.create_task(Flights(leases).join("a", page.work, page.done))
    await asyncio.sleep(module.LEASE + 0.2)
    assert await leases.take("a", 1.0) is None
    page.may_end.set()
    await flight
    assert await leases.take("a", 1.0) is not None


async def test_what_fails_gives_its_lease_back_and_is_forgotten() -> None:
    leases, flights = MemoryLeases(), Flights(MemoryLeases())

    async def fail() -> str:
        raise Unavailable("the catalogue is out")

    page = Page()
    with pytest.raises(Unavailable):
        await flights.join("a", fail, page.done)
    assert len(flights) == 0
    page.may_end.set()
    assert await flights.join("a", page.work, page.done) == "a page"
    assert await leases.take("a", 1.0) is not None


async def test_what_fails_when_everybody_who_waited_has_gone_away_disturbs_nobody() -> None:
    flights, page = Flights(MemoryLeases()), Page()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def fail() -> str:
        await page.may_end.wait()
        raise Unavailable("the catalogue is out")

    waiting = [asyncio.create_task(flights.join("a", fail, page.done)) for _ in range(2)]
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    page.may_end.set()
    await flights.settled()
    gc.collect()
    assert told == []


@promises.tmdb_deadline
async def test_a_caller_waits_so_long_for_all_work_together_and_what_is_not_done_by_then_goes_on() -> None:
    flights, quick, slow, long = Flights(MemoryLeases(), patience=0.2), Page(), Page(), Page()

    async def ask() -> None:
        CALLER.set(Caller())
        for key, page in (("quick", quick), ("slow", slow)):
            assert await flights.join(key, page.work, page.done) == "a page"
        await asyncio.gather(*(flights.join(key, long.work, long.done) for key in ("long", "longer")))

    loop = asyncio.get_running_loop()
    asking, began = asyncio.create_task(ask()), loop.time()
    quick.may_end.set()
    loop.call_later(0.15, slow.may_end.set)
    with pytest.raises(Unavailable):
        await asking
    assert 0.2 <= loop.time() - began < 0.3, "each of them alone would have had the time"
    assert flights.waiting == 0
    long.may_end.set()
    await flights.settled()
    assert (long.calls, long.made) == (2, "a page")


async def test_who_is_no_caller_has_the_time_for_each_piece_of_work() -> None:
    flights = Flights(MemoryLeases(), patience=0.2)
    for number in range(3):
        page = Page()
        asyncio.get_running_loop().call_later(0.15, page.may_end.set)
        assert await flights.join(str(number), page.work, page.done) == "a page"


async def test_what_fails_behind_an_answer_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    flights, page = Flights(MemoryLeases()), Page()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def fail() -> str:
        raise Unavailable("the catalogue is out")

    with capture_logs():
        flights.behind("a", fail, page.done)
        await flights.settled()
    assert told == []
    flights.behind("a", page.work, page.done)
    assert len(flights) == 0, "after a failure it is left alone for a moment"
    later = time.monotonic() + module.LEFT_ALONE
    monkeypatch.setattr(time, "monotonic", lambda: later)
    page.may_end.set()
    flights.behind("a", page.work, page.done)
    await flights.settled()
    assert page.made is not None


async def test_closing_ends_what_is_under_way() -> None:
    flights, page = Flights(MemoryLeases()), Page()
    waiting = asyncio.create_task(flights.join("a", page.work, page.done))
    await asyncio.sleep(0)
    await flights.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(flights) == 0
