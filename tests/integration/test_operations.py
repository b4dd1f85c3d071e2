"""What docs/operations.md tells an operator to do, done by its very commands while a hub serves."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from moviehub.adapters.postgres.migrations import __path__ as folder
from moviehub.adapters.postgres.migrations import current, head, upgrade
from tests.crowd import rows
from tests.integration.conftest import Sql
from tests.integration.test_migrations import catalog
from tests.operations import Operator, People, block, load
from tests.servers import MOVIEHUB, ROOT, Server, serving

NUMBERED = ("users", "sessions", "movies", "favorites", "ratings", "audit")
KEY = {"SECRET_KEY": "k" * 32}

NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{after}", "{before}", None, None


def upgrade() -> None:
    op.add_column("movies", sa.Column("runtime", sa.Integer))
    op.add_column("ratings", sa.Column("mood", sa.Text, nullable=False, server_default=""))
    op.create_index("ix_ratings_rating", "ratings", ["rating"], if_not_exists=True)
    op.create_table("lists", sa.Column("user_id", sa.BigInteger, sa.ForeignKey("users.id"), nullable=False))
"""
"""A migration of a version to come: columns, an index and a table that refers to one in use."""

MANY = """
WITH crowd AS (
    INSERT INTO users (username, username_key, email, email_key, password, first_name, last_name, is_active, is_staff,
        is_superuser, created_at, updated_at)
    SELECT 'crowd' || n, 'crowd' || n, n || '@example.net', n || '@example.net', '', '', '', true, false, false, now(),
        now() FROM generate_series(1, 20000) AS n
    RETURNING id
)
INSERT INTO ratings (user_id, movie_id, rating, created_at, updated_at)
SELECT crowd.id, (SELECT max(id) FROM movies), 5, now(), now() FROM crowd
"""
"""So many ratings that what is done to the table takes a moment."""


