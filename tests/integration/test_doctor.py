"""`moviehub doctor` before servers that are not well: what it says of each, and that it shows no secret."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import redis

from moviehub.adapters.embedded import PrivateValkey
from moviehub.entrypoints.bootstrap import running
from moviehub.entrypoints.cli.examination import examination
from moviehub.entrypoints.settings import Settings
from tests.integration.test_cli import run
from tests.servers import free_port
from tests.tmdb_stand_in import KEY, TOKEN, Fault, StandIn

SECRET = "Vq3LhX0bTz7mKc9RfWu2YpJd5NsGa8Ei"
HOUR_AHEAD = """
    CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql
    AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$
"""


@pytest.fixture
async def tmdb() -> AsyncIterator[StandIn]:
    async with StandIn() as tmdb:
        yield tmdb


async def findings(**settings: Any) -> dict[str, tuple[str, str]]:
    """The state and the words of every part."""
    async with running(Settings(secret_key=SECRET, **settings)) as container:
        return {finding.part: (finding.state, finding.reason) async for finding in examination(container)}


async def test_a_database_without_trigrams_is_a_warning_with_the_statements_that_help(
    migrated_url: str, operator: asyncpg.Connection
) -> None:
    await operator.execute("DROP EXTENSION pg_trgm CASCADE")
    state, told = (await findings(database_url=migrated_url))["extensions"]
    assert state == "degraded"
    assert "typing errors" in told
    for statement in ("CREATE EXTENSION pg_trgm", told.rpartition("; then ")[2]):
        assert statement in told
        await operator.execute(statement)
    assert (await findings(database_url=migrated_url))["extensions"] == ("ok", "pg_trgm")


async def test_a_database_without_tables_is_told_to_be_migrated_and_not_to_be_given_an_extension(
    database_url: str,
) -> None:
    found = await findings(database_url=database_url)
    assert found["migrations"] == ("unavailable", "there are no tables yet: run moviehub migrate")
    assert "extensions" not in found
    assert found["clock"][0] == "ok"


async def test_a_clock_that_is_an_hour_ahead_is_a_warning(migrated_url: str, operator: asyncpg.Connection) -> None:
    name = urlsplit(migrated_url).path[1:]
    await operator.execute(HOUR_AHEAD)
    await operator.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    state, told = (await findings(database_url=migrated_url))["clock"]
    assert state == "degraded"
    assert told.startswith("the database's is 3600 s ahead of ours: ")


async def test_more_connections_than_there_can_be_are_a_warning(
    migrated_url: str, operator: asyncpg.Connection
) -> None:
    await operator.execute(f"ALTER DATABASE {urlsplit(migrated_url).path[1:]} CONNECTION LIMIT 9")
    settings: dict[str, Any] = {"database_url": migrated_url, "workers": 2}
    told = (await findings(database_pool_size=5, **settings))["connections"]
    assert told[0] == "degraded"
    assert told[1].startswith("up to 10 may be wanted, and 9 can be had: lower MOVIEHUB_DATABASE_POOL_SIZE")
    assert (await findings(database_pool_size=4, **settings))["connections"][0] == "ok"
    behind_a_pooler = await findings(database_pool_size=5, database_statement_cache=False, **settings)
    assert behind_a_pooler["connections"][0] == "ok"


async def test_a_redis_that_takes_nothing_new_when_full_is_a_warning(migrated_url: str, valkey_url: str) -> None:
    settings = {"database_url": migrated_url, "redis_url": valkey_url}
    state, told = (await findings(**settings))["redis"]
    assert state == "ok"
    assert told.startswith("Valkey ")
    with redis.Redis.from_url(valkey_url, socket_timeout=5) as link:
        link.config_set("maxmemory", "1gb")
        try:
            state, told = (await findings(**settings))["redis"]
        finally:
            link.config_set("maxmemory", "0")
    assert (state, told.partition(":")[0]) == ("degraded", "noeviction")


@pytest.mark.parametrize(("token", "kind"), [(TOKEN, "v4 read token"), (KEY, "v3 key")])
async def test_a_key_that_tmdb_takes_is_told_by_its_kind(
    migrated_url: str, tmdb: StandIn, token: str, kind: str
) -> None:
    found = await findings(database_url=migrated_url, tmdb_url=tmdb.url, tmdb_token=token)
    assert found["catalogue"] == ("ok", f"TMDb takes the {kind}")
    assert [path.partition("?")[0] for path in tmdb.requests] == ["/3/authentication"]


@pytest.mark.parametrize(
    ("token", "form"),
    [
        ("marked.read.token", "by its form a v4 read token"),
        ("f" * 32, "by its form a v3 key"),
        ("marked", "which has the form of neither"),
    ],
)
async def test_a_key_that_tmdb_refuses_is_a_fault(migrated_url: str, tmdb: StandIn, token: str, form: str) -> None:
    settings = {"DATABASE_URL": migrated_url, "SECRET_KEY": SECRET, "TMDB_URL": tmdb.url, "TMDB_TOKEN": token}
    done = await asyncio.to_thread(run, "doctor", **settings)
    assert done.exit_code == 1
    [fault] = [line for line in done.stdout.splitlines() if not line.startswith("ok ")]
    assert fault.startswith(f"fault    catalogue    TMDb refuses MOVIEHUB_TMDB_TOKEN, {form}")
    for secret in (token, SECRET):
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.HTML, Fault.RESET, Fault.LIMIT])
async def test_a_tmdb_that_is_out_says_nothing_of_the_key(migrated_url: str, tmdb: StandIn, fault: Fault) -> None:
    tmdb.fail(fault)
    state, told = (await findings(database_url=migrated_url, tmdb_url=tmdb.url, tmdb_token=TOKEN))["catalogue"]
    assert state == "degraded"
    assert told.startswith("The film catalogue cannot be reached now (")


def test_what_is_away_is_told_with_the_kind_of_its_failure(migrated_url: str) -> None:
    there = urlsplit(migrated_url)
    nowhere = there._replace(path=f"/marked_{uuid4().hex}").geturl()
    away = f"redis://:marked@127.0.0.1:{free_port()}/0"
    done = run("doctor", DATABASE_URL=nowhere, REDIS_URL=away, SECRET_KEY=SECRET)
    told = dict(line.split(maxsplit=2)[1:] for line in done.stdout.splitlines())
    assert told["database"].startswith("The database cannot answer now (InvalidCatalogNameError): is it running")
    assert told["cache"].startswith("Redis cannot be reached now (ConnectionError): the hub goes on without")
    assert "redis" not in told
    assert "marked" not in done.stdout + done.stderr


def test_a_password_that_redis_refuses_is_told_as_that(migrated_url: str) -> None:
    with PrivateValkey() as url:
        with redis.Redis.from_url(url, socket_timeout=5) as link:
            link.config_set("requirepass", "marked")
        there = urlsplit(url)
        wrong = there._replace(netloc=f":marked-too@{there.netloc.rpartition('@')[2]}").geturl()
        done = run("doctor", DATABASE_URL=migrated_url, REDIS_URL=wrong, SECRET_KEY=SECRET)
    assert "warning  cache        Redis cannot be reached now (AuthenticationError): " in done.stdout
    assert "marked" not in done.stdout + done.stderr
