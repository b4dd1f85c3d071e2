"""What all counters owe; a subclass has fixtures `counters` and `pass_time`, which lets seconds pass for them."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from moviehub.application.ports import Addition, Count, Counters

PassTime = Callable[[float], Awaitable[None]]

_calls = count()


async def add(counters: Counters, name: str, amount: int = 1, seconds: float = 60) -> Count:
    """One counter after an addition in a call of its own."""
    return (await counters.add({name: Addition(amount, seconds)}, f"call {next(_calls)}"))[name]


class CountersContract:
    async def test_of_many_who_add_at_once_each_gets_a_total_of_its_own(self, counters: Counters) -> None:
        counts = await asyncio.gather(*(add(counters, "a") for _ in range(50)))
        assert sorted(each.total for each in counts) == list(range(1, 51))

    async def test_one_call_adds_to_several_counters(self, counters: Counters) -> None:
        await add(counters, "a", 5)
        counts = await counters.add({"a": Addition(2, 60), "夜 *": Addition(3, 30)}, "both")
        assert {name: each.total for name, each in counts.items()} == {"a": 7, "夜 *": 3}
        assert 59 < counts["a"].seconds_left <= 60
        assert 29 < counts["夜 *"].seconds_left <= 30

    async def test_a_counter_lives_from_its_first_addition_however_much_is_added(
        self, counters: Counters, pass_time: PassTime
    ) -> None:
        await add(counters, "a", seconds=10)
        await pass_time(0.1)
        later = await add(counters, "a", seconds=100)
        assert later.total == 2
        assert 8 < later.seconds_left <= 9.9

    async def test_a_counter_whose_time_is_over_begins_anew(self, counters: Counters, pass_time: PassTime) -> None:
        for _ in range(2):
            first = await add(counters, "a", 3, seconds=0.2)
            assert first.total == 3
            assert 0 < first.seconds_left <= 0.2
            await pass_time(0.22)

    async def test_the_same_call_again_counts_once(self, counters: Counters) -> None:
        again = {"a": Addition(2, 60), "b": Addition(3, 60)}
        for once, total in (("first", 2), ("first", 2), ("second", 4), ("second", 4)):
            assert (await counters.add(again, once))["a"].total == total
        assert (await add(counters, "b")).total == 7
