"""Migrations go up, down and up to the same schema, which is the one that the tables describe; one at a time."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from moviehub.adapters.postgres.migrations import __path__ as folder
from moviehub.adapters.postgres.migrations import connected, current, downgrade, head, upgrade
from moviehub.adapters.postgres.tables import metadata
from moviehub.domain.errors import Unavailable
from tests import promises

TRIGRAMS = {"ix_movies_title_key_trigrams", "ix_users_trigrams", "ix_users_names_trigrams"}
TRIGGERS = {"audit.append_only", *(f"ratings.count_{name}" for name in ("new", "changed", "gone", "none"))}
FUNCTIONS = {"refuse_to_change_audit", "count_rating", "uncount_ratings", "forget_scores"}
MIGRATED_ALONE = {*TRIGRAMS, *TRIGGERS, *FUNCTIONS}
"""What Core has no words for, or not every server."""

CATALOG = """
SELECT 'column', table_name || '.' || column_name,
    concat_ws(' ', ordinal_position, data_type, udt_name, is_nullable, column_default, collation_name, is_identity,
        identity_generation)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
UNION ALL
SELECT 'relation', relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass || '.' || tgname, concat_ws(' ', pg_get_triggerdef(oid), tgenabled)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', proname, pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = oid AND deptype = 'e')
ORDER BY 1, 2
"""


def on(url: str, act: Callable[[asyncpg.Connection], Awaitable[object]]) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await act(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def catalog(url: str) -> list[tuple[str, str, str]]:
    """All that the database's schema is, but for Alembic's own table."""
    rows = on(url, lambda connection: connection.fetch(CATALOG))
    assert isinstance(rows, list)
    return [tuple(row) for row in rows if "alembic_version" not in row[1]]


def revisions() -> list[str]:
    return [script.revision for script in ScriptDirectory(folder[0]).walk_revisions()][::-1]


@promises.migrations_back
def test_up_down_and_up_again_leaves_the_same_schema(database_url: str) -> None:
    assert catalog(database_url) == []
    upgrade(database_url)
    migrated = catalog(database_url)
    downgrade(database_url, "base")
    assert catalog(database_url) == []
    upgrade(database_url)
    assert catalog(database_url) == migrated
    assert {row[1] for row in migrated} > MIGRATED_ALONE


@promises.migrations_back
def test_every_single_step_can_be_taken_back(database_url: str) -> None:
    for before, after in pairwise(["base", *revisions()]):
        schema = catalog(database_url)
        upgrade(database_url, after)
        assert catalog(database_url) != schema
        downgrade(database_url, before)
        assert catalog(database_url) == schema
        upgrade(database_url, after)


def test_upgrading_what_is_up_to_date_changes_nothing(migrated_url: str) -> None:
    before = catalog(migrated_url)
    upgrade(migrated_url)
    assert catalog(migrated_url) == before


async def test_the_tables_are_the_migrated_schema(migrated_url: str) -> None:
    differences: list[object] = []

    def compare(connection: Connection) -> None:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences.extend(compare_metadata(context, metadata))

    await connected(migrated_url, compare)
    assert [each for each in differences if not any(name in str(each) for name in TRIGRAMS)] == []


async def test_the_tables_alone_make_the_very_schema_that_the_migrations_make(
    database_url: str, migrated_url: str
) -> None:
    def create(connection: Connection) -> None:
        metadata.create_all(connection)
        connection.commit()

    await connected(database_url, create)
    declared, migrated = await asyncio.gather(
        asyncio.to_thread(catalog, database_url), asyncio.to_thread(catalog, migrated_url)
    )
    assert [row for row in migrated if row[1] not in MIGRATED_ALONE] == declared


async def test_the_revision_is_told(database_url: str) -> None:
    assert await current(database_url) is None
    upgrade(database_url, "0001")  # in a test that has a loop running, as a server's start may have
    assert await current(database_url) == "0001"
    upgrade(database_url)
    assert await current(database_url) == head() == revisions()[-1]
    downgrade(database_url, "base")
    assert await current(database_url) is None


@promises.migrations_at_once
def test_of_four_upgrades_at_once_one_works_and_the_others_wait(database_url: str) -> None:
    code = "import sys; from moviehub.adapters.postgres.migrations import upgrade; upgrade(sys.argv[1])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, database_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    outcomes = [(process.communicate(timeout=60), process.returncode) for process in processes]
    assert outcomes == [((b"", b""), 0)] * 4  # and none of them says a word
    assert asyncio.run(current(database_url)) == head()


def test_without_the_extension_there_is_no_index_and_no_failure(database_url: str) -> None:
    async def restrict(connection: asyncpg.Connection) -> None:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(
            f"CREATE ROLE {name}; GRANT ALL ON SCHEMA public TO {name}; REVOKE CREATE ON DATABASE {name} FROM PUBLIC"
        )

    async def drop(connection: asyncpg.Connection) -> None:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")

    on(database_url, restrict)
    try:
        parts = urlsplit(database_url)
        poor_url = parts._replace(query=f"role={parts.path[1:]}").geturl()
        upgrade(poor_url)
        assert asyncio.run(current(poor_url)) == head()
        assert {row[1] for row in catalog(poor_url)}.isdisjoint(TRIGRAMS)
        downgrade(poor_url, "base")
    finally:
        on(database_url, drop)


async def test_a_migration_gives_up_where_it_would_have_everybody_wait(database_url: str) -> None:
    upgrade(database_url, "0003")
    reader, other = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    try:
        await reader.execute("SET idle_in_transaction_session_timeout = '20s'")  # hours, to who waits behind it
        async with reader.transaction():
            await reader.execute("SELECT FROM movies")
            with pytest.raises(Unavailable, match="lock timeout"):
                await asyncio.to_thread(upgrade, database_url)
        assert await current(database_url) == "0003"
        await asyncio.to_thread(upgrade, database_url)
        assert await other.fetchval("SELECT count(*) FROM movies WHERE dropped_at IS NULL") == 0
    finally:
        await reader.close()
        await other.close()


def test_migrating_leaves_logging_alone(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers), logging.getLogger("alembic").level
    upgrade(database_url)
    assert (root.level, list(root.handlers), logging.getLogger("alembic").level) == before


def test_a_database_that_is_away_or_newer_than_the_code_is_unavailable(database_url: str) -> None:
    with pytest.raises(Unavailable):
        upgrade(database_url + "_not")
    with pytest.raises(Unavailable):
        asyncio.run(current(database_url + "_not"))
    upgrade(database_url)
    on(database_url, lambda connection: connection.execute("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match="9999"):
        upgrade(database_url)
