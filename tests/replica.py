"""A Postgres and its streaming replica: tests stop them, start them and hold the replica back."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from moviehub.adapters.embedded import default_data_dir
from moviehub.adapters.embedded.process import end, spawn
from moviehub.adapters.embedded.programs import ENV, programs_for, run_as, server_account
from tests.conftest import make_server_folder
from tests.servers import PATIENCE, eventually, family, free_port

USER = "moviehub"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_retrieve_retry_interval": "100ms",  # how soon a replica looks for a primary that is back
    "synchronous_standby_names": "*",  # so that a database can have commits wait until the replica shows them
    "synchronous_commit": "local",
}


class Server:
    """A Postgres that keeps its port and its data when it is stopped and started again."""

    def __init__(self, data: Path, programs: Path) -> None:
        self._data, self._programs = data, programs
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._account = server_account()
        data.mkdir(mode=0o700)
        if self._account:
            os.chown(data, *self._account)

    def url(self, database: str) -> str:
        """The address of a database in it."""
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}"

    def fill(self, program: str, words: Sequence[str]) -> None:
        """Have a program of Postgres make the data."""
        done = run_as(self._account, self._programs / program, f"--pgdata={self._data}", "--no-sync", *words)
        assert done.returncode == 0, done.stderr

    def clear(self) -> None:
        """End it, if it runs, and forget its data."""
        self.stop()
        for path in self._data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        told = self._data / "postmaster.pid"
        settings = [f"--{name}={value}" for name, value in (SETTINGS | {"port": str(self._port)}).items()]
        words = [str(self._programs / "postgres"), "-D", str(self._data), *settings]
        with self._data.with_suffix(".log").open("ab") as log:
            self._process = spawn(words, death=signal.SIGINT, output=log, env=ENV, account=self._account)
        eventually(lambda: told.exists() and told.read_text().split()[-1:] == ["ready"])

    def stop(self) -> None:
        """End it, if it runs, and every connection with it."""
        process, self._process = self._process, None
        if process is not None:
            end(process, (signal.SIGINT, PATIENCE), (signal.SIGKILL, PATIENCE))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        assert self._process is not None
        for pid in family(self._process.pid):
            os.kill(pid, number)

    async def run(self, statement: str, database: str = "postgres") -> Any:
        """What an operator gets for a statement."""
        link = await asyncpg.connect(self.url(database), timeout=PATIENCE)
        try:
            return await link.fetchval(statement)
        finally:
            await link.close()


class Pair:
    """A primary and, from `copy` on, its replica; both run."""

    def __init__(self) -> None:
        self._folder = make_server_folder()
        programs = programs_for(server_account(), default_data_dir())
        self.primary = Server(self._folder / "primary", programs)
        self.replica = Server(self._folder / "replica", programs)
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8"]
        self.primary.fill("initdb", [f"--username={USER}", "--auth=trust", *locale])
        self.primary.start()

    def copy(self) -> None:
        """Make the replica, anew if there is one, and start it."""
        self.replica.clear()
        self.replica.fill(
            "pg_basebackup", [f"--dbname={self.primary.url('')}", "--write-recovery-conf", "--checkpoint=fast"]
        )
        self.replica.start()

    def close(self) -> None:
        """End both and forget their data."""
        self.replica.stop()
        self.primary.stop()
        shutil.rmtree(self._folder)

    async def caught_up(self) -> None:
        """Wait until the replica shows what the primary has now."""
        place = await self.primary.run("SELECT pg_current_wal_lsn()::text")
        await self._until(f"SELECT pg_last_wal_replay_lsn() >= '{place}'")

    @asynccontextmanager
    async def held_back(self) -> AsyncIterator[None]:
        """The replica shows what the primary has now, and nothing newer until the end."""
        await self.caught_up()
        await self.replica.run("SELECT pg_wal_replay_pause()")
        await self._until("SELECT pg_get_wal_replay_pause_state() = 'paused'")
        try:
            yield
        finally:
            await self.replica.run("SELECT pg_wal_replay_resume()")

    @asynccontextmanager
    async def delayed(self, seconds: float) -> AsyncIterator[None]:
        """The replica shows each commit so long after it."""
        await self._delay(seconds)
        try:
            yield
        finally:
            await self._delay(0)

    async def _delay(self, seconds: float) -> None:
        await self.replica.run(f"ALTER SYSTEM SET recovery_min_apply_delay = '{seconds * 1000:.0f}ms'")
        await self.replica.run("SELECT pg_reload_conf()")

    async def _until(self, question: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not await self.replica.run(question):
            assert time.monotonic() < deadline, question
