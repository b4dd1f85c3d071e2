"""The connections: opened when first needed, lent for a statement or a transaction, given back clean."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg

from moviehub.adapters.postgres.errors import DEAD, FAILURES, translated
from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.domain.errors import Unavailable

T = TypeVar("T")

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"

LONGEST_GOODBYE = 5
"""Seconds that closing may take before connections are cut."""


async def _nothing(_: object) -> None:
    """In place of asyncpg's reset: nothing here leaves anything on a connection but a transaction, which we end."""


def _is_gone(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken it back already
        return True


class Transaction(Runs):
    """Runs statements in the transaction that is open on one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        try:
            found: list[Row] = await self._connection.fetch(statement.sql, *statement.arguments(values))
        except FAILURES as failure:
            raise translated(failure) from failure
        return found

    async def commit(self) -> None:
        """Keep what was done, or raise."""
        try:
            outcome = await self._connection.execute("COMMIT")
        except FAILURES as failure:
            raise translated(failure) from failure
        if outcome != "COMMIT":  # a statement had failed, somebody caught that, and the server rolled all back
            raise Unavailable("The transaction had failed and was not kept.")


class Autocommit(Runs):
    """Runs each statement, a write too, in a transaction of its own."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        return await self._pool.run(statement, values, again=statement.reads)


class Pool(Runs):
    """asyncpg's pool, with a bound on every wait. What it runs outside a transaction only reads."""

    def __init__(
        self,
        url: str,
        *,
        min_size: int,
        max_size: int,
        wait_timeout: float,
        connect_timeout: float,
        command_timeout: float,
        statement_cache: bool,
    ) -> None:
        self._create: Callable[[], Any] = lambda: asyncpg.create_pool(
            url,
            min_size=min_size,
            max_size=max_size,
            timeout=connect_timeout,
            command_timeout=command_timeout,
            statement_cache_size=100 if statement_cache else 0,
            reset=_nothing,
            server_settings={"application_name": "moviehub"},
        )
        self._wait_timeout = wait_timeout
        self._seats = asyncio.Semaphore(max_size)
        self._pool: Any = None
        self._opening: asyncio.Task[None] | None = None
        self._closed = False
        self._returning: set[asyncio.Task[None]] = set()

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        if not statement.reads:
            raise TypeError("what writes belongs in a transaction")
        return await self.run(statement, values, again=True)

    async def run(self, statement: Statement, values: Mapping[str, Any], *, again: bool) -> Sequence[Row]:
        """What the statement returns; `again` allows a second try on another connection if the first is dead."""
        arguments = statement.arguments(values)
        found: list[Row]
        connection, found = await self._lent(
            lambda connection: connection.fetch(statement.sql, *arguments), self._clear, tries=2 if again else 1
        )
        await self._give_back(connection)
        return found

    @asynccontextmanager
    async def transaction(self, on_commit: Callable[[], object] = bool) -> AsyncIterator[Transaction]:
        """Commits on a clean exit and then calls `on_commit`; rolls back on any error."""
        connection, _ = await self._lent(lambda connection: connection.execute(BEGIN), self._undo)
        try:
            transaction = Transaction(connection)
            yield transaction
            await transaction.commit()
        except BaseException as failure:
            undone = self._later(self._undo(connection))
            # A database that does not answer would not answer the ROLLBACK either: nobody waits for that.
            if not isinstance(failure, Unavailable | asyncio.CancelledError):
                await asyncio.shield(undone)
            raise
        try:
            on_commit()
        finally:
            await self._give_back(connection)

    async def close(self) -> None:
        """Wait for what is lent, for a while, and close every connection."""
        self._closed = True
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if self._pool is not None:
            try:
                async with asyncio.timeout(LONGEST_GOODBYE):
                    await self._pool.close()
            except FAILURES:
                self._pool.terminate()

    async def _lent(
        self,
        act: Callable[[Any], Awaitable[T]],
        after_failure: Callable[[Any], Coroutine[Any, Any, None]],
        tries: int = 2,
    ) -> tuple[Any, T]:
        """A connection on which `act` was done, and what came of it; on a second one if the first was found dead.

        More than one try is for an `act` that changes nothing, so that doing it again does no harm.
        """
        for attempt in range(1, tries + 1):
            connection = await self._take()
            try:
                return connection, await act(connection)
            except BaseException as failure:
                dead = isinstance(failure, DEAD) or _is_gone(connection)
                self._later(after_failure(connection))
                if isinstance(failure, FAILURES):
                    if dead and attempt < tries:
                        await self._pool.expire_connections()  # the next one at hand may be as dead and not know it yet
                        continue
                    raise translated(failure) from failure
                raise
        raise AssertionError("unreachable")

    async def _take(self) -> Any:
        try:
            pool = self._pool or await self._opened()
            if self._seats.locked():
                async with asyncio.timeout(self._wait_timeout):
                    await self._seats.acquire()
            else:
                await self._seats.acquire()  # without the price of a timer
            try:
                return await pool.acquire()
            except BaseException:
                self._seats.release()
                raise
        except FAILURES as failure:
            raise translated(failure) from failure

    async def _opened(self) -> Any:
        if self._closed:
            raise asyncpg.InterfaceError("closed")
        if self._opening is None:  # one attempt for all who ask meanwhile, which none of them can cancel
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._opening)
        return self._pool

    async def _open(self) -> None:
        try:
            self._pool = await self._create()
        finally:
            self._opening = None

    async def _give_back(self, connection: Any) -> None:
        try:
            await self._pool.release(connection)
        finally:
            self._seats.release()

    async def _clear(self, connection: Any) -> None:
        """Give a connection back after a statement failed; asyncpg waits until one that was cancelled has ended."""
        with suppress(*FAILURES):  # it was cut instead, and the next caller gets a new one
            await self._give_back(connection)

    async def _undo(self, connection: Any) -> None:
        """Give a connection back without the transaction that may be open on it."""
        try:
            if not _is_gone(connection):
                await connection.execute("ROLLBACK")
        except BaseException:
            if not _is_gone(connection):
                connection.terminate()
        finally:
            await self._clear(connection)

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Go on with `work` though the caller may not wait for it."""
        task = asyncio.create_task(work)
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task