@pytest.fixture
def new_url(_sql: Sql, postgres_url: str) -> Iterator[str]:
    """Where a database of this test's own will be; dropped afterwards."""
    url = f"{postgres_url.rpartition('/')[0]}/moviehub_new_{uuid4().hex}"
    yield url
    _sql(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


@pytest.fixture
def hand(tmp_path: Path, new_url: str) -> Operator:
    """An operator."""
    return Operator(tmp_path, new_url)


async def grows_on(server: Server, url: str, film: int) -> None:
    """New rows have numbers that no old one has, and nobody changes the audit trail."""
    newest = {table: (await rows(url, f"SELECT max(id) FROM {table}"))[0][0] for table in NUMBERED}
    auth = server.joined("newcomer")
    assert server.http.post(f"/api/movies/{film}/add_to_favorites/", headers=auth).status_code == 201
    assert server.http.post(f"/api/movies/{film}/rate/", json={"rating": 3}, headers=auth).status_code == 201
    for table in NUMBERED:
        [(number, added)] = await rows(
            url,
            f"SELECT nextval(pg_get_serial_sequence('{table}', 'id')), (SELECT count(*) FROM {table} WHERE id > $1)",
            newest[table],
        )
        assert number > newest[table]
        assert added or table == "movies"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await rows(url, "DELETE FROM audit")


async def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    return {table: await rows(url, f"SELECT * FROM {table} ORDER BY 1") for table in (*NUMBERED, "alembic_version")}


@pytest.mark.slow
async def test_a_hub_moves_to_another_database_while_it_serves_and_nothing_is_lost(
    migrated_url: str, new_url: str, hand: Operator
) -> None:
    with serving(DATABASE_URL=migrated_url, **KEY) as old:
        people = People(old)
        with load(old, people.film, people.busy) as told:
            hand.follows("stop-writes", DATABASE_URL=migrated_url)
            said = hand.follows("backup", "restore", "count", DATABASE_URL=migrated_url)
            assert len(set(said.splitlines()[-2:])) == 1, said
            told.goes_on(kept=False)
            assert told.writes[-1] == 503
            assert await everything(new_url) == await everything(migrated_url)
            [(review,)] = await rows(new_url, "SELECT review FROM ratings WHERE movie_id = $1", people.film)
            assert told.kept <= int(review) <= told.kept + 1  # of one that got no answer, it may be that it was kept
            with serving(DATABASE_URL=new_url, **KEY) as new:
                people.find_all(new)
                await grows_on(new, new_url, people.film)
            hand.follows("allow-writes", DATABASE_URL=migrated_url)
            told.goes_on()
        assert set(told.reads) == {200}
        assert set(told.writes) <= {200, 201, 503}


@pytest.mark.slow
async def test_a_backup_of_a_hub_that_serves_holds_all_that_it_had_said_yes_to(
    migrated_url: str, new_url: str, hand: Operator, tmp_path: Path
) -> None:
    with serving(DATABASE_URL=migrated_url, **KEY) as old:
        people = People(old)
        with load(old, people.film, people.busy) as told:
            kept = told.kept
            hand.follows("backup", DATABASE_URL=migrated_url)
            sent = len(told.writes) + 1
            told.goes_on()
            hand.follows("restore", DATABASE_URL=migrated_url)
        assert set(told.reads + told.writes) <= {200, 201}
    [(review,)] = await rows(new_url, "SELECT review FROM ratings WHERE movie_id = $1", people.film)
    assert kept <= int(review) <= sent
    with serving(DATABASE_URL=new_url, **KEY) as new:
        people.find_all(new)
        await grows_on(new, new_url, people.film)

    dump = tmp_path / "moviehub.dump"
    dump.write_bytes(dump.read_bytes()[:-200])
    assert hand.tries(block("backup").splitlines()[-1]).returncode == 1


@pytest.mark.slow
async def test_the_private_database_becomes_one_of_another_server(
    server_folder: Path, postgres_url: str, new_url: str, hand: Operator, tmp_path: Path
) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    await rows(postgres_url, f"CREATE DATABASE {new_url.rpartition('/')[2]}")
    state = str(server_folder / "state")
    with serving(DATA_DIR=state) as private:
        people = People(private)
        told = ("private", "stop-writes", "backup", "restore-older")
        said = hand.does(*map(block, told), "printenv MOVIEHUB_SECRET_KEY", DATA_DIR=state)
    with serving(DATABASE_URL=new_url, SECRET_KEY=said.splitlines()[-1]) as ours:
        people.find_all(ours)
        await grows_on(ours, new_url, people.film)


@pytest.fixture
def newer(tmp_path: Path) -> str:
    """The sources of a version to come, which has one migration more; what else it does is the same."""
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    number = f"{int(head()) + 1:04}"
    versions = source / "moviehub/adapters/postgres/migrations/versions"
    (versions / f"{number}_next.py").write_text(NEXT.format(before=head(), after=number))
    return str(source)


@pytest.mark.slow
async def test_two_versions_serve_side_by_side_and_no_request_fails_while_the_schema_changes(
    migrated_url: str, newer: str, hand: Operator
) -> None:
    of_newer = f"env PYTHONPATH={newer} {MOVIEHUB}"
    both = {"DATABASE_URL": migrated_url, **KEY}
    with serving(**both) as old, serving(command=(*of_newer.split(), "serve"), **both) as new:
        people = People(old)
        await rows(migrated_url, MANY)
        with load(old, people.film, people.busy) as told, load(new, people.film, people.busy) as told_by_new:
            assert hand.tries(f"{of_newer} doctor", **both).returncode == 1
            # As one does with a big table: the index first, without closing it.
            await rows(migrated_url, "CREATE INDEX CONCURRENTLY ix_ratings_rating ON ratings (rating)")
            assert f"revision {int(head()) + 1:04}" in hand.does(f"{of_newer} migrate", **both)
            hand.does(f"{of_newer} doctor", **both)
            for each in (told, told_by_new):
                each.goes_on()
            for server in (old, new):
                assert server.http.get("/health/ready").json()["checks"]["migrations"] == "ok"
        for each in (told, told_by_new):
            assert set(each.reads + each.writes) <= {200, 201}
        people.find_all(new)
        people.find_all(old)

    refused = hand.tries("moviehub migrate", **both)
    assert refused.returncode == 1
    with serving(**both) as back:
        people.find_all(back)
        assert back.http.get("/health/ready").status_code == 200


@pytest.mark.slow
async def test_what_is_in_the_way_of_a_migration_is_told_and_it_can_be_run_again(
    database_url: str, hand: Operator
) -> None:
    upgrade(database_url, "0003")
    reader = await asyncpg.connect(database_url, server_settings={"application_name": "a long report"})
    try:
        async with reader.transaction():
            await reader.execute("SELECT FROM movies")
            struck = hand.tries("moviehub migrate", DATABASE_URL=database_url)
            assert (struck.returncode, "lock timeout" in struck.stderr) == (1, True), struck.stderr
            assert await current(database_url) == "0003"
            assert "a long report" in hand.follows("in-the-way", DATABASE_URL=database_url)
    finally:
        await reader.close()
    hand.does("moviehub migrate", DATABASE_URL=database_url)
    assert await current(database_url) == head()


def indexes(url: str) -> list[tuple[str, str, str]]:
    return [row for row in catalog(url) if row[0] == "index"]


@pytest.mark.slow
async def test_an_index_that_was_made_before_without_closing_its_table_is_what_the_migration_would_make(
    migrated_url: str, hand: Operator, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    (tmp_path / "src").symlink_to(ROOT / "src")
    schema = await asyncio.to_thread(indexes, migrated_url)
    numbers = """
        SELECT relname, oid FROM pg_class WHERE relname IN ('ix_sessions_expires_at', 'ix_movies_fetched_at_id',
            'ix_movies_popularity_id_covering', 'ix_movies_original_language_release_date',
            'ix_users_names_trigrams')
    """

    assert hand.follows("downgrade", "indexes", "frequent-words", "invalid", DATABASE_URL=migrated_url) == ""
    assert await current(migrated_url) == "0003"
    made = await rows(migrated_url, numbers)
    assert len(made) == 5
    hand.does("moviehub migrate", DATABASE_URL=migrated_url)

    assert await rows(migrated_url, numbers) == made
    assert await asyncio.to_thread(indexes, migrated_url) == schema


def test_every_index_that_a_migration_adds_to_a_hub_that_runs_may_be_there_already() -> None:
    for file in Path(folder[0], "versions").glob("[0-9]*.py"):
        if file.name > "0004":
            text = file.read_text()
            assert text.count("op.create_index(") == text.count("if_not_exists=True"), file.name
