"""The connections: opened when first needed, lent for a statement or a transaction, given back clean."""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg
import structlog

from moviehub.adapters.postgres.errors import DEAD, FAILURES, OTHERS_FIRST, translated
from moviehub.adapters.postgres.seats import Seats
from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.adapters.postgres.transactions import POSTGRES, Transaction, tell_slow
from moviehub.application.tracing import Spans, untraced
from moviehub.domain.errors import Unavailable

T = TypeVar("T")

log = structlog.get_logger()

# It tells with a traceback, again and again, that a database that is away is away; whoever asks for it is told by us.
logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"

LONGEST_GOODBYE = 5
"""Seconds that closing may take before connections are cut."""

MOST_REPEATS = 2
"""How often a statement is run again that the server undid to let others pass."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.05
"""Seconds before that; by chance, so that those who met do not meet again."""

LONGEST_SILENCE = 10
"""Seconds after which the server ends a transaction whose owner says nothing: it may be gone, and its locks are not."""

GRACE = 0.5
"""Seconds that the server's own bound on a statement is above ours, so that ours comes first while we are there."""

ALLOWED = """
    SELECT least(
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true)::int, 0),
        nullif(rolconnlimit, -1), nullif(datconnlimit, -1)
    )
    FROM pg_roles, pg_database WHERE rolname = session_user AND datname = current_database()
"""
"""How many connections we and all others who are like us may have."""

ADVICE = "lower MOVIEHUB_DATABASE_POOL_SIZE or the workers, or raise max_connections or the limit of role or database"


async def _nothing(_: object) -> None:
    """In place of asyncpg's reset: nothing here leaves anything on a connection but a transaction, which we end."""


def _is_gone(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken it back already
        return True


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
        workers: int = 1,
        slow_query_ms: int = 0,
        spans: Spans = untraced,
    ) -> None:
        settings = {"application_name": "moviehub"}
        if statement_cache:  # else a pooler is between, which may refuse these, and whose connections are others' too
            settings["statement_timeout"] = f"{(command_timeout + GRACE) * 1000:.0f}"
            settings["idle_in_transaction_session_timeout"] = f"{LONGEST_SILENCE * 1000}"
        self._create: Callable[[], Any] = lambda: asyncpg.create_pool(
            url,
            min_size=min_size,
            max_size=max_size,
            timeout=connect_timeout,
            command_timeout=command_timeout,
            statement_cache_size=100 if statement_cache else 0,
            reset=_nothing,
            server_settings=settings,
        )
        self._direct = statement_cache
        self._most = max_size * workers
        self._slow = slow_query_ms / 1000 or math.inf
        self._spans = spans
        self.seats = Seats(max_size, wait_timeout)
        self._pool: Any = None
        self._opening: asyncio.Task[None] | None = None
        self._closed = False
        self._answered_at = float("-inf")
        self._returning: set[asyncio.Task[None]] = set()

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        if not statement.reads:
            raise TypeError("what writes belongs in a transaction")
        return await self.run(statement, values, again=True)

    async def run(self, statement: Statement, values: Mapping[str, Any], *, again: bool) -> Sequence[Row]:
        """What the statement returns; `again` allows a second try on another connection if the first is dead.

        It is a transaction of its own, so what the server undid to let others pass is tried again, whatever it does.
        """
        arguments = statement.arguments(values)
        found: list[Row]
        connection, found = await self._lent(
            statement, lambda connection: connection.fetch(statement.sql, *arguments), self._clear, again=again
        )
        await self._give_back(connection)
        return found

    @property
    def size(self) -> int:
        """How many connections are open."""
        return int(self._pool.get_size()) if self._pool is not None else 0

    def answered_within(self, seconds: float) -> bool:
        """Whether the server answered a statement so lately."""
        return not self._closed and time.monotonic() - self._answered_at < seconds

    @asynccontextmanager
    async def transaction(self, on_commit: Callable[[], object] = bool) -> AsyncIterator[Transaction]:
        """Commits on a clean exit and then calls `on_commit`; rolls back on any error."""
        connection, _ = await self._lent("BEGIN", lambda connection: connection.execute(BEGIN), self._undo)
        try:
            transaction = Transaction(connection, self._slow, self._spans)
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

    async def connections(self) -> tuple[int, int | None]:
        """How many all workers together may want, and how many they can have; None if a pooler is between."""
        connection, allowed = await self._lent("pool.ALLOWED", self._allowed, self._clear)
        await self._give_back(connection)
        return self._most, allowed

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
        what: Statement | str,
        act: Callable[[Any], Awaitable[T]],
        after_failure: Callable[[Any], Coroutine[Any, Any, None]],
        *,
        again: bool = True,
    ) -> tuple[Any, T]:
        """A connection on which `act` was done, and what came of it; on a second one if the first was found dead.

        That is if `again` allows it, for an `act` that changes nothing: with a dead connection nobody knows what was
        done. What the server undid is done again in any case.
        """
        repeats = 0
        while True:
            asked_at = time.monotonic()
            connection = await self._take()
            begun_at, failed = time.monotonic(), True
            try:
                try:
                    with self._spans(POSTGRES, what):
                        done = await act(connection)
                    failed = False
                finally:
                    ended_at = time.monotonic()
                    if ended_at - asked_at >= self._slow:
                        tell_slow(what, ended_at - begun_at, waited=begun_at - asked_at, failed=failed)
                if isinstance(what, Statement):  # a transaction that has only begun proves nothing of those who wait
                    self._answered_at = ended_at
                return connection, done
            except BaseException as failure:
                dead = isinstance(failure, DEAD) or _is_gone(connection)
                self._later(after_failure(connection))
                if not isinstance(failure, FAILURES):
                    raise
                if isinstance(failure, OTHERS_FIRST) and repeats < MOST_REPEATS:
                    repeats += 1
                    await asyncio.sleep(random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE))  # noqa: S311 - no secret
                elif dead and again:
                    again = False
                    await self._pool.expire_connections()  # the next one at hand may be as dead and not know it yet
                else:
                    raise translated(failure) from failure

    async def _take(self) -> Any:
        try:
            pool = self._pool or await self._opened()
            await self.seats.take()
            try:
                return await pool.acquire()
            except BaseException:
                self.seats.give_back()
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
            pool = await self._create()
            await self._compare(pool)
            self._pool = pool
        finally:
            self._opening = None

    async def _allowed(self, asked: Any) -> int | None:
        return await asked.fetchval(ALLOWED) if self._direct else None

    async def _compare(self, pool: Any) -> None:
        """Warn if all workers together may want more connections than they can have."""
        with suppress(*FAILURES):  # it is only advice
            allowed = await self._allowed(pool)
            if allowed is not None and self._most > allowed:
                log.warning("too_few_connections", wanted=self._most, allowed=allowed, advice=ADVICE)

    async def _give_back(self, connection: Any) -> None:
        try:
            await self._pool.release(connection)
        finally:
            self.seats.give_back()

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
