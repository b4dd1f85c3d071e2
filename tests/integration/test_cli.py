"""The commands of `moviehub` beside `serve`, on a real database.

As processes where that counts; else in this one, for each process takes a second to begin.
"""

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
import redis
from click.testing import Result

from moviehub.adapters.postgres import migrations
from moviehub.entrypoints.bootstrap import cache_prefix, running
from moviehub.entrypoints.bootstrap.database import newest_revision
from moviehub.entrypoints.settings import Settings
from tests.api import api_over, memory_settings
from tests.commands import invoked, shown_on_a_terminal
from tests.servers import PASSWORD, bearer, environment, eventually, free_port, moviehub, serving

SECRET = "marked-" + "k" * 32
ADMIN = ("user", "create-admin", "--username", "ripley", "--email", "ripley@example.org")
MIGRATIONS = sorted(
    path.stem.replace("_", " ") for path in (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py")
)
WELL = f"The database is at revision {newest_revision()}.\n"


def marked(url: str, **parts: str) -> str:
    """A URL of the same database with a password that must not be shown."""
    there = urlsplit(url)
    port = parts.get("port", str(there.port))
    user = parts.get("user", str(there.username))
    return there._replace(netloc=f"{user}:{quote('marked-pass')}@127.0.0.1:{port}").geturl()


def fetch(url: str, query: str) -> list[tuple[object, ...]]:
    async def ask() -> list[tuple[object, ...]]:
        link = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await link.fetch(query)]
        finally:
            await link.close()

    return asyncio.run(ask())  # not in an async test, for a command has a loop of its own


def run(*words: str, told: str = "", **settings: str) -> Result:
    """What `moviehub` of tests.servers does, in this process."""
    cleared: dict[str, str | None] = {name: None for name in os.environ if name.startswith("MOVIEHUB_")}
    return invoked(*words, told=told, env={**cleared, **environment(**settings)})


def test_migrating_from_two_places_at_once_and_again_is_fine(database_url: str, valkey_url: str) -> None:
    settings = {"DATABASE_URL": database_url}
    with ThreadPoolExecutor() as threads:
        both = list(threads.map(lambda _: moviehub("migrate", **settings), range(2)))
    assert [(done.returncode, done.stderr) for done in both] == [(0, "")] * 2
    waited, worked = sorted((done.stdout for done in both), key=len)
    assert waited == WELL
    *steps, last = worked.splitlines(keepends=True)
    assert last == WELL
    assert [re.sub(r"\d+\.\d s$", "…", step.strip()) for step in steps] == [f"{name}: …" for name in MIGRATIONS]
    again = run("migrate", REDIS_URL=valkey_url, **settings)
    assert (again.exit_code, again.stdout) == (0, WELL + "The cache is empty.\n")
    assert fetch(database_url, "SELECT version_num FROM alembic_version") == [(newest_revision(),)]
    assert fetch(database_url, "SELECT count(*) FROM users") == [(0,)]


def test_a_terminal_is_told_which_migration_runs_and_how_much_is_forgotten(database_url: str, valkey_url: str) -> None:
    settings = environment(DATABASE_URL=database_url, REDIS_URL=valkey_url)
    code, shown = shown_on_a_terminal("migrate", env=settings)
    assert code == 0
    assert "looking at the database …" in shown
    told = [shown.index(f"{name} …\r\x1b[K{name}: ") for name in MIGRATIONS]
    assert told == sorted(told)
    assert "emptying the cache: 0 forgotten …" in shown
    lines = re.sub("[^\r\n]* …\r\x1b\\[K|\r\x1b\\[K", "", shown).splitlines()
    assert len(lines) == len(MIGRATIONS) + 2
    assert lines[-2:] == [WELL.strip(), "The cache is empty."]
    with redis.Redis.from_url(valkey_url, socket_timeout=5) as link:
        link.mset({f"{cache_prefix(Settings.read(settings))}{number}": "" for number in range(3_000)})
    code, shown = shown_on_a_terminal("cache", "flush", env=settings)
    assert code == 0
    assert "emptying the cache: 3,000 forgotten …\r\x1b[KThe cache is empty.\r\n" in shown


