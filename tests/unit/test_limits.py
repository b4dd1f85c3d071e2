"""How rate limits are kept, on counters in memory: over several processes, while they are away, and within bounds."""

import asyncio
import time
from datetime import timedelta

import pytest

from moviehub.adapters.memory.clock import MemoryClock
from moviehub.application.limits import MOST_AT_ONCE, MOST_WINDOWS, SETTLE_EVERY, Limiter
from moviehub.domain.limits import Limit, Standing
from tests.shared_counters import PATIENCE, SharedCounters

TEN = Limit("ten", 10, 60)
HUNDRED = Limit("hundred", 100, 60)


@pytest.fixture
def clock() -> MemoryClock:
    return MemoryClock()


@pytest.fixture
def shared(clock: MemoryClock) -> SharedCounters:
    return SharedCounters(clock)


@pytest.fixture
def ours(shared: SharedCounters, clock: MemoryClock) -> Limiter:
    return Limiter(shared, clock)


@pytest.fixture
def theirs(shared: SharedCounters, clock: MemoryClock) -> Limiter:
    return Limiter(shared, clock)


def passed(standings: list[Standing]) -> int:
    return sum(not each.refused for each in standings)


async def takes(limiter: Limiter, many: int, limit: Limit = TEN, key: str = "a") -> list[Standing]:
    return await asyncio.gather(*(limiter.take(limit, key) for _ in range(many)))


async def reads(limiter: Limiter, many: int, limit: Limit = HUNDRED, key: str = "a") -> list[Standing]:
    return await asyncio.gather(*(limiter.read(limit, key) for _ in range(many)))


async def test_of_many_takes_in_two_processes_exactly_the_quota_passes(ours: Limiter, theirs: Limiter) -> None:
    both = await asyncio.gather(takes(ours, 25), takes(theirs, 25))
    assert sum(map(passed, both)) == TEN.quota
    assert passed(await takes(ours, 5) + await takes(theirs, 5)) == 0


async def test_mixed_with_reads_no_more_takes_than_the_quota_pass(ours: Limiter, theirs: Limiter) -> None:
    took, read = 0, 0
    for _ in range(30):
        for limiter in (ours, theirs):
            taken, seen = await asyncio.gather(takes(limiter, 2, HUNDRED), reads(limiter, 2))
            took, read = took + passed(taken), read + passed(seen)
    assert took < HUNDRED.quota
    assert HUNDRED.quota <= took + read <= HUNDRED.quota * 1.1
    assert passed(await takes(ours, 5, HUNDRED)) == 0


async def test_most_reads_of_a_hot_key_ask_nobody(ours: Limiter, shared: SharedCounters) -> None:
    for _ in range(90):
        assert not (await ours.read(HUNDRED, "a")).refused
    assert len(shared.calls) == 90 // 6  # every sixth, since five may pass before


async def test_the_others_are_soon_told_of_reads(ours: Limiter, theirs: Limiter, shared: SharedCounters) -> None:
    await reads(ours, 5)
    assert shared.calls == []
    await shared.told(1)
    assert (await theirs.take(HUNDRED, "a")).remaining == 94


