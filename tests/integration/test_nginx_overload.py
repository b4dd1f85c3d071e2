"""A worker behind nginx that is asked four times what it can do: refusals cost it nothing, so it goes on as before."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from tests import promises
from tests.conftest import make_server_folder
from tests.integration.test_overload import SECONDS, TIMES, on_one_cpu, visitors, watched
from tests.load import Request, quantile, taken
from tests.nginx import NGINX, nginx_before
from tests.reliability import Measured
from tests.servers import Server, serving

pytestmark = pytest.mark.slow
__test__ = NGINX is not None  # where it is not installed, pytest finds nothing here

# Places for one worker in place of four, and no wall for each address: the whole load has one.
ONE_WORKER = {
    "limit_conn search 128;": "limit_conn search 32;",
    "limit_conn read 200;": "limit_conn read 50;",
    "limit_conn write 256;": "limit_conn write 64;",
    "limit_conn network 100;": "",
    "limit_req zone=rate burst=250 nodelay;": "",
}


def cpu_of(server: Server) -> float:
    """How many seconds of CPU its workers have used."""
    told = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in server.workers()]
    return sum(int(fields[11]) + int(fields[12]) for fields in told) / os.sysconf("SC_CLK_TCK")


class Round:
    """The best pace of a server by way of a port, and what comes of several times as much right after.

    `kept` is by the clock. `kept_of_cpu` is what a second of the worker's CPU is good for, which others who use the
    machine meanwhile change less.
    """

    def __init__(self, server: Server, port: int, ask: Request) -> None:
        before = cpu_of(server)
        answers = uvloop.run(taken(port, ask, seconds=SECONDS, connections=16))
        between = cpu_of(server)
        assert {answer.status for answer in answers} <= {200, 201}
        self.pace = len(answers) / SECONDS
        self.outcomes, self.unanswered, self.health = uvloop.run(watched(port, ask, TIMES * self.pace))
        good = sum(outcome.good for outcome in self.outcomes)
        self.kept = good / len(answers)
        self.kept_of_cpu = self.kept * (between - before) / (cpu_of(server) - between)
        self.refused = [outcome for outcome in self.outcomes if not outcome.good]


@promises.overload_behind_nginx
def test_a_worker_behind_nginx_goes_on_at_its_pace_when_four_times_as_much_is_asked(
    migrated_url: str, valkey_url: str, measured: Measured
) -> None:
    limits = {f"RATE_LIMIT_{name}": "900000000/minute" for name in ("ANONYMOUS", "USER")}
    shared = {"DATABASE_URL": migrated_url, "REDIS_URL": valkey_url, "SECRET_KEY": "k" * 32, **limits}
    folder = make_server_folder()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        with on_one_cpu():
            server = stack.enter_context(serving(**shared, TRUSTED_PROXIES="127.0.0.1"))
        with on_one_cpu(max):  # another, if there is one
            nginx = stack.enter_context(nginx_before([server.port], folder, ONE_WORKER))
        movies = [movie["id"] for movie in server.http.get("/api/movies/popular/?page_size=50").json()["results"]]
        ask = visitors(server.joined("alice")["Authorization"].removeprefix("Bearer "), movies)
        uvloop.run(taken(nginx.port, ask, seconds=1, connections=16))
        rounds = [Round(server, nginx.port, ask) for _ in range(3)]
        assert "Traceback" not in server.output

    for each in rounds:
        assert {outcome.status for outcome in each.refused} == {503}
        assert all(b"retry-after: " in outcome.head for outcome in each.refused)
        assert {outcome.status for outcome in each.health} == {200}
        assert each.unanswered == 0
    *_, middle, best = sorted(rounds, key=lambda each: each.kept_of_cpu)
    measured("of its best pace", f"{middle.kept:.0%}, and {middle.kept_of_cpu:.0%} for each second of CPU")
    measured(
        "503 within",
        f"{quantile(middle.refused, 0.5):.4f} s, 99 of 100 within {quantile(middle.refused, 0.99):.4f} s",
    )
    # Of three, since others who use the machine too take more from one round than from another.
    assert best.kept_of_cpu > 0.85
    assert quantile(middle.refused, 0.5) < 0.05