def test_a_migration_succeeds_though_the_cache_is_away(database_url: str) -> None:
    done = run("migrate", DATABASE_URL=database_url, REDIS_URL=f"redis://:marked@127.0.0.1:{free_port()}/0")
    assert done.exit_code == 0
    assert done.stdout.endswith(WELL)
    [line] = done.stderr.splitlines()
    assert line.startswith("Warning: the cache could not be flushed: ")
    assert "marked" not in line


@pytest.mark.parametrize(
    "words", [("migrate",), ("user", "set-password", "--username", "ripley")], ids=lambda words: words[0]
)
def test_a_database_that_does_not_answer_is_told_in_one_line_without_its_password(
    words: tuple[str, ...], postgres_url: str
) -> None:
    done = run(*words, told=f"{PASSWORD}\n", DATABASE_URL=marked(postgres_url, port=str(free_port())))
    assert (done.exit_code, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.endswith("The database cannot answer now.")
    assert "marked" not in line


def test_doctor_is_well_with_a_migrated_database_and_a_cache(migrated_url: str, valkey_url: str) -> None:
    strong = "Vq3LhX0bTz7mKc9RfWu2YpJd5NsGa8Ei"
    done = run("doctor", DATABASE_URL=migrated_url, REDIS_URL=valkey_url, SECRET_KEY=strong)
    assert (done.exit_code, done.stderr) == (0, "")
    told = [line.split()[:2] for line in done.stdout.splitlines()]
    of_database = ("database", "server", "extensions", "clock", "connections", "migrations")
    parts = ("settings", "secret", *of_database, "cache", "redis", "catalogue")
    assert told == [["ok", part] for part in parts]
    assert strong not in done.stdout
    assert str(urlsplit(migrated_url).password) not in done.stdout

    fetch(migrated_url, "UPDATE alembic_version SET version_num = '0000'")
    ill = run("doctor", DATABASE_URL=migrated_url, SECRET_KEY=SECRET)
    assert ill.exit_code == 1
    assert f"fault    migrations   at revision 0000, and this moviehub is made for {newest_revision()}" in ill.stdout


def test_doctor_tells_what_is_ill_and_never_a_secret(database_url: str) -> None:
    away = f"redis://:marked-pass@127.0.0.1:{free_port()}/0"
    tmdb = {"TMDB_URL": f"http://127.0.0.1:{free_port()}/3", "TMDB_TOKEN": "marked-token"}
    for url, ill in (
        (database_url, {"migrations"}),
        (marked(database_url, port=str(free_port())), {"database", "migrations"}),
        (marked(database_url, user="nobody"), {"database", "migrations"}),
    ):
        done = run("doctor", DATABASE_URL=url, REDIS_URL=away, SECRET_KEY=SECRET, **tmdb)
        assert done.exit_code == 1
        states = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
        assert {part for part, state in states.items() if state == "fault"} == ill
        assert (states["cache"], states["catalogue"]) == ("warning", "warning")
        assert "marked" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert isinstance(done.exception, SystemExit)


def test_the_first_superuser_is_made_from_a_password_on_standard_input(migrated_url: str) -> None:
    settings = {"DATABASE_URL": migrated_url}
    for password in ("password1", ""):
        refused = run(*ADMIN, told=f"{password}\n", **settings)
        assert (refused.exit_code, refused.stdout) == (1, ""), password
        [line] = refused.stderr.splitlines()
        assert line.startswith("Error: password: "), line
        assert not password or password not in line
    password = "\udcff\udcfe one small orange cat"  # bytes that are no text, which reach a process alone
    done = moviehub(*ADMIN, told=f"{password}\n", **settings)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: password: "), line
    assert password not in line
    assert fetch(migrated_url, "SELECT count(*) FROM users") == [(0,)]

    made = run(*ADMIN, told=f"{PASSWORD}\n", **settings)
    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout.startswith("Made superuser ripley with id ")
    query = "SELECT username, is_staff, is_superuser, is_active FROM users"
    assert fetch(migrated_url, query) == [("ripley", True, True, True)]

    again = run(*ADMIN[:3], "RIPLEY", *ADMIN[4:], told=f"{PASSWORD}\n", **settings)
    assert (again.exit_code, again.stdout) == (1, "")
    [line] = again.stderr.splitlines()
    assert line.startswith("Error: username: ")
    assert "email: " in line


def test_another_password_ends_every_session_of_a_running_server(migrated_url: str) -> None:
    with serving(DATABASE_URL=migrated_url, SECRET_KEY=SECRET) as server:
        auth = server.joined("ripley")
        command = ("user", "set-password", "--email", "ripley@example.org")
        refused = run(*command, told="password1\n", DATABASE_URL=migrated_url)
        assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
        assert server.http.get("/api/auth/users/me/", headers=auth).status_code == 200

        done = run(*command, told="two large orange cats\n", DATABASE_URL=migrated_url)
        said = "The password of ripley@example.org is set, and its sessions are ended.\n"
        assert (done.exit_code, done.stdout, done.stderr) == (0, said, "")
        # Without Redis nobody tells the server, which holds for a second what it read.
        eventually(lambda: server.http.get("/api/auth/users/me/", headers=auth).status_code == 401, within=2)
        old = server.http.post("/api/auth/token/", json={"username": "ripley", "password": PASSWORD})
        assert old.status_code == 401
        new = bearer(server.sign_in("ripley", "two large orange cats"))
        assert server.http.get("/api/auth/users/me/", headers=new).status_code == 200

    unknown = run("user", "set-password", "--username", "nobody", told=f"{PASSWORD}\n", DATABASE_URL=migrated_url)
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: There is no user 'nobody'.\n")


def test_a_production_server_serves_with_what_it_was_told(migrated_url: str, valkey_url: str) -> None:
    fit = {
        "ENV": "production",
        "SECRET_KEY": "Vq3LhX0bTz7mKc9RfWu2YpJd5NsGa8Ei",
        "DATABASE_URL": migrated_url,
        "REDIS_URL": valkey_url,
    }
    done = moviehub("serve", "--port", str(free_port()), **fit)
    assert (done.returncode, done.stdout) == (78, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: MOVIEHUB_TRUSTED_PROXIES: production needs ")

    with serving("--workers", "2", TRUSTED_PROXIES="none", RATE_LIMIT_USER="2/day", **fit) as server:
        auth = server.joined("ripley")
        answers = [server.http.get("/api/auth/users/me/", headers=auth) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert "Traceback" not in server.output


def test_a_new_key_ends_no_session_while_the_old_one_is_listed(migrated_url: str) -> None:
    old, new = SECRET, "another-" + SECRET

    async def before() -> dict[str, Any]:
        settings = memory_settings(database_url=migrated_url, secret_key=old, bcrypt_cost=4)
        async with running(settings) as container, api_over(container) as api:
            return await api.tokens("ripley")

    async def afterwards(*access: str) -> list[int]:
        settings = memory_settings(database_url=migrated_url, secret_key=new)
        async with running(settings) as container, api_over(container) as api:
            return [(await api.get("/api/auth/users/me/", token=each)).status_code for each in access]

    tokens = asyncio.run(before())
    with serving(DATABASE_URL=migrated_url, SECRET_KEY=new, PREVIOUS_SECRET_KEYS=old) as server:
        assert server.http.get("/api/auth/users/me/", headers=bearer(tokens)).status_code == 200
        answer = server.http.post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]})
        assert answer.status_code == 200
        renewed = answer.json()
    assert asyncio.run(afterwards(tokens["access"], renewed["access"])) == [401, 200]


def test_a_private_database_is_made_for_whatever_needs_it(server_folder: Path) -> None:
    folder = str(server_folder / "state")
    assert moviehub(*ADMIN, told=f"{PASSWORD}\n", DATA_DIR=folder).returncode == 0
    done = moviehub("doctor", DATA_DIR=folder)
    assert (done.returncode, done.stderr) == (0, "")
