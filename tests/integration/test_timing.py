"""How long a refused sign-in takes tells nothing of who has an account."""

import statistics
import time
from collections.abc import AsyncIterator

import pytest

from moviehub.entrypoints.bootstrap import running
from moviehub.entrypoints.settings import UNLIMITED, Settings
from moviehub.entrypoints.use_cases import use_cases
from tests import promises
from tests.api import PASSWORD, Api, api_over
from tests.reliability import Measured

TURNS = 15
COST = 8  # some 15 ms: enough to be seen beside everything else that a sign-in does


@pytest.fixture
async def api(migrated_url: str) -> AsyncIterator[Api]:
    """The application on Postgres and bcrypt, as it is served."""
    settings = Settings(database_url=migrated_url, secret_key="k" * 32, bcrypt_cost=COST, **UNLIMITED)
    async with running(settings) as container, api_over(container) as api:
        yield api


@promises.enumeration
async def test_unknown_deactivated_and_wrong_take_the_same_time_and_say_the_same(api: Api, measured: Measured) -> None:
    cases = use_cases(api.container)
    boss = await cases["register"](username="boss", email="boss@example.org", password=PASSWORD, is_superuser=True)
    await api.register("alice")
    gone = await api.register("gone")
    await cases["govern_user"](actor_id=boss.id, user_id=gone["id"], is_active=False)
    attempts = {
        "wrong": ("alice", "not the right one"),
        "unknown": ("nobody", PASSWORD),
        "unknown address": ("nobody@example.org", PASSWORD),
        "a name that nobody can have": ("x" * 700, PASSWORD),
        "deactivated": ("gone", PASSWORD),
        "wrong of a deactivated": ("gone", "not the right one"),
        "over-long": ("alice", "p" * 5_000),
        "empty": ("alice", ""),
    }
    taken: dict[str, list[float]] = {name: [] for name in attempts}
    told = set()
    for _ in range(TURNS):
        for name, (username, password) in attempts.items():
            started = time.process_time()  # what others do on this machine does not count
            answer = await api.post("/api/auth/token/", {"username": username, "password": password})
            taken[name].append(time.process_time() - started)
            document = answer.json()
            del document["request_id"]
            told.add((answer.status_code, str(document)))
    assert len(told) == 1
    medians = {name: statistics.median(times) for name, times in taken.items()}
    assert max(medians.values()) < 1.25 * min(medians.values()), medians
    apart = max(medians.values()) / min(medians.values()) - 1
    measured("medians apart by", f"{apart:.0%}")
