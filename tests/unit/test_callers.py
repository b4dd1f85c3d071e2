"""How long a caller waits for helps."""

import asyncio

import pytest

from moviehub.application.callers import CALLER, LAST_BEGUN, MOST_HELPED, Caller, helped, helped_by
from moviehub.domain.errors import Unavailable


async def wait(seconds: float, *, shared: bool = False) -> None:
    if shared:
        await helped_by(asyncio.sleep(seconds))
    else:
        with helped():
            await asyncio.sleep(seconds)


async def test_waits_one_after_the_other_count_until_no_command_is_begun() -> None:
    CALLER.set(Caller())
    await wait(LAST_BEGUN - 0.05)
    await wait(0.06)
    with pytest.raises(Unavailable):
        await wait(0)
    await wait(0, shared=True)


async def test_waits_side_by_side_count_as_one() -> None:
    CALLER.set(Caller())
    await asyncio.gather(*(wait(0.05) for _ in range(20)))
    await wait(0)


async def test_what_others_want_too_is_waited_for_to_the_end_of_the_time_in_all() -> None:
    caller = Caller()
    CALLER.set(caller)
    await wait(0.2)
    with pytest.raises(Unavailable):
        await wait(5, shared=True)
    assert MOST_HELPED <= caller.waited < MOST_HELPED + 0.2
    with pytest.raises(Unavailable):
        await wait(1, shared=True)


async def fail() -> None:
    raise KeyError


async def test_a_fault_of_the_help_is_its_own() -> None:
    CALLER.set(Caller())
    for wanted in (0.01, 0.06):
        await wait(wanted)
        with pytest.raises(KeyError), helped():
            raise KeyError
        with pytest.raises(KeyError):
            await helped_by(fail())


async def test_where_nobody_waits_there_is_all_the_time() -> None:
    await wait(MOST_HELPED)
    await wait(0)
    await wait(0, shared=True)
