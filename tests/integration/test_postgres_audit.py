"""The audit trail in Postgres keeps every promise, cannot be changed, and is searched on an index, as accounts are."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from moviehub.adapters.postgres.audit import PostgresAudit, tell
from moviehub.adapters.postgres.counts import Counts
from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.adapters.postgres.users import PostgresUsers
from moviehub.application.storage import Storage
from moviehub.domain.audit import Event
from moviehub.domain.errors import Unavailable
from moviehub.domain.movies import MovieNotFound
from moviehub.domain.pages import NoSuchPage, PageRequest
from tests.contracts.audit import LONG, AuditContract, entry, trail, write
from tests.contracts.storage import NOW, register


@pytest.fixture
async def storage(migrated_url: str) -> AsyncIterator[Storage]:
    storage = PostgresStorage(migrated_url, wait_timeout=20, connect_timeout=20, command_timeout=20)
    yield storage
    await storage.close()


class TestPostgresAudit(AuditContract):
    @pytest.fixture
    async def long_trail(self, storage: Storage, operator: asyncpg.Connection) -> Storage:
        await operator.executemany(
            "INSERT INTO audit (at, event, user_id, address, detail) VALUES ($1, $2, $3, '', $4)",
            [(each.at, each.event.value, each.user_id, each.detail) for each in LONG],
        )
        return storage


class Explained(Runs):
    """Runs nothing: asks the database how it would."""

    def __init__(self, operator: asyncpg.Connection) -> None:
        self._operator = operator
        self._shown = ""

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        lines = await self._operator.fetch(f"EXPLAIN {statement.sql}", *statement.arguments(values))
        self._shown = "\n".join(line[0] for line in lines)
        return []

    async def plan(self, asked: Awaitable[object]) -> str:
        """How the statement of this call would be run."""
        await asked
        return self._shown


class Counting(Runs):
    """Runs statements, and keeps their names."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self.names: list[str] = []

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        self.names.append(statement.name)
        return await self._runs.rows(statement, **values)


async def test_a_long_trail_is_counted_now_and_then_and_a_short_one_each_time(storage: PostgresStorage) -> None:
    await write(storage, *(entry(number, Event.SIGN_IN, user_id=1) for number in range(4)), entry(0, Event.DELETION))
    counting = Counting(storage.pool)
    entries = PostgresAudit(counting, tell, Counts(60, 4))
    long: list[dict[str, Any]] = [{}, {"user_id": 1}, {"event": Event.SIGN_IN}]
    for request in long:
        first = await entries.list(PageRequest(1, 3), **request)
        counting.names.clear()
        again = await entries.list(PageRequest(1, 3), **request)
        behind = await entries.list(PageRequest(3, 1), **request)
        assert counting.names == ["audit.LIST_COUNTED"] * 2
        assert again == first
        assert (behind.total, behind.items) == (first.total, first.items[2:])
        with pytest.raises(NoSuchPage):
            await entries.list(PageRequest(6, 1), **request)
    for request in ({"event": Event.DELETION}, {"user_id": 1, "event": Event.SIGN_IN}):
        counting.names.clear()
        assert await entries.list(PageRequest(), **request) == await entries.list(PageRequest(), **request)
        assert counting.names == ["audit.LIST"] * 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET detail = ''",
        "UPDATE audit SET id = DEFAULT WHERE false",
        "DELETE FROM audit",
        "TRUNCATE audit RESTART IDENTITY CASCADE",
        "INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM audit ON CONFLICT (id) DO UPDATE SET detail = 'x'",
    ],
)
async def test_the_database_lets_nobody_change_the_audit_trail(
    storage: Storage, operator: asyncpg.Connection, change: str
) -> None:
    kept = entry(user_id=(await register(storage, "ada")).id, detail="so")
    await write(storage, kept)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="audit trail is append-only"):
        await operator.execute(change)
    assert await trail(storage) == [kept]


async def test_what_the_database_did_not_keep_is_not_logged(storage: Storage, operator: asyncpg.Connection) -> None:
    async def write_and_be_cut_off() -> None:
        async with storage.transaction() as uow:
            await uow.audit.add(entry())
            assert await operator.fetchval(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'moviehub'"
            )

    async def write_and_fail_unnoticed() -> None:
        async with storage.transaction() as uow:
            await uow.audit.add(entry())
            with pytest.raises(MovieNotFound):
                await uow.favorites.add(user.id, 7, NOW)

    user = await register(storage, "ada")
    for work in (write_and_be_cut_off, write_and_fail_unnoticed):
        with capture_logs() as lines, pytest.raises(Unavailable):
            await work()
        assert lines == []
    assert await trail(storage) == []


async def test_the_trail_and_accounts_are_searched_on_an_index_however_rare_what_is_wanted_is(
    storage: Storage, operator: asyncpg.Connection
) -> None:
    await operator.execute(
        "INSERT INTO audit (at, event, user_id, address, detail)"
        " SELECT now(), CASE n % 1000 WHEN 0 THEN 'deletion' ELSE 'sign_in' END, n / 50, '', ''"
        " FROM generate_series(1, 5000) AS n"
    )
    await operator.execute(
        "INSERT INTO users (username, username_key, email, email_key, password, first_name, last_name, is_active,"
        " is_staff, is_superuser, created_at, updated_at)"
        " SELECT md5(n::text), md5(n::text), n || '@example.org', n || '@example.org', '', '', '', true, false, false,"
        " now(), now() FROM generate_series(1, 5000) AS n"
    )
    await operator.execute("VACUUM ANALYZE audit, users")

    explained = Explained(operator)
    entries, users, page = (
        PostgresAudit(explained, tell, Counts(0, 1)),
        PostgresUsers(explained, locking=False),
        PageRequest(),
    )
    for index, shown in {
        "pk_audit": await explained.plan(entries.list(page)),
        "ix_audit_user_id_id": await explained.plan(entries.list(page, user_id=7)),
        "ix_audit_event_id": await explained.plan(entries.list(page, event=Event.DELETION)),
        "pk_users": await explained.plan(users.list("", page)),
        "ix_users_names_trigrams": await explained.plan(users.list("C4CA42", page)),
    }.items():
        assert f"using {index}" in shown or f"on {index}" in shown, shown
        assert "Seq Scan" not in shown, shown
