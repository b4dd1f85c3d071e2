"""The end of a server under load: it says first that it is not ready, serves on, and finishes what it has begun."""

import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests import promises
from tests.nginx import NGINX, nginx_before
from tests.servers import PASSWORD, Server, eventually, free_port, serving

MEMORY = {"DATABASE_URL": "memory://", "SECRET_KEY": "k" * 32}
CLIENTS = 2
PAUSE = 0.05  # between the requests of one client, since servers also have to start meanwhile


def get(url: str, path: str = "/api/movies/popular/") -> httpx.Response:
    """An answer, over a connection of its own."""
    with httpx.Client(verify=False, trust_env=False, timeout=10.0) as client:
        return client.get(f"{url}{path}")


def is_ready(server: Server) -> bool:
    """Whether the server says that work may be sent to it."""
    try:
        return get(server.url, "/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def refusal(client: httpx.Client) -> httpx.Response | None:
    """The answer of a server that says it is not ready."""
    answer = client.get("/health/ready")
    return answer if answer.status_code == 503 else None


class Load:
    """What clients that ask again and again have been told: statuses, and faults of the connection."""

    def __init__(self, ask: Callable[[], httpx.Response]) -> None:
        self.told: list[int | str] = []
        self._ask, self._enough = ask, threading.Event()

    def _go(self) -> None:
        while not self._enough.wait(PAUSE):
            try:
                self.told.append(self._ask().status_code)
            except Exception as fault:
                self.told.append(repr(fault))

    def goes_on(self, times: int = 20) -> None:
        """Wait until so many more have been answered."""
        before = len(self.told)
        eventually(lambda: len(self.told) >= before + times)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """The clients at work; afterwards each has its last answer."""
        threads = [threading.Thread(target=self._go) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            self.goes_on()
            yield self
        finally:
            self._enough.set()
            for thread in threads:
                thread.join()


@promises.sigterm
def test_a_server_under_load_says_first_that_it_is_not_ready_and_serves_on(migrated_url: str, valkey_url: str) -> None:
    shared = {"DATABASE_URL": migrated_url, "REDIS_URL": valkey_url, "SECRET_KEY": "k" * 32, "DRAIN_SECONDS": "5"}
    with serving("--workers", "2", **shared) as server:
        clients = server.clients_of_each_worker(2).values()
        with Load(lambda: get(server.url)).running() as load:
            server.process.send_signal(signal.SIGTERM)
            for client in clients:
                answer = eventually(partial(refusal, client), within=2.0)
                assert answer.json() == {"status": "unavailable", "checks": {"server": "unavailable"}}
                assert int(answer.headers["retry-after"]) > 0
                assert client.get("/health/live").status_code == 200
            load.goes_on()
        assert set(load.told) == {200}
        assert server.end(signal.SIGTERM, within=4.0) == 0, "the second signal cuts the drain short"
        assert "Traceback" not in server.output
        for client in clients:
            client.close()


def test_a_person_at_a_terminal_does_not_wait_for_the_drain() -> None:
    with serving(**MEMORY, DRAIN_SECONDS="5") as server:
        assert server.end(signal.SIGINT, within=4.0) == 0


def test_a_worker_that_a_supervisor_tells_as_well_is_no_fault_during_the_drain() -> None:
    with serving(**MEMORY, DRAIN_SECONDS="1") as server:
        [worker] = server.workers()
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: not is_ready(server))
        os.kill(worker, signal.SIGTERM)
        assert server.process.wait(10.0) == 0
        assert "Error" not in server.output


@promises.sigterm
def test_the_drain_lasts_as_long_as_it_is_set_to_and_what_has_begun_is_answered_when_the_server_takes_no_more() -> None:
    body = json.dumps({"username": "ripley", "email": "ripley@example.org", "password": PASSWORD}).encode()
    head = f"POST /api/auth/users/ HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n"
    with (
        serving(**MEMORY, DRAIN_SECONDS="1") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10.0) as link,
    ):
        link.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
        assert link.recv(1024).startswith(b"HTTP/1.1 100 "), "the request has begun"
        told = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: not server.serving())
        assert time.monotonic() - told >= 1.0
        link.sendall(body)
        assert link.recv(1024).startswith(b"HTTP/1.1 201 ")
        assert server.process.wait(10.0) == 0


@promises.rolling_restart
def test_a_rolling_restart_of_two_loses_no_request_of_those_who_ask_the_one_that_is_ready() -> None:
    def ask() -> httpx.Response:
        return get(next(server.url for server in list(fleet) if is_ready(server)))

    with ExitStack() as stack:
        fleet = [stack.enter_context(serving(**MEMORY, DRAIN_SECONDS="1")) for _ in range(2)]
        with Load(ask).running() as load:
            for old in list(fleet):
                assert old.end(signal.SIGTERM) == 0
                fleet.append(stack.enter_context(serving(**MEMORY, DRAIN_SECONDS="1")))
                fleet.remove(old)
                load.goes_on()
        assert set(load.told) == {200}


if NGINX is not None:  # nginx is no package of Python: where it is not installed there is no such test

    @promises.rolling_nginx
    @pytest.mark.slow
    def test_a_rolling_restart_of_two_behind_nginx_fails_no_request_that_may_be_repeated(server_folder: Path) -> None:
        ports = [free_port(), free_port()]
        with ExitStack() as stack:
            fleet = [stack.enter_context(serving("--port", str(port), **MEMORY, DRAIN_SECONDS="1")) for port in ports]
            nginx = stack.enter_context(nginx_before(ports, server_folder))
            pages = itertools.count(1)  # each is another, or nginx would have it in its cache
            with Load(
                lambda: nginx.get(f"/api/movies/popular/?page_size=1&page={next(pages) % 500 + 1}")
            ).running() as load:
                for old in fleet:
                    assert old.end(signal.SIGTERM) == 0
                    load.goes_on()
                    stack.enter_context(serving("--port", str(old.port), **MEMORY, DRAIN_SECONDS="1"))
                load.goes_on()
            assert set(load.told) == {200}
