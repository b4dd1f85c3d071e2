"""What runs statements: on a connection that is lent for one of them or for a transaction, and given back at rest."""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any, TypeVar

import asyncpg
import structlog

from moviehub.adapters.postgres.connections import Connections
from moviehub.adapters.postgres.errors import DEAD, FAILURES, ONLY_READS, OTHERS_FIRST, OUTDATED, translated
from moviehub.adapters.postgres.seats import Seats
from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.adapters.postgres.transactions import POSTGRES, Transaction, tell_slow
from moviehub.application.tracing import Spans, untraced
from moviehub.domain.errors import MovieHubError, Unavailable

T = TypeVar("T")

log = structlog.get_logger()

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
ROLLBACK = "ROLLBACK"
NOTHING = "SELECT"
"""A statement that asks for nothing, and is answered when what was cancelled before it has ended."""

LONGEST_GOODBYE = 5
"""Seconds that closing may take before connections are cut."""

MOST_REPEATS = 2
"""How often a statement is run again that the server undid to let others pass."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.05
"""Seconds before that; by chance, so that those who met do not meet again."""

LONGEST_SILENCE = 10
"""Seconds after which the server ends a transaction whose owner says nothing: it may be gone, and its locks are not."""

LOOK_ELSEWHERE = 1.0
"""Seconds between two times that connections are given up, since who is at their end only reads."""

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


class Autocommit(Runs):
    """Runs each statement, a write too, in a transaction of its own."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        return await self._pool.run(statement, values, again=statement.reads)


class Pool(Runs):
    """Lends connections, with a bound on every wait. What it runs outside a transaction only reads."""

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
        self._connections = Connections(
            lambda: asyncpg.connect(
                url,
                timeout=connect_timeout,
                command_timeout=command_timeout,
                statement_cache_size=100 if statement_cache else 0,
                server_settings=settings,
            ),
            min_size,
        )
        self._direct = statement_cache
        self._most = max_size * workers
        self._slow = slow_query_ms / 1000 or math.inf
        self._spans = spans
        self.seats = Seats(max_size, wait_timeout)
        self._is_open = False
        self._opening: asyncio.Task[None] | None = None
        self._answered_at = self._gave_up_at = float("-inf")
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
            statement, lambda connection: connection.fetch(statement.sql, *arguments), NOTHING, again=again
        )
        self._give_back(connection)
        return found

    @property
    def size(self) -> int:
        """How many connections are open."""
        return self._connections.size

    def answered_within(self, seconds: float) -> bool:
        """Whether the server answered a statement so lately."""
        return not self._connections.closed and time.monotonic() - self._answered_at < seconds

    @asynccontextmanager
    async def transaction(self, on_commit: Callable[[], object] = bool) -> AsyncIterator[Transaction]:
        """Commits on a clean exit and then calls `on_commit`; rolls back on any error."""
        connection, _ = await self._lent("BEGIN", lambda connection: connection.execute(BEGIN), ROLLBACK)
        transaction = Transaction(connection, self._slow, self._spans)
        try:
            yield transaction
            await transaction.commit()
        except BaseException as failure:
            transaction.end()
            if isinstance(failure.__cause__, OUTDATED):
                self._connections.cut_those_at_hand()
            if isinstance(failure.__cause__, ONLY_READS):
                self._look_elsewhere(connection)
            undone = self._later(self._settle(connection, ROLLBACK))
            # A database that does not answer would not answer the ROLLBACK either: nobody waits for that.
            if not isinstance(failure, Unavailable | asyncio.CancelledError):
                await asyncio.shield(undone)
            raise
        transaction.end()
        self._give_back(connection)
        on_commit()

    async def connections(self) -> tuple[int, int | None]:
        """How many all workers together may want, and how many they can have; None if a pooler is between."""
        allowed: int | None = None
        if self._direct:
            connection, allowed = await self._lent("pool.ALLOWED", lambda it: it.fetchval(ALLOWED), NOTHING)
            self._give_back(connection)
        return self._most, allowed

    async def close(self) -> None:
        """Wait for what is lent, for a while, and close every connection."""
        self._connections.closed = True
        if self._opening is not None:
            await asyncio.wait([self._opening])
        self._is_open = False
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_GOODBYE):
                await self.seats.all_free()
                await self._connections.close()
        self._connections.cut_all()

    async def _lent(
        self,
        what: Statement | str,
        act: Callable[[Any], Awaitable[T]],
        last_words: str,
        *,
        again: bool = True,
    ) -> tuple[Any, T]:
        """A connection on which `act` was done, and what came of it; on a second one if the first was found dead.

        That is if `again` allows it, for an `act` that changes nothing: with a dead connection nobody knows what was
        done. What the server undid is done again in any case. `last_words` are for a connection on which it failed.
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
                dead = isinstance(failure, DEAD) or connection.is_closed()
                if dead:
                    connection.terminate()
                elif isinstance(failure, ONLY_READS):
                    self._look_elsewhere(connection)
                if dead or isinstance(failure, asyncpg.PostgresError):  # the server has ended it, and told so
                    self._give_back(connection)
                else:
                    self._later(self._settle(connection, last_words))
                if not isinstance(failure, FAILURES):
                    raise
                if isinstance(failure, OTHERS_FIRST) and repeats < MOST_REPEATS:
                    repeats += 1
                    await asyncio.sleep(random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE))  # noqa: S311 - no secret
                elif dead and again:
                    again = False
                    self._connections.cut_those_at_hand()  # they may be as dead and not know it yet
                else:
                    raise translated(failure) from failure

    async def _take(self) -> Any:
        try:
            if not self._is_open:
                await self._opened()
            await self.seats.take()
            try:
                return await self._connections.lend()
            except BaseException:
                self.seats.give_back()
                raise
        except FAILURES as failure:
            raise translated(failure) from failure

    async def _opened(self) -> None:
        if self._connections.closed:
            raise asyncpg.InterfaceError("closed")
        if self._opening is None:  # one attempt for all who ask meanwhile, which none of them can cancel
            self._opening = asyncio.create_task(self._open(), context=Context())  # nor is it a part of what they do
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        try:
            await self._connections.open()
            self._is_open = True
            await self._compare()
        finally:
            self._opening = None

    async def _compare(self) -> None:
        """Warn if all workers together may want more connections than they can have."""
        with suppress(MovieHubError):  # it is only advice
            wanted, allowed = await self.connections()
            if allowed is not None and wanted > allowed:
                log.warning("too_few_connections", wanted=wanted, allowed=allowed, advice=ADVICE)

    def _look_elsewhere(self, connection: Any) -> None:
        """Connect anew: the name may lead to another server by now, and a session stays as it was begun."""
        if time.monotonic() - self._gave_up_at >= LOOK_ELSEWHERE:
            self._gave_up_at = time.monotonic()
            connection.terminate()
            self._connections.cut_those_at_hand()

    def _give_back(self, connection: Any) -> None:
        self._connections.give_back(connection)
        self.seats.give_back()

    async def _settle(self, connection: Any, last_words: str) -> None:
        """Give a connection back on which nothing runs; asyncpg sends no words before what was cancelled has ended."""
        try:
            await connection.execute(last_words)
        except BaseException as failure:
            connection.terminate()  # and whoever comes next gets a new one
            if not isinstance(failure, FAILURES):
                raise
        finally:
            self._give_back(connection)

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Go on with `work` though the caller may not wait for it."""
        task = asyncio.create_task(work)
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task
