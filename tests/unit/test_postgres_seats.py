"""Who gets a seat, and when."""

import asyncio

import pytest

from moviehub.adapters.postgres.seats import Seats


async def test_who_has_waited_longest_gets_the_next_seat_and_nobody_overtakes() -> None:
    seats, order = Seats(1, 20), []
    await seats.take()

    async def sit(number: int) -> None:
        await seats.take()
        order.append(number)
        seats.give_back()

    waiting = [asyncio.create_task(sit(number)) for number in range(3)]
    await asyncio.sleep(0)
    seats.give_back()
    await asyncio.gather(sit(3), *waiting)  # the last one comes when the seat is as good as taken
    assert order == [0, 1, 2, 3]
    assert (seats.taken, seats.waiting) == (0, 0)


@pytest.mark.parametrize("late", [False, True])
async def test_who_goes_away_keeps_no_seat_not_even_one_that_was_just_given(late: bool) -> None:
    seats = Seats(1, 20)
    await seats.take()
    gone, next_one = asyncio.create_task(seats.take()), asyncio.create_task(seats.take())
    await asyncio.sleep(0)
    if late:
        seats.give_back()
        gone.cancel()
    else:
        gone.cancel()
        seats.give_back()
    with pytest.raises(asyncio.CancelledError):
        await gone
    async with asyncio.timeout(10):
        await next_one
    assert (seats.taken, seats.waiting, seats.refused) == (1, 0, 0)


async def test_that_all_are_free_is_told_when_the_last_one_is_given_back() -> None:
    seats = Seats(2, 20)
    await seats.all_free()
    await seats.take()
    await seats.take()
    told = [asyncio.create_task(seats.all_free()) for _ in range(2)]
    seats.give_back()
    await asyncio.sleep(0)
    assert not any(each.done() for each in told)
    seats.give_back()
    async with asyncio.timeout(10):
        await asyncio.gather(*told)
