"""What a budget of questions owes; a subclass has a fixture `opened` that opens it with a rate and connections."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from moviehub.application.ports import BACKGROUND, Budget
from moviehub.domain.errors import Unavailable

Open = Callable[[int, int], Budget]
MANY = 1_000
LONG = 5.0
SHORT = 0.2
"""Seconds of patience: enough for a place that is free, and for no other."""


async def asked(budget: Budget, patience: float = LONG, lasting: float = 0.0) -> float:
    """When a question was asked that took so long."""
    async with budget.place(patience):
        at = time.monotonic()
        await asyncio.sleep(lasting)
    return at


async def in_background(budget: Budget, patience: float = LONG) -> float:
    """The same for nobody who waits."""
    BACKGROUND.set(True)
    return await asked(budget, patience)


def answered(answers: Sequence[float | BaseException]) -> list[float]:
    """When they were asked, of those who got a place; the others were told when to come again."""
    for answer in answers:
        assert isinstance(answer, float) or (isinstance(answer, Unavailable) and answer.retry_after >= 1), answer
    return [answer for answer in answers if isinstance(answer, float)]


def most_in_a_second(times: Sequence[float]) -> int:
    """Of these moments, how many at most are in one second, wherever that begins."""
    return max((sum(start <= at < start + 1 for at in times) for start in times), default=0)


@asynccontextmanager
async def holding(budget: Budget, many: int) -> AsyncIterator[AsyncExitStack]:
    """Somebody who holds so many places, to the end or till they are given back."""
    async with AsyncExitStack() as places:
        for _ in range(many):
            await places.enter_async_context(budget.place(LONG))
        yield places


class BudgetContract:
    async def test_no_second_wherever_it_begins_has_more_places_than_the_rate(self, opened: Open) -> None:
        budget = opened(10, MANY)
        times: list[float] = []
        started = time.monotonic()
        while time.monotonic() < started + 2.2:  # in crowds, as people come
            times += answered(await asyncio.gather(*(asked(budget, 1) for _ in range(7)), return_exceptions=True))
        assert most_in_a_second(times) <= 10
        assert len(times) >= 20, "and they are all given"

    async def test_who_has_to_wait_longer_than_their_patience_is_refused_at_once_and_takes_nothing(
        self, opened: Open
    ) -> None:
        budget = opened(3, MANY)
        for _ in range(3):
            await asked(budget)
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(Unavailable) as refused:
                await asked(budget, 0.3)
            assert 1 <= refused.value.retry_after <= 2
        assert time.monotonic() - started < 0.3
        later = await asyncio.gather(*(asked(budget) for _ in range(3)))
        assert all(0.9 < at - started < 1.6 for at in later)

    async def test_no_more_places_are_held_at_once_than_there_are_connections(self, opened: Open) -> None:
        budget = opened(MANY, 4)
        held = most = 0

        async def ask() -> None:
            nonlocal held, most
            async with budget.place(LONG):
                held += 1
                most = max(most, held)
                await asyncio.sleep(0.02)
                held -= 1

        await asyncio.gather(*(ask() for _ in range(20)))
        assert most == 4

    async def test_who_finds_no_connection_free_in_time_is_refused(self, opened: Open) -> None:
        budget = opened(MANY, 2)
        async with holding(budget, 2) as places:
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await asked(budget, SHORT)
            waiting = asyncio.create_task(asked(budget))
            await places.aclose()
            await waiting

    @pytest.mark.parametrize("patience", [SHORT, LONG], ids=["in time", "cancelled"])
    async def test_who_gives_up_leaves_no_place_taken(self, opened: Open, patience: float) -> None:
        budget = opened(MANY, 3)
        for _ in range(4):
            async with holding(budget, 3):
                waiting = [asyncio.create_task(asked(budget, patience)) for _ in range(5)]
                await asyncio.wait(waiting, timeout=SHORT / 4 if patience == LONG else LONG)
                for each in waiting:
                    each.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
            within = [asyncio.create_task(asked(budget, lasting=LONG)) for _ in range(3)]
            await asyncio.wait(within, timeout=SHORT / 4)
            for each in within:
                each.cancel()
            await asyncio.gather(*within, return_exceptions=True)
        await asyncio.gather(*(asked(budget) for _ in range(3)))

    async def test_what_fails_gives_its_place_back(self, opened: Open) -> None:
        budget = opened(MANY, 1)
        for _ in range(3):
            with pytest.raises(ValueError, match="failed"):
                async with budget.place(LONG):
                    raise ValueError("failed")

    async def test_the_background_leaves_a_quarter_of_the_rate_to_whom_somebody_waits_for(self, opened: Open) -> None:
        budget = opened(8, MANY)
        started = time.monotonic()
        await asyncio.gather(*(asyncio.create_task(in_background(budget)) for _ in range(6)))
        late = [asyncio.create_task(in_background(budget)) for _ in range(4)]
        await asyncio.gather(*(asked(budget, SHORT) for _ in range(2)))
        assert time.monotonic() - started < 0.9
        assert min(await asyncio.gather(*late)) - started > 0.9

    async def test_the_background_leaves_a_quarter_of_the_connections_too(self, opened: Open) -> None:
        budget = opened(MANY, 4)
        async with holding(budget, 3) as places:
            waiting = asyncio.create_task(in_background(budget))
            assert await asked(budget, SHORT)
            assert not waiting.done()
            await places.aclose()
            await waiting

    async def test_who_reserved_goes_before_the_background(self, opened: Open) -> None:
        budget = opened(4, MANY)
        await asyncio.gather(*(asked(budget) for _ in range(4)))
        behind = asyncio.create_task(in_background(budget))
        before = [asyncio.create_task(asked(budget)) for _ in range(4)]
        assert max(await asyncio.gather(*before)) < await behind

    async def test_a_budget_of_one_serves_the_background_too(self, opened: Open) -> None:
        await asyncio.create_task(in_background(opened(1, 1)))

    async def test_in_a_pause_all_are_refused_at_once_and_told_how_long_it_is(self, opened: Open) -> None:
        budget = opened(MANY, MANY)
        await budget.pause(1)
        await budget.pause(7)
        await budget.pause(2)
        started = time.monotonic()
        for ask in (asked, in_background):
            with pytest.raises(Unavailable) as refused:
                await asyncio.create_task(ask(budget))
            assert refused.value.retry_after in (6, 7)
        assert time.monotonic() - started < 0.5

    async def test_after_a_pause_places_are_given_again(self, opened: Open) -> None:
        budget = opened(MANY, MANY)
        started = time.monotonic()
        await budget.pause(0.3)
        answers: list[float] = []
        while not answers:
            answers = answered(await asyncio.gather(asked(budget), return_exceptions=True))
        assert 0.29 < answers[0] - started < 1

    async def test_who_reserved_before_a_pause_does_not_ask_within_it(self, opened: Open) -> None:
        budget = opened(2, MANY)
        await asyncio.gather(*(asked(budget) for _ in range(2)))
        reserved = [asyncio.create_task(asked(budget)) for _ in range(2)]
        await asyncio.wait(reserved, timeout=SHORT)
        await budget.pause(7)
        assert answered(await asyncio.gather(*reserved, return_exceptions=True)) == []
