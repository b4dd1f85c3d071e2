"""What an integration test can ask for: a database of its own, empty or migrated, and an empty Valkey."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import redis

from moviehub.adapters.embedded import PrivateValkey
from moviehub.adapters.postgres.migrations import upgrade

Sql = Callable[[str], object]


@pytest.fixture(scope="session")
def _sql(postgres_url: str) -> Iterator[Sql]:
    # A loop of its own, so that plain and async tests alike, and `upgrade`, which runs one too, find none running.
    loop = asyncio.new_event_loop()
    link = loop.run_until_complete(asyncpg.connect(postgres_url))
    yield lambda statement: loop.run_until_complete(link.execute(statement))
    loop.run_until_complete(link.close())
    loop.close()


@contextmanager
def _database(sql: Sql, server: str, template: str) -> Iterator[str]:
    name = f"moviehub_test_{uuid4().hex}"
    sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield urlsplit(server)._replace(path=f"/{name}").geturl()
    sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _migrated(_sql: Sql, postgres_url: str) -> Iterator[str]:
    with _database(_sql, postgres_url, "template1") as url:
        upgrade(url)
        yield urlsplit(url).path[1:]


@pytest.fixture
def database_url(_sql: Sql, postgres_url: str) -> Iterator[str]:
    """The URL of a database with nothing in it; dropped afterwards, open connections or not."""
    with _database(_sql, postgres_url, "template1") as url:
        yield url


@pytest.fixture
def migrated_url(_sql: Sql, postgres_url: str, _migrated: str) -> Iterator[str]:
    """The URL of a database with moviehub's tables, empty; dropped afterwards, open connections or not."""
    with _database(_sql, postgres_url, _migrated) as url:
        yield url


@pytest.fixture(scope="module")
def database(_sql: Sql, postgres_url: str, _migrated: str) -> Iterator[str]:
    """The URL of a database with moviehub's tables, which the tests of one file share."""
    with _database(_sql, postgres_url, _migrated) as url:
        yield url


@pytest.fixture
async def operator(migrated_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to `migrated_url` beside those of the hub."""
    connection = await asyncpg.connect(migrated_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def _valkey() -> Iterator[str]:
    # A server a worker, since scripts, pub/sub and pauses know no logical databases; the one you name has only those.
    given = os.environ.get("MOVIEHUB_TEST_REDIS_URL")
    if given:
        number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        yield urlsplit(given)._replace(path=f"/{number}").geturl()
    else:
        with PrivateValkey() as url:
            yield url


@pytest.fixture
def valkey_url(_valkey: str) -> str:
    """The URL of a Valkey with nothing in it, which no other worker uses."""
    with redis.Redis.from_url(_valkey, socket_timeout=5) as link:
        link.flushdb()
    return _valkey
