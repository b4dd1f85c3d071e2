"""Which connections are lent, which stay open, and in what state they come back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from moviehub.adapters.postgres import connections, pool
from moviehub.adapters.postgres.connections import Connections
from moviehub.adapters.postgres.pool import Pool
from moviehub.adapters.postgres.statements import Statement
from moviehub.domain.errors import Invalid, Unavailable

REST = Statement("SELECT pg_backend_pid() AS pid FROM pg_sleep($1)", "seconds", reads=True)
LOCKED = Statement("SELECT first_name FROM users", reads=True)
DIVIDED = Statement("SELECT 1 / $1::int", "number", reads=True)
TOLD = Statement("INSERT INTO alembic_version VALUES ($1)", "number")

LendsFrom = Callable[..., Pool]


@pytest.fixture
async def lends(migrated_url: str) -> AsyncIterator[LendsFrom]:
    """Makes pools with patience."""
    made = []

    def make(**more: Any) -> Pool:
        patient = {"wait_timeout": 20, "connect_timeout": 20, "command_timeout": 20}
        made.append(Pool(migrated_url, **{"min_size": 1, "max_size": 3, "statement_cache": True, **patient, **more}))
        return made[-1]

    yield make
    await asyncio.gather(*(each.close() for each in made))


async def used(lender: Pool, seconds: float = 0) -> int:
    """The server's process that has answered."""
    return int((await lender.rows(REST, seconds=seconds))[0]["pid"])


async def open_ones(operator: asyncpg.Connection) -> set[int]:
    rows = await operator.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'moviehub'"
    )
    return {row["pid"] for row in rows}


async def blocked(operator: asyncpg.Connection) -> None:
    """Return once a statement of ours waits for a lock."""
    ours = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    async with asyncio.timeout(20):
        while not await operator.fetchval(f"SELECT count(*) FROM pg_locks WHERE NOT granted AND database = {ours}"):
            pass


@pytest.mark.parametrize("least", [1, 2])
async def test_what_was_used_last_is_used_next_and_what_nobody_needs_is_closed(
    lends: LendsFrom, operator: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    monkeypatch.setattr(connections, "LONGEST_REST", 0.1)
    lender = lends(min_size=least, max_size=4)
    await lender.rows(DIVIDED, number=1)
    assert lender.size == least
    assert len(set(await asyncio.gather(*(used(lender, 0.05) for _ in range(4))))) == lender.size == 4
    favourite = await used(lender)
    async with asyncio.timeout(20):
        while lender.size > least:
            assert await used(lender) == favourite
        while len(await open_ones(operator)) > least:
            pass
    assert await used(lender, 0.3) == favourite  # while the others are looked at again
    assert lender.size == len(await open_ones(operator)) == least


async def test_only_what_was_not_needed_between_two_looks_is_closed(migrated_url: str) -> None:
    held = Connections(lambda: asyncpg.connect(migrated_url), 1)
    await held.open()
    for wanted, open_afterwards in ((3, 3), (2, 2), (2, 2), (0, 1), (0, 1)):
        lent = [await held.lend() for _ in range(wanted)]
        for connection in lent:
            held.give_back(connection)
        held.look()
        assert held.size == open_afterwards
    await held.close()
    held.cut_all()


async def test_a_connection_on_which_a_statement_failed_or_was_cancelled_is_used_again_once_that_has_ended(
    lends: LendsFrom, operator: asyncpg.Connection
) -> None:
    lender = lends(max_size=1)
    before = await used(lender)
    with pytest.raises(Invalid):
        await lender.rows(DIVIDED, number=0)
    with pytest.raises(Invalid):
        await lender.rows(DIVIDED, number="none")
    async with operator.transaction():
        await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(lender.rows(LOCKED))
        await blocked(operator)
        waiting.cancel()
        after = asyncio.create_task(used(lender))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await after == before
    assert lender.seats.taken == 0


async def test_a_transaction_that_is_over_runs_nothing_on_what_is_now_somebody_elses(lends: LendsFrom) -> None:
    lender = lends(max_size=1)
    async with lender.transaction() as kept:
        pass
    with pytest.raises(ZeroDivisionError):
        async with lender.transaction() as undone:
            raise ZeroDivisionError
    async with lender.transaction() as current:
        for over in (kept, undone):
            with pytest.raises(Unavailable):
                await over.rows(TOLD, number="lost")
        assert [row["first_name"] for row in await current.rows(LOCKED)] == []


async def test_when_statements_are_outdated_one_transaction_finds_out_for_all(
    lends: LendsFrom, operator: asyncpg.Connection
) -> None:
    lender = lends()

    async def read(together: asyncio.Barrier | None = None) -> None:
        async with lender.transaction() as run:
            await run.rows(LOCKED)
            if together:
                await together.wait()

    together = asyncio.Barrier(3)
    await asyncio.gather(*(read(together) for _ in range(3)))
    await operator.execute("ALTER TABLE users ALTER COLUMN first_name TYPE varchar(150)")
    with pytest.raises(Unavailable):
        await read()
    together = asyncio.Barrier(3)
    await asyncio.gather(*(read(together) for _ in range(3)))


async def test_closing_waits_for_what_is_lent_and_lends_nothing_more(
    lends: LendsFrom, operator: asyncpg.Connection
) -> None:
    lender = lends()
    async with lender.transaction() as run:
        closing = asyncio.create_task(lender.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await used(lender)
        await run.rows(TOLD, number="kept")
        assert not closing.done()
    await closing
    assert await operator.fetchval("SELECT count(*) FROM alembic_version WHERE version_num = 'kept'") == 1
    assert lender.size == len(await open_ones(operator)) == 0


async def test_closing_cuts_what_does_not_end(
    lends: LendsFrom, operator: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LONGEST_GOODBYE", 0.1)
    lender = lends(max_size=1)
    async with operator.transaction():
        await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        stuck, waits = asyncio.create_task(lender.rows(LOCKED)), asyncio.create_task(used(lender))
        await blocked(operator)
        async with asyncio.timeout(10):
            await lender.close()
            for each in (stuck, waits):
                with pytest.raises(Unavailable):
                    await each
    assert lender.size == lender.seats.taken == 0
