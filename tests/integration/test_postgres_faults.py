"""What the storage does when the database is away, hangs, drops connections, or others are quicker or go away."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from moviehub.adapters.postgres import pool
from moviehub.adapters.postgres.statements import Statement
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.application.storage import Storage
from moviehub.domain.errors import Unavailable
from moviehub.domain.movies import MovieNotFound
from moviehub.domain.users import User
from moviehub.entrypoints.bootstrap import running
from moviehub.entrypoints.settings import Settings
from tests import promises
from tests.contracts.storage import NOW, detail, facts, new_user, rate, register, remember, sign_in


@pytest.fixture
async def storage(migrated_url: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(migrated_url, max_size=3, wait_timeout=20, connect_timeout=20, command_timeout=20)
    yield storage
    await storage.close()


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://nobody@127.0.0.1:{server.getsockname()[1]}/nothing"


async def blocked(operator: asyncpg.Connection, *, but: int = 0) -> int:
    """The process of the moviehub statement, other than `but`, that waits for a lock, as soon as there is one."""
    async with asyncio.timeout(20):
        while True:
            await operator.execute("SELECT pg_stat_clear_snapshot()")  # in a transaction it would stay as first seen
            pid: int | None = await operator.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'moviehub' AND wait_event_type = 'Lock' AND pid <> $1",
                but,
            )
            if pid is not None:
                return pid


async def kill_all(operator: asyncpg.Connection) -> int:
    killed = await operator.fetch(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'moviehub'"
    )
    return len(killed)


async def read_name(storage: Storage, user: User) -> str:
    async with storage.reading() as uow:
        return (await uow.users.get(user.id)).first_name


async def write_name(storage: Storage, user: User, name: str) -> None:
    async with storage.transaction() as uow:
        fresh = await uow.users.get(user.id)
        await uow.users.save(replace(fresh, first_name=name))


async def test_a_database_that_is_down_is_unavailable_at_once_and_keeps_no_storage_from_being_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    storage = PostgresStorage(f"postgresql://nobody@127.0.0.1:{port}/nothing")
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await storage.ping()
    with pytest.raises(Unavailable):
        await register(storage, "ada")
    assert time.monotonic() - started < 1
    await storage.close()


@promises.postgres_hangs
async def test_a_database_that_never_answers_is_unavailable_in_time_for_all_who_ask(silent_url: str) -> None:
    storage = PostgresStorage(silent_url, connect_timeout=0.3)
    started = time.monotonic()
    outcomes = await asyncio.gather(*(storage.ping() for _ in range(30)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert time.monotonic() - started < 1.5
    await storage.close()


async def test_a_server_without_the_database_or_its_tables_is_unavailable(database_url: str) -> None:
    for url in (database_url, database_url + "_not"):
        storage = PostgresStorage(url)
        with pytest.raises(Unavailable):
            await register(storage, "ada")
        await storage.close()


async def test_a_closed_storage_is_unavailable(migrated_url: str) -> None:
    used, unused = PostgresStorage(migrated_url), PostgresStorage(migrated_url)
    await used.ping()
    for storage in (used, unused):
        await storage.close()
        with pytest.raises(Unavailable):
            await storage.ping()


@promises.postgres_hangs
async def test_a_statement_that_takes_too_long_is_unavailable_and_leaves_nothing_behind(
    migrated_url: str, operator: asyncpg.Connection
) -> None:
    storage = PostgresStorage(migrated_url, max_size=2, wait_timeout=20, connect_timeout=20, command_timeout=0.3)
    user = await register(storage, "ada")
    async with operator.transaction():
        await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        for _ in range(3):
            with pytest.raises(Unavailable):
                await read_name(storage, user)
            with pytest.raises(Unavailable):
                await write_name(storage, user, "lost")
    await write_name(storage, user, "kept")
    assert await read_name(storage, user) == "kept"
    await storage.close()


@promises.pool_exhausted
async def test_when_every_connection_is_lent_the_wait_has_an_end(migrated_url: str) -> None:
    storage = PostgresStorage(migrated_url, max_size=1, wait_timeout=0.1)
    async with storage.transaction() as uow:
        await uow.users.add(new_user("ada"), NOW)
        with pytest.raises(Unavailable):
            await storage.ping()
    await storage.ping()
    await storage.close()


@promises.postgres_drops
async def test_connections_that_were_dropped_while_idle_are_replaced_unnoticed(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    for name in ("one", "two"):
        await asyncio.gather(*(storage.ping() for _ in range(9)))
        assert await kill_all(operator) > 0
        await write_name(storage, user, name)
        assert await kill_all(operator) > 0
        assert await read_name(storage, user) == name


@promises.postgres_drops
async def test_a_read_whose_connection_is_dropped_is_done_again(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    async with operator.transaction():
        await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        reading = asyncio.create_task(read_name(storage, user))
        await operator.execute("SELECT pg_terminate_backend($1, 5000)", await blocked(operator))
    assert await reading == ""


@promises.postgres_drops
async def test_a_write_whose_connection_is_dropped_is_not_done_again(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    async with operator.transaction():
        await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        writing = asyncio.create_task(write_name(storage, user, "lost"))
        await operator.execute("SELECT pg_terminate_backend($1, 5000)", await blocked(operator))
    with pytest.raises(Unavailable):
        await writing
    assert await read_name(storage, user) == ""
    await write_name(storage, user, "kept")
    assert await read_name(storage, user) == "kept"


@promises.postgres_drops
async def test_a_single_write_whose_connection_is_dropped_is_not_done_again(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    async def add() -> User:
        async with storage.autocommit() as uow:
            return await uow.users.add(new_user("ada"), NOW)

    async with operator.transaction():
        await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        writing = asyncio.create_task(add())
        await operator.execute("SELECT pg_terminate_backend($1, 5000)", await blocked(operator))
    with pytest.raises(Unavailable):
        await writing
    assert (await add()).username == "ada"


async def test_a_film_that_somebody_else_keeps_at_the_same_moment_comes_back_as_theirs(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    async with storage.transaction() as uow:
        (theirs,) = await uow.movies.remember([facts(1)], NOW)
        telling = asyncio.create_task(remember(storage, facts(2), facts(1)))
        await blocked(operator)
    ours, same = await telling
    assert same == theirs
    assert ours.id != theirs.id


@promises.client_gone
async def test_callers_who_go_away_in_the_middle_of_a_statement_leave_no_lock_and_no_transaction(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    session = await sign_in(storage, user)
    for _ in range(4):  # more often than there are connections
        async with storage.transaction() as uow:
            await uow.users.get(user.id)
            waiting = asyncio.create_task(write_name(storage, user, "lost"))
            await blocked(operator)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    async with operator.transaction():
        await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        for _ in range(4):
            waiting_too = asyncio.create_task(read_name(storage, user))
            await blocked(operator)
            waiting_too.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting_too
    assert await read_name(storage, user) == ""
    await write_name(storage, user, "kept")
    async with storage.reading() as uow:
        found = await uow.sessions.find(session.id)
    assert found is not None
    assert found.user.first_name == "kept"
    await storage.close()
    left = await operator.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'moviehub'"
        " AND state LIKE 'idle in transaction%'"
    )
    assert left == 0


@promises.client_gone
async def test_a_caller_of_a_shared_read_who_goes_away_harms_nobody(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    movies = await remember(storage, *(facts(number) for number in range(1, 4)))
    async with operator.transaction():
        await operator.execute("LOCK TABLE movies IN ACCESS EXCLUSIVE MODE")
        first = asyncio.create_task(detail(storage, movies[0]))
        await blocked(operator)
        others = [asyncio.create_task(detail(storage, movie)) for movie in movies]
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        others[0].cancel()
    assert [(await other).movie for other in others[1:]] == [*movies[1:]]


async def test_a_failure_that_somebody_caught_inside_is_not_passed_over_in_silence(storage: PostgresStorage) -> None:
    user = await register(storage, "ada")

    async def catch() -> None:
        async with storage.transaction() as uow:
            await uow.users.save(replace(user, first_name="lost"))
            with pytest.raises(MovieNotFound):
                await uow.favorites.add(user.id, 7, NOW)

    with pytest.raises(Unavailable):
        await catch()
    assert await read_name(storage, user) == ""


async def let_it_only_read(operator: asyncpg.Connection) -> str:
    """From the next connection on, and there is no other; the name of the database."""
    name: str = await operator.fetchval("SELECT current_database()")
    await operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await kill_all(operator)
    return name


@promises.postgres_read_only
async def test_a_database_that_only_reads_can_still_be_read(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await let_it_only_read(operator)
    assert await read_name(storage, user) == ""
    with pytest.raises(Unavailable):
        await rate(storage, user, movie, 5)


@promises.postgres_read_only
@pytest.mark.parametrize("whole", [True, False], ids=["transaction", "statement"])
async def test_connections_that_only_read_are_given_up_so_that_writes_find_who_takes_them(
    storage: PostgresStorage, operator: asyncpg.Connection, whole: bool
) -> None:
    user = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    name = await let_it_only_read(operator)
    await asyncio.gather(*(read_name(storage, user) for _ in range(9)))

    async def write() -> bool:
        try:
            await (write_name(storage, user, "Ada") if whole else rate(storage, user, movie, 5))
        except Unavailable:
            return False
        return True

    assert not any([await write() for _ in range(3)])
    # From now on another server has the name, so to speak: what is connected goes on as it began.
    await operator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    async with asyncio.timeout(3):
        while not await write():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert all(await asyncio.gather(*(write() for _ in range(9))))


@promises.migrations_ahead
async def test_reads_go_on_when_a_column_becomes_another_kind_of_text(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    await asyncio.gather(*(read_name(storage, user) for _ in range(9)))
    await operator.execute("ALTER TABLE users ALTER COLUMN first_name TYPE varchar(150)")
    assert set(await asyncio.gather(*(read_name(storage, user) for _ in range(9)))) == {""}


async def warnings_of(url: str, **more: Any) -> list[Any]:
    """What a storage logs that is asked by many at once."""
    with capture_logs() as logs:
        storage = PostgresStorage(url, wait_timeout=20, connect_timeout=20, command_timeout=20, **more)
        await asyncio.gather(*(storage.ping() for _ in range(9)))
        await storage.close()
    return logs


@promises.pool_arithmetic
async def test_more_connections_than_there_can_be_are_warned_of_once_and_harm_nothing(
    migrated_url: str, operator: asyncpg.Connection
) -> None:
    most = await operator.fetchval("SHOW max_connections")
    (warning,) = await warnings_of(migrated_url, max_size=4, workers=int(most))
    assert warning["event"] == "too_few_connections"
    assert warning["log_level"] == "warning"
    assert warning["wanted"] == 4 * int(most)
    assert warning["allowed"] < int(most)  # some are kept for superusers
    assert "MOVIEHUB_DATABASE_POOL_SIZE" in warning["advice"]
    assert await warnings_of(migrated_url, max_size=4, workers=2) == []
    settings = Settings(database_url=migrated_url, secret_key="k" * 32, database_pool_size=3, workers=200)
    with capture_logs() as logs:
        async with running(settings) as container:
            await container.storage().ping()
    assert [entry["wanted"] for entry in logs] == [600]


@promises.pool_arithmetic
async def test_the_limits_of_the_database_and_the_role_count_too(
    migrated_url: str, operator: asyncpg.Connection
) -> None:
    name = await operator.fetchval("SELECT current_database()")
    await operator.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 9")
    assert await warnings_of(migrated_url, max_size=3, workers=3) == []
    (warning,) = await warnings_of(migrated_url, max_size=5, workers=2)
    assert (warning["wanted"], warning["allowed"]) == (10, 9)
    async with operator.transaction():  # which takes the role back when it fails
        await operator.execute(f"CREATE ROLE {name} CONNECTION LIMIT 7")
        await operator.execute(f"SET LOCAL SESSION AUTHORIZATION {name}")
        assert await operator.fetchval(pool.ALLOWED) == 7
        await operator.execute("SET LOCAL SESSION AUTHORIZATION DEFAULT")
        await operator.execute(f"DROP ROLE {name}")


async def test_behind_a_pooler_connections_are_not_counted(migrated_url: str) -> None:
    assert await warnings_of(migrated_url, max_size=4, workers=1000, statement_cache=False) == []


async def test_a_server_that_does_not_tell_how_many_connections_it_allows_is_served_all_the_same(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "ALLOWED", "SELECT nothing")
    assert await warnings_of(migrated_url) == []


@pytest.mark.parametrize(("direct", "bounds"), [(True, ("2s", "10s")), (False, ("0", "0"))])
async def test_the_server_too_bounds_statements_and_silences_unless_a_pooler_is_between(
    migrated_url: str, direct: bool, bounds: tuple[str, str]
) -> None:
    shown = Statement(
        "SELECT current_setting('statement_timeout') AS statement,"
        " current_setting('idle_in_transaction_session_timeout') AS silence",
        reads=True,
    )
    lender = pool.Pool(
        migrated_url,
        min_size=1,
        max_size=1,
        wait_timeout=20,
        connect_timeout=20,
        command_timeout=1.5,
        statement_cache=direct,
    )
    for _ in range(2):  # the second time on a connection that was given back
        async with lender.transaction() as run:
            (row,) = await run.rows(shown)
        assert tuple(row) == bounds
    await lender.close()


async def test_a_statement_whose_client_is_gone_is_ended_by_the_server(
    migrated_url: str, operator: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "GRACE", -19.8)  # as if our own bound were not there
    storage = PostgresStorage(migrated_url, connect_timeout=20, command_timeout=20)
    user = await register(storage, "ada")
    async with operator.transaction():
        await operator.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await read_name(storage, user)
        assert time.monotonic() - started < 10
    assert await read_name(storage, user) == ""
    await storage.close()
