"""Statements that take long are told by name, and nothing of what they were asked with."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from moviehub.adapters.postgres.pool import Pool
from moviehub.adapters.postgres.statements import Statement
from moviehub.domain.errors import Unavailable

REST = Statement("SELECT pg_sleep($1), $2::text", "seconds", "secret", reads=True)
NAME = "test_slow_statements.REST"
PATIENT: dict[str, Any] = {"wait_timeout": 20.0, "connect_timeout": 20.0, "command_timeout": 20.0}


@pytest.fixture
async def pool(migrated_url: str) -> AsyncIterator[Pool]:
    """A pool of one connection, already open, that tells what takes 40 ms."""
    pool = Pool(migrated_url, min_size=1, max_size=1, statement_cache=True, slow_query_ms=40, **PATIENT)
    await pool.rows(REST, seconds=0, secret="")
    yield pool
    await pool.close()


def told(lines: Any) -> list[dict[str, Any]]:
    """The lines about slow statements."""
    return [line for line in lines if line["event"] == "slow_statement"]


async def test_a_slow_statement_is_told_once_by_name_and_without_its_values(pool: Pool) -> None:
    with capture_logs() as lines:
        await pool.rows(REST, seconds=0.06, secret="marked")
    (line,) = told(lines)
    assert 0.06 <= line.pop("seconds") < 10
    assert line.pop("waited") < 0.04
    assert line == {"event": "slow_statement", "log_level": "warning", "statement": NAME, "failed": False}


async def test_within_a_transaction_it_is_told_as_well(pool: Pool) -> None:
    with capture_logs() as lines:
        async with pool.transaction() as run:
            await run.rows(REST, seconds=0.06, secret="marked")
    assert [line["statement"] for line in told(lines) if line["seconds"] >= 0.06] == [NAME]
    assert "marked" not in str(lines)


async def test_the_wait_for_a_connection_is_told_apart(pool: Pool) -> None:
    with capture_logs() as lines:
        await asyncio.gather(*(pool.rows(REST, seconds=0.2, secret="") for _ in range(2)))
    first, second = told(lines)
    assert first["waited"] < 0.15 <= second["waited"] < second["seconds"] + 10
    assert second["seconds"] >= 0.2


async def test_a_statement_that_ends_with_its_patience_is_told_as_failed(migrated_url: str) -> None:
    pool = Pool(
        migrated_url, min_size=1, max_size=1, statement_cache=True, slow_query_ms=40, **PATIENT | {"command_timeout": 1}
    )
    with capture_logs() as lines, pytest.raises(Unavailable):
        await pool.rows(REST, seconds=5, secret="marked")
    assert [(line["statement"], line["failed"]) for line in told(lines) if line["seconds"] >= 0.9] == [(NAME, True)]
    assert "marked" not in str(lines)
    await pool.close()


async def test_what_is_quick_is_not_told_and_nothing_is_where_that_is_off(migrated_url: str) -> None:
    for milliseconds, seconds in ((60_000, 0.0), (0, 0.06)):
        pool = Pool(migrated_url, min_size=1, max_size=1, statement_cache=True, slow_query_ms=milliseconds, **PATIENT)
        with capture_logs() as lines:
            await pool.rows(REST, seconds=seconds, secret="")
        assert told(lines) == []
        await pool.close()
