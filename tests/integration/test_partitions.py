"""Tables that docs/scaling.md splits into parts, by its very SQL, keep every promise of the ports."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.application.storage import Storage
from moviehub.domain.audit import Event
from moviehub.domain.ratings import Opinion
from moviehub.domain.users import User
from tests.contracts.audit import LONG, AuditContract, entry, trail, write
from tests.contracts.ratings import RatingsContract
from tests.contracts.storage import StorageContract, after, facts, rate, register, remember
from tests.servers import ROOT

PATIENT: dict[str, Any] = {"wait_timeout": 20.0, "connect_timeout": 20.0, "command_timeout": 20.0}
BLOCKS = dict(
    re.findall(r"^<!-- (\w+) -->\n```sql\n(.*?)^```", (ROOT / "docs/scaling.md").read_text(), re.MULTILINE | re.DOTALL)
)

pytestmark = pytest.mark.slow


@pytest.fixture
async def storage(migrated_url: str, operator: asyncpg.Connection) -> AsyncIterator[Storage]:
    for name in ("ratings", "audit", "vacuum"):
        await operator.execute(BLOCKS[name])
    storage = PostgresStorage(migrated_url, **PATIENT)
    yield storage
    await storage.close()


class TestPartedStorage(StorageContract):
    pass


class TestPartedRatings(RatingsContract):
    pass


class TestPartedAudit(AuditContract):
    @pytest.fixture
    async def long_trail(self, storage: Storage, operator: asyncpg.Connection) -> Storage:
        await operator.executemany(
            "INSERT INTO audit (at, event, user_id, address, detail) VALUES ($1, $2, $3, '', $4)",
            [(each.at, each.event.value, each.user_id, each.detail) for each in LONG],
        )
        return storage


async def test_what_was_there_is_there_afterwards_and_numbers_go_on(
    migrated_url: str, operator: asyncpg.Connection
) -> None:
    storage = PostgresStorage(migrated_url, **PATIENT)
    people = [await register(storage, f"user{number}") for number in range(20)]
    (movie,) = await remember(storage, facts(1))
    for person in people:
        await rate(storage, person, movie, 7, "good")
    await write(storage, entry(event=Event.REGISTRATION, user_id=1))
    before = {table: await operator.fetch(f"SELECT * FROM {table} ORDER BY id") for table in ("ratings", "audit")}
    await storage.close()
    for name in before:
        await operator.execute(BLOCKS[name])
        assert await operator.fetch(f"SELECT * FROM {name} ORDER BY id") == before[name]
    storage = PostgresStorage(migrated_url, **PATIENT)
    await rate(storage, await register(storage, "ada"), movie, 1)
    assert await operator.fetchval("SELECT max(id) FROM ratings") > before["ratings"][-1]["id"]
    parts = await operator.fetch("SELECT DISTINCT tableoid FROM ratings")
    assert len(parts) > 1
    await storage.close()


async def test_of_many_who_rate_at_once_those_who_did_before_are_told_so(storage: Storage) -> None:
    people = [await register(storage, f"user{number}") for number in range(40)]
    (movie,) = await remember(storage, facts(1))
    for person in people[::2]:
        await rate(storage, person, movie, 5)

    async def is_new(person: User) -> bool:
        async with storage.autocommit() as uow:
            return (await uow.ratings.save(person.id, movie.id, Opinion(score=6), after(1)))[1]

    told = await asyncio.gather(*map(is_new, people))
    assert told == [False, True] * 20


async def test_a_part_of_the_trail_can_be_let_go_and_is_changed_by_nobody_before(
    storage: Storage, operator: asyncpg.Connection
) -> None:
    for year in (2025, 2026):
        await operator.execute(
            "INSERT INTO audit (at, event, address, detail) VALUES (make_timestamptz($1, 6, 1, 0, 0, 0), $2, '', '')",
            *(year, Event.SIGN_IN.value),
        )
    for table in ("audit", "audit_2025", "audit_2026", "audit_other"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await operator.execute(f"DELETE FROM {table}")
    await operator.execute(BLOCKS["detach"])
    assert [each.at.year for each in await trail(storage)] == [2026]


async def test_the_bytes_of_a_row_are_told(storage: Storage, operator: asyncpg.Connection) -> None:
    await remember(storage, *(facts(number) for number in range(1, 101)))
    await operator.execute("ANALYZE movies")
    sizes = {row["relname"]: row for row in await operator.fetch(BLOCKS["sizes"])}
    assert sizes["movies"]["rows"] == 100
    assert sizes["movies"]["table_bytes"] > 100
