"""Every clock tells one time, as an instant and as seconds."""

import pytest

from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.system.clock import SystemClock
from moviehub.application.ports import Clock


@pytest.mark.parametrize("clock", [MemoryClock(), SystemClock()], ids=["memory", "system"])
def test_seconds_are_those_of_the_instant(clock: Clock) -> None:
    before, seconds, after = clock.now(), clock.seconds(), clock.now()
    assert before.timestamp() - 1e-5 <= seconds <= after.timestamp() + 1e-5  # an instant has microseconds
    assert before.utcoffset() is not None
    assert not before.utcoffset()
