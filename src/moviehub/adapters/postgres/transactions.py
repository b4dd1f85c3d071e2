"""One transaction on one connection, and which statements took long, told by name and without their values."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
import structlog

from moviehub.adapters.postgres.errors import FAILURES, translated
from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.application.tracing import Spans
from moviehub.domain.errors import Unavailable

COMMIT = "COMMIT"
POSTGRES = "postgresql"

log = structlog.get_logger()


class Transaction(Runs):
    """Runs statements in the transaction that is open on one connection; those of `slow` seconds or more are told."""

    def __init__(self, connection: Any, slow: float, spans: Spans) -> None:
        self._connection = connection
        self._slow = slow
        self._spans = spans

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        arguments = statement.arguments(values)
        with self._asking(statement):
            found: list[Row] = await self._connection.fetch(statement.sql, *arguments)
        return found

    async def commit(self) -> None:
        """Keep what was done, or raise."""
        with self._asking(COMMIT):
            outcome = await self._connection.execute(COMMIT)
        if outcome != COMMIT:  # a statement had failed, somebody caught that, and the server rolled all back
            raise Unavailable("The transaction had failed and was not kept.")

    def end(self) -> None:
        """Run nothing more, for the connection will be somebody else's."""
        self._connection = None

    @contextmanager
    def _asking(self, what: Statement | str) -> Iterator[None]:
        begun_at, failed = time.monotonic(), True
        try:
            if self._connection is None:
                raise asyncpg.InterfaceError("the transaction is over")
            with self._spans(POSTGRES, what):
                yield
            failed = False
        except FAILURES as failure:
            raise translated(failure) from failure
        finally:
            if (seconds := time.monotonic() - begun_at) >= self._slow:
                tell_slow(what, seconds, failed=failed)


def tell_slow(statement: Statement | str, seconds: float, *, waited: float = 0.0, failed: bool) -> None:
    """Log a statement that ran for so many seconds, after it had waited for a connection."""
    name = statement if isinstance(statement, str) else statement.name
    log.warning("slow_statement", statement=name, seconds=round(seconds, 3), waited=round(waited, 3), failed=failed)
