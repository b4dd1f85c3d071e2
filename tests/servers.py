"""The service as a user runs it: the `moviehub` command in processes of its own."""

import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import httpx

from moviehub.entrypoints.settings import UNLIMITED

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
MOVIEHUB = str(Path(sys.executable).with_name("moviehub"))
PASSWORD = "one small orange cat"
PATIENCE = 30.0  # for what takes a second or two on a machine that has nothing else to do

# Below the ports that the system gives to connections, and elsewhere in each process that runs tests.
_ports = itertools.count(10_000 + os.getpid() * 41 % 20_000)


def free_port() -> int:
    """A port that nobody listens on and that no other test is given."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            break
    return port


def environment(**settings: str) -> dict[str, str]:
    """The environment of a user who has set these and nothing else, by their names without MOVIEHUB_."""
    ours = ("MOVIEHUB_", "MAKE", "PYTHONDONTWRITEBYTECODE")  # by the last, each process would compile all of it anew
    plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    usual = {"BCRYPT_COST": "4", **{name.upper(): "off" for name in UNLIMITED}}
    plain["PYTHONPATH"] = str(ROOT / "tests/installed")
    return {**plain, **{f"MOVIEHUB_{name}": value for name, value in {**usual, **settings}.items()}}


def moviehub(*words: str, told: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with `told` on its standard input; lone surrogates stand for bytes that are no text."""
    return subprocess.run(
        [MOVIEHUB, *words],
        input=told,
        env=environment(**settings),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=PATIENCE,
    )


def eventually(ask: Callable[[], T | None], within: float = PATIENCE) -> T:
    """What `ask` answers, as soon as it is something."""
    deadline = time.monotonic() + within
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.01)
    return answer


def ends(processes: Sequence[int], within: float) -> bool:
    """Whether all these processes, told by their descriptors, have ended in time. Closes the descriptors."""
    deadline = time.monotonic() + within
    ended = [select.select([one], [], [], max(0.0, deadline - time.monotonic()))[0] for one in processes]
    for one in processes:
        os.close(one)
    return all(ended)


def _command(pid: int) -> bytes:
    """The command line of a process; nothing of one that has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def children(pid: int) -> list[int]:
    """The processes that this one has started and that run, the oldest first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            told = stat.read_text().rpartition(")")[2].split()
            if int(told[1]) == pid and told[0] != "Z":
                found.append((int(told[19]), int(stat.parent.name)))
    return [child for _, child in sorted(found)]


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    return [pid, *itertools.chain.from_iterable(map(family, children(pid)))]


class Server:
    """A server that answers. `http` is a client of it, `scratch` its folder for temporary files."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, said: Path, scratch: Path) -> None:
        self.process, self.port, self.scratch, self._said = process, port, scratch, said
        self.url = f"http://127.0.0.1:{port}"
        self.http = self.client()

    def client(self) -> httpx.Client:
        """A client with connections of its own."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE, verify=False, trust_env=False)

    @property
    def output(self) -> str:
        """All that it has said, on both streams."""
        return self._said.read_text()

    def workers(self) -> list[int]:
        """The processes that serve, the oldest first; a private Postgres is none."""
        return [pid for pid in children(self.process.pid) if (line := _command(pid)) and b"postgres" not in line]

    def descriptors(self) -> list[int]:
        """Every process of the server, for `ends`."""
        opened = []
        for pid in family(self.process.pid):
            with suppress(ProcessLookupError):
                opened.append(os.pidfd_open(pid))
        return opened

    def end(self, number: int = signal.SIGTERM, within: float = 10.0) -> int:
        """Send a signal to the parent; its exit code, once it and all its processes have ended in time."""
        processes = self.descriptors()
        self.process.send_signal(number)
        assert ends(processes, within), f"processes are left after {within} s: {self.output}"
        return self.process.wait()

    def serving(self) -> bool:
        """Whether a new connection is answered."""
        with socket.socket() as probe:  # a client costs thirty times as much, and is made in vain until it listens
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        try:
            with self.client() as client:
                return client.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def worker_of(self, client: httpx.Client) -> int:
        """Which process serves the connection of this client."""
        stream = client.get("/health/live").extensions["network_stream"]
        ours = stream.get_extra_info("client_addr")[1]
        ends_of = f":{self.port:04X} 0100007F:{ours:04X} "
        # A row may be told twice, and an end that nobody has open any more has no number.
        told = {row.split()[9] for row in Path("/proc/net/tcp").read_text().splitlines() if ends_of in row}
        [link] = [f"socket:[{number}]" for number in told - {"0"}]
        for pid in self.workers():
            with suppress(FileNotFoundError):
                if any(os.readlink(one) == link for one in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
        raise AssertionError("no worker has this connection")

    def clients_of_each_worker(self, workers: int) -> dict[int, httpx.Client]:
        """A client for each worker, whose connection stays with it."""
        clients: dict[int, httpx.Client] = {}

        def all_found() -> bool:
            client = self.client()
            if clients.setdefault(self.worker_of(client), client) is not client:
                client.close()
            return len(clients) == workers

        eventually(all_found)
        return clients

    def register(self, username: str) -> dict[str, Any]:
        """A new account."""
        account = {"username": username, "email": f"{username}@example.org", "password": PASSWORD}
        answer = self.http.post("/api/auth/users/", json=account)
        assert answer.status_code == 201, answer.text
        user: dict[str, Any] = answer.json()["user"]
        return user

    def sign_in(self, username: str, password: str = PASSWORD) -> dict[str, Any]:
        """A pair of tokens."""
        answer = self.http.post("/api/auth/token/", json={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    def joined(self, username: str) -> dict[str, str]:
        """The header of a new account that has signed in."""
        self.register(username)
        return bearer(self.sign_in(username))


def bearer(tokens: Mapping[str, Any]) -> dict[str, str]:
    """The header that signs a call."""
    return {"Authorization": f"Bearer {tokens['access']}"}


@contextmanager
def started(*words: str, command: Sequence[str] = (MOVIEHUB, "serve"), **settings: str) -> Iterator[Server]:
    """A process that is to be a server, with its own session; killed if it still runs.

    It listens on a port of its own, if the words name none.
    """
    port = int(words[words.index("--port") + 1]) if "--port" in words else free_port()
    with TemporaryDirectory() as folder:
        said, scratch = Path(folder, "said"), Path(folder, "scratch")
        scratch.mkdir()
        where = [f"PORT={port}"] if command[0] == "make" else ["--port", str(port)]
        with said.open("wb") as output:
            process = subprocess.Popen(
                [*command, *where, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment(**settings), "TMPDIR": str(scratch)},
                cwd=ROOT,
                start_new_session=True,
            )
        server = Server(process, port, said, scratch)
        try:
            yield server
        finally:
            server.http.close()
            if process.poll() is None:
                processes = server.descriptors()
                os.killpg(process.pid, signal.SIGKILL)  # for make would leave what it has started
                process.wait()
                assert ends(processes, PATIENCE)


@contextmanager
def serving(*words: str, command: Sequence[str] = (MOVIEHUB, "serve"), **settings: str) -> Iterator[Server]:
    """A server that answers."""
    with started(*words, command=command, **settings) as server:

        def answers() -> bool:
            assert server.process.poll() is None, server.output
            return server.serving()

        eventually(answers)
        yield server


@contextmanager
def two_workers(**settings: str) -> Iterator[Server]:
    """A server of two workers that both run, and to which nothing unexpected happens."""
    with serving("--workers", "2", **settings) as server:
        eventually(lambda: len(server.workers()) == 2)
        yield server
        assert "Traceback" not in server.output