@pytest.mark.parametrize("at_once", [1, 7, 200])
@pytest.mark.parametrize("quota", [5, 20, 100, 300])
async def test_reads_overshoot_by_a_twentieth_and_then_are_refused_without_asking(
    ours: Limiter, theirs: Limiter, shared: SharedCounters, quota: int, at_once: int
) -> None:
    limit = Limit("some", quota, 60)
    assert passed(await reads(ours, quota // 2, limit)) == quota // 2
    assert passed(await takes(theirs, quota, limit)) >= quota // 2  # what we have told, and all the rest
    more = 0
    for _ in range(quota // at_once + 1):
        more += passed(await reads(ours, at_once, limit))
    assert more <= max(1, quota // 20)
    calls = len(shared.calls)
    assert passed(await reads(ours, 50, limit)) == passed(await takes(ours, 50, limit)) == 0
    assert len(shared.calls) == calls


async def test_a_window_begins_with_its_first_request_and_refusals_do_not_prolong_it(
    ours: Limiter, clock: MemoryClock
) -> None:
    clock.advance(seconds=17)
    await takes(ours, TEN.quota)
    for second in range(60):
        assert await ours.take(TEN, "a") == Standing(TEN, 0, 60 - second, refused=True)
        clock.advance(seconds=1)
    assert await ours.take(TEN, "a") == Standing(TEN, 9, 60)


async def test_reads_told_later_still_end_with_the_window_they_came_in(
    ours: Limiter, theirs: Limiter, shared: SharedCounters, clock: MemoryClock
) -> None:
    await ours.read(HUNDRED, "a")
    clock.advance(seconds=20)
    await shared.told(1)
    assert (await theirs.take(HUNDRED, "a")).resets_in == 40
    clock.advance(seconds=40)
    for limiter in (ours, theirs):
        standing = await limiter.take(HUNDRED, "a")
        assert standing.resets_in == 60
    assert standing.remaining == 98


async def test_when_all_comes_again_is_told_to_the_second(ours: Limiter, clock: MemoryClock) -> None:
    clock.at = clock.at.replace(microsecond=1)
    assert (await ours.take(TEN, "a")).resets_in == 60
    clock.advance(seconds=0.002_992)
    assert {each.resets_in for each in await takes(ours, 9)} == {60}
    clock.advance(seconds=58.997_008)  # as floats these leave 1.0000002 s
    assert (await ours.take(TEN, "a")).resets_in == 1


async def test_limits_and_keys_count_each_for_itself(ours: Limiter) -> None:
    await takes(ours, TEN.quota)
    for limit, key in ((TEN, "b"), (Limit("other", 10, 60), "a"), (Limit("ten", 10, 3_600), "a")):
        assert (await ours.take(limit, key)).remaining == 9


async def test_while_the_others_are_away_each_process_lets_exactly_the_quota_pass(
    ours: Limiter, theirs: Limiter, shared: SharedCounters
) -> None:
    shared.away = True
    for limiter in (ours, theirs):
        assert passed(await takes(limiter, 50)) == TEN.quota
        assert passed(await takes(limiter, 50)) == 0
        assert passed(await reads(limiter, 150)) == HUNDRED.quota


async def test_who_did_not_answer_is_not_asked_again_for_a_moment(ours: Limiter, shared: SharedCounters) -> None:
    shared.away = True
    started = time.monotonic()
    for number in range(50):
        assert not (await ours.take(TEN, str(number))).refused
    assert shared.asked <= 1 + (time.monotonic() - started) / SETTLE_EVERY


async def test_when_they_are_back_they_are_told_and_all_count_together(
    ours: Limiter, theirs: Limiter, shared: SharedCounters, clock: MemoryClock
) -> None:
    shared.away = True
    assert passed(await takes(ours, 4)) == 4
    clock.advance(seconds=30)
    shared.away = False
    await shared.told(1)
    assert passed(await takes(theirs, 10)) == 6
    clock.advance(seconds=30)
    assert passed(await takes(theirs, 10)) == 10


async def test_a_window_that_ended_while_they_were_away_is_told_to_nobody(
    ours: Limiter, theirs: Limiter, shared: SharedCounters, clock: MemoryClock
) -> None:
    shared.away = True
    await takes(ours, 10)
    clock.advance(seconds=60)
    shared.away = False
    assert passed(await takes(theirs, 10)) == 10
    await asyncio.wait(ours._tasks, timeout=PATIENCE)
    assert len(shared.calls) == 1


@pytest.mark.parametrize("lost", [1, 3])
async def test_an_answer_that_is_lost_after_all_was_counted_counts_once(
    ours: Limiter, theirs: Limiter, shared: SharedCounters, lost: int
) -> None:
    shared.loses_answers = lost
    assert passed(await takes(ours, 3)) == 3
    assert passed(await takes(ours, 2)) == 2  # while the first three are in doubt
    await shared.told(lost + 2)
    assert passed(await takes(theirs, 10)) == 5
    assert (await ours.take(TEN, "a")).refused


async def test_counters_that_were_lost_begin_again_and_bring_no_old_ones_back(
    ours: Limiter, shared: SharedCounters, clock: MemoryClock
) -> None:
    await takes(ours, 9)
    clock.advance(seconds=59)
    shared._counters.clear()
    assert await ours.take(TEN, "a") == Standing(TEN, 9, 1)
    clock.advance(seconds=1)
    assert await ours.take(TEN, "a") == Standing(TEN, 9, 60)


async def test_many_keys_are_told_in_one_call(ours: Limiter, shared: SharedCounters) -> None:
    for number in range(100):
        await ours.read(HUNDRED, str(number))
    assert not (await ours.take(HUNDRED, "0")).refused
    await takes(ours, 2, key="b")
    assert [len(call) for call in shared.calls] == [100, 1]


async def test_one_call_is_made_after_the_other(ours: Limiter, shared: SharedCounters) -> None:
    asking = []
    for number in range(20):
        asking.append(asyncio.create_task(ours.take(TEN, str(number % 3))))
        await asyncio.sleep(0)
    assert passed(await asyncio.gather(*asking)) == 20
    assert shared.most_asking == 1


async def test_no_call_has_more_than_a_moment_of_work(ours: Limiter, shared: SharedCounters) -> None:
    for number in range(MOST_AT_ONCE + 1):
        await ours.read(HUNDRED, str(number))
    await shared.told(2)
    assert [len(call) for call in shared.calls] == [MOST_AT_ONCE, 1]


async def test_who_waits_is_answered_though_others_come_all_the_time(ours: Limiter) -> None:
    asking = asyncio.create_task(ours.take(TEN, "a"))
    for number in range(50):
        await ours.read(HUNDRED, str(number))
        await asyncio.sleep(0)
    assert asking.done()


async def test_who_goes_away_is_counted_and_harms_nobody(ours: Limiter, theirs: Limiter) -> None:
    for steps in range(10):
        asking = [asyncio.create_task(ours.take(HUNDRED, f"{steps}")) for _ in range(10)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for each in asking[::2]:
            each.cancel()
        stayed = [each for each in await asyncio.gather(*asking, return_exceptions=True) if isinstance(each, Standing)]
        assert 5 <= len(stayed) == passed(stayed)
        counted = 100 - (await theirs.take(HUNDRED, f"{steps}")).remaining - 1
        assert counted == (10 if steps else 5)  # those who never began are not there


async def test_closing_ends_what_runs_in_the_background(ours: Limiter, shared: SharedCounters) -> None:
    shared.away = True
    await takes(ours, 3)
    assert ours._tasks
    await ours.close()
    assert len(asyncio.all_tasks()) == 1


async def test_when_all_is_told_nothing_runs(ours: Limiter, shared: SharedCounters) -> None:
    await reads(ours, 3)
    await asyncio.wait(ours._tasks, timeout=PATIENCE)
    assert len(shared.calls) == 1
    assert len(asyncio.all_tasks()) == 1


async def test_memory_is_bounded_while_they_are_away(ours: Limiter, shared: SharedCounters) -> None:
    shared.away = True
    await ours.take(HUNDRED, "first")
    for number in range(MOST_WINDOWS + 2 * MOST_AT_ONCE):
        await ours.read(HUNDRED, str(number))
    assert len(ours._windows) == MOST_WINDOWS
    assert len(ours._untold) + len(ours._batch) <= MOST_WINDOWS + MOST_AT_ONCE
    await ours.close()


async def test_a_clock_that_is_set_back_keeps_nobody_out_longer(ours: Limiter, clock: MemoryClock) -> None:
    await takes(ours, 10)
    clock.advance(timedelta(days=-1))
    assert await ours.take(TEN, "a") == Standing(TEN, 9, 60)
