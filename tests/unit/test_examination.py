"""What `moviehub doctor` makes of what servers tell, of those too that no test can run."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dependency_injector.providers import Object

from moviehub.adapters.memory.cache import MemoryCache
from moviehub.adapters.postgres.diagnosis import Diagnosis
from moviehub.adapters.system.clock import SystemClock
from moviehub.domain.errors import Unavailable
from moviehub.entrypoints.bootstrap import in_memory
from moviehub.entrypoints.cli.examination import examination, of_database, of_redis

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WELL: dict[str, Any] = {
    "told_at": NOW,
    "version": 15,
    "compares_titles": True,
    "indexes_titles": True,
    "wanted": 10,
    "allowed": 97,
}


def states(**facts: Any) -> dict[str, str]:
    """How each part is that is not as in a database that is well."""
    found = of_database(Diagnosis(**WELL | facts), NOW, NOW + timedelta(seconds=1))
    return {finding.part: finding.state for finding in found if finding.state != "ok"}


@pytest.mark.parametrize(
    ("facts", "ill"),
    [
        ({}, {}),
        ({"version": 18}, {}),
        ({"version": 14}, {"server": "unavailable"}),
        ({"compares_titles": False, "indexes_titles": False}, {"extensions": "degraded"}),
        ({"indexes_titles": False}, {"extensions": "degraded"}),
        ({"compares_titles": False, "indexes_titles": None}, {}),  # the migration, which is to come, sees to it
        ({"wanted": 97}, {}),
        ({"wanted": 98}, {"connections": "degraded"}),
        ({"wanted": 98, "allowed": None}, {}),
        ({"told_at": NOW + timedelta(seconds=4)}, {}),  # so long may the answer have been on its way
        ({"told_at": NOW + timedelta(seconds=5)}, {"clock": "degraded"}),
        ({"told_at": NOW - timedelta(seconds=3)}, {}),
        ({"told_at": NOW - timedelta(seconds=4)}, {"clock": "degraded"}),
    ],
    ids=str,
)
def test_what_a_database_tells_is_judged(facts: dict[str, Any], ill: dict[str, str]) -> None:
    assert states(**facts) == ill


@pytest.mark.parametrize(
    ("info", "ill"),
    [
        ({"redis_version": "7.0.0", "maxmemory": 0, "maxmemory_policy": "noeviction"}, []),
        ({"redis_version": "7.2.4", "maxmemory": 9, "maxmemory_policy": "allkeys-lru"}, []),
        ({"redis_version": "10.1"}, []),
        ({"redis_version": "6.2.14"}, ["Redis 6.2.14: rate limits"]),
        ({"redis_version": "6.0", "server_name": "valkey", "valkey_version": "8.1.0"}, []),
        ({"redis_version": "7.4", "maxmemory": 9, "maxmemory_policy": "noeviction"}, ["noeviction: when"]),
        ({"redis_version": "7.4", "cluster_enabled": 1}, ["a node of a cluster"]),
    ],
    ids=str,
)
def test_what_redis_tells_is_judged(info: dict[str, Any], ill: list[str]) -> None:
    found = [finding for finding in of_redis(info) if finding.state != "ok"]
    assert {finding.state for finding in found} <= {"degraded"}
    assert [finding.reason[: len(start)] for finding, start in zip(found, ill, strict=True)] == ill


class LateCache(MemoryCache):
    """A cache that gives no answer in time to the first questions how it is."""

    def __init__(self, times: int) -> None:
        super().__init__(SystemClock())
        self.times = times

    async def ping(self) -> None:
        """Unavailable, so many times."""
        self.times -= 1
        if self.times >= 0:
            raise Unavailable("Not in time.")


@pytest.mark.parametrize(("times", "state"), [(2, "ok"), (3, "degraded")])
async def test_what_is_late_for_a_moment_is_not_ill(times: int, state: str) -> None:
    container = in_memory()
    container.cache.override(Object(LateCache(times)))
    found = {finding.part: finding.state async for finding in examination(container)}
    assert found["cache"] == state
