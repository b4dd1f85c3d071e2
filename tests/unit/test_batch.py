"""Callers who read at once share statements, and none is answered by one that began before they asked."""

import asyncio
import gc
from collections.abc import Mapping, Sequence

import pytest

from moviehub.application.batch import Batch, Turns
from moviehub.domain.errors import Unavailable
from moviehub.domain.pages import NoSuchPage


class Statements:
    """Statements that run until a test ends them."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.running: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def fetch(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.asked.append(sorted(keys))
        number = len(self.asked)
        future = asyncio.get_running_loop().create_future()
        self.running.put_nowait(future)
        await future
        return {key: f"{key} by {number}" for key in keys if key}

    async def end(self, *running: asyncio.Future[None], failure: Exception | None = None, then: int = 1) -> None:
        """End the statement that was `running`, if any, with `failure` if any, and so many that come `then`."""
        for future in running:
            if failure:
                future.set_exception(failure)
            else:
                future.set_result(None)
        for _ in range(then):
            (await self.running.get()).set_result(None)


@pytest.fixture
def statements() -> Statements:
    return Statements()


@pytest.fixture
def batch(statements: Statements) -> Batch[int, str]:
    return Batch(statements.fetch)


async def test_calls_made_while_a_statement_runs_share_the_next(statements: Statements, batch: Batch[int, str]) -> None:
    first = asyncio.create_task(batch.find(1))
    running = await statements.running.get()
    *found, _ = await asyncio.gather(*(batch.find(key) for key in (1, 2, 3, 3, 0)), statements.end(running))
    assert found == ["1 by 2", "2 by 2", "3 by 2", "3 by 2", None]
    assert await first == "1 by 1"
    assert statements.asked == [[1], [0, 1, 2, 3]]


async def test_a_lone_call_waits_for_nobody(statements: Statements, batch: Batch[int, str]) -> None:
    for number in (1, 2, 3):
        call = asyncio.create_task(batch.find(7))
        await statements.end()
        assert await call == f"7 by {number}"


async def test_when_the_database_is_out_all_who_wait_are_told(statements: Statements, batch: Batch[int, str]) -> None:
    first = asyncio.create_task(batch.find(1))
    running = await statements.running.get()
    ending = statements.end(running, failure=Unavailable(), then=0)
    outcomes = await asyncio.gather(first, batch.find(1), batch.find(2), ending, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[:3]] == [Unavailable] * 3
    assert statements.asked == [[1]]
    again, _ = await asyncio.gather(batch.find(1), statements.end())
    assert again == "1 by 2"


async def test_any_other_failure_is_of_those_alone_who_shared_it(
    statements: Statements, batch: Batch[int, str]
) -> None:
    first = asyncio.create_task(batch.find(1))
    running = await statements.running.get()
    other, _ = await asyncio.gather(batch.find(1), statements.end(running, failure=NoSuchPage()))
    assert other == "1 by 2"
    with pytest.raises(NoSuchPage):
        await first


async def test_a_caller_who_goes_away_harms_nobody(statements: Statements, batch: Batch[int, str]) -> None:
    loop, complaints = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    first, second = asyncio.create_task(batch.find(1)), asyncio.create_task(batch.find(1))
    running = await statements.running.get()
    third, fourth = asyncio.create_task(batch.find(2)), asyncio.create_task(batch.find(3))

    async def go_away() -> None:
        first.cancel()
        third.cancel()
        await statements.end(running)

    outcomes = await asyncio.gather(first, second, third, fourth, go_away(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[:2]] == [asyncio.CancelledError, str]
    assert [type(outcome) for outcome in outcomes[2:4]] == [asyncio.CancelledError, str]
    assert complaints == []


async def test_a_failure_that_all_have_left_is_nobodys_complaint(
    statements: Statements, batch: Batch[int, str]
) -> None:
    loop, complaints = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    only = asyncio.create_task(batch.find(1))
    running = await statements.running.get()
    only.cancel()
    await asyncio.gather(only, statements.end(running, failure=Unavailable(), then=0), return_exceptions=True)
    found, _ = await asyncio.gather(batch.find(1), statements.end())
    del only, running
    gc.collect()
    assert found == "1 by 2"
    assert complaints == []


class Slow:
    """A read that ends when it is told to."""

    def __init__(self) -> None:
        self.under_way: list[asyncio.Future[str]] = []
        self.turns: Turns[str, str] = Turns(self._read)

    async def _read(self, key: str) -> str:
        self.under_way.append(asyncio.get_running_loop().create_future())
        return f"{key} {await self.under_way[-1]}"

    async def asked(self, count: int) -> list[asyncio.Task[str]]:
        callers = [asyncio.create_task(self.turns.find("list")) for _ in range(count)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return callers


async def test_equal_calls_that_come_meanwhile_share_a_turn_that_began_after_them() -> None:
    slow = Slow()
    first = await slow.asked(1)
    others = await slow.asked(5)
    assert len(slow.under_way) == 2
    late = await slow.asked(3)
    slow.under_way[1].set_result("second")
    assert await asyncio.gather(*others) == ["list second"] * 5
    await asyncio.sleep(0)
    slow.under_way[2].set_result("third")
    assert await asyncio.gather(*late) == ["list third"] * 3
    slow.under_way[0].set_result("first")
    assert await first[0] == "list first"
    assert len(slow.under_way) == 3


async def test_who_goes_away_while_alone_is_in_nobodys_way() -> None:
    slow = Slow()
    (gone,) = await slow.asked(1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    (caller,) = await slow.asked(1)
    slow.under_way[1].set_result("again")
    assert await caller == "list again"
