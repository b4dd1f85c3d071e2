"""`moviehub worker` as processes of its own, on a real database and cache and a TMDb of our own."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from click.testing import Result
from prometheus_client.parser import text_string_to_metric_families

from tests import promises
from tests.commands import invoked
from tests.integration.test_tmdb_end_to_end import Tmdb, stand_in, tmdb
from tests.servers import MOVIEHUB, environment, eventually, free_port, moviehub, serving
from tests.tmdb_stand_in import TOKEN, Fault

__all__ = ["stand_in", "tmdb"]

SECRET = "marked-" + "k" * 32
LEASE = "moviehub:lease:worker"


@pytest.fixture
def settings(stand_in: Tmdb, migrated_url: str, valkey_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": migrated_url,
        "REDIS_URL": valkey_url,
        "TMDB_URL": stand_in.url,
        "TMDB_TOKEN": TOKEN,
        "SECRET_KEY": SECRET,
    }


class Working:
    """A worker's process."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, said: Path) -> None:
        self.process, self.port, self._said = process, port, said

    @property
    def output(self) -> str:
        return self._said.read_text()

    def logged(self) -> list[tuple[str, str]]:
        """Events and the jobs they tell of; every line that it says is JSON."""
        lines = [json.loads(line) for line in self.output.splitlines()]
        return [(line["event"], line.get("job", "")) for line in lines]

    def metrics(self) -> dict[str, float]:
        """Every number that it tells Prometheus, with its labels' values; nothing before it listens."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False, verify=False)
        except httpx.TransportError:
            return {}
        families = text_string_to_metric_families(answer.text)
        samples = [sample for family in families for sample in family.samples]
        return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


@contextmanager
def working(folder: Path, settings: dict[str, str]) -> Iterator[Working]:
    """A worker, killed if it still runs at the end."""
    port = free_port()
    said = folder / f"said-{port}"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [MOVIEHUB, "worker", "--metrics-port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(**settings),
        )
    try:
        yield Working(process, port, said)
    finally:
        process.kill()
        process.wait()


def run(*words: str, **settings: str) -> Result:
    """A command to its end, in this process."""
    cleared: dict[str, str | None] = {name: None for name in os.environ if name.startswith("MOVIEHUB_")}
    return invoked(*words, told="", env={**cleared, **environment(**settings)})


def assert_no_secret(said: str, settings: dict[str, str]) -> None:
    for secret in (TOKEN, SECRET, settings["DATABASE_URL"], settings["REDIS_URL"]):
        assert secret not in said
    assert "Traceback" not in said


def test_who_asks_for_what_was_warmed_waits_for_nobody(tmdb: Tmdb, settings: dict[str, str]) -> None:
    before = len(tmdb.requests())
    done = moviehub("worker", "--once", **settings)
    assert (done.returncode, done.stdout) == (0, "")
    ended = [json.loads(line) for line in done.stderr.splitlines() if '"job_ends"' in line]
    assert [(line["job"], line["outcome"]) for line in ended] == [
        ("warm", "done"),
        ("sessions", "done"),
        ("old", "done"),
        ("changed", "done"),
    ]
    assert ended[0]["pages_fetched"] == 20
    assert_no_secret(done.stderr, settings)

    asked = len(tmdb.requests())
    assert asked > before
    with serving(**settings) as server:
        for path in ("trending/", "trending/?time_window=day", "popular/?page=10", "top_rated/?page=2"):
            answer = server.http.get(f"/api/movies/{path}")
            assert answer.status_code == 200
            assert answer.headers["cache-status"].startswith("moviehub; hit")
            assert answer.json()["source"] == "tmdb"
    assert len(tmdb.requests()) == asked


def both(workers: Sequence[Working], name: str) -> list[float | None]:
    return [worker.metrics().get(f"moviehub_worker_{name}") for worker in workers]


@promises.job_killed
def test_of_two_workers_one_works_and_the_other_takes_over_and_ends_well(
    tmdb: Tmdb, settings: dict[str, str], tmp_path: Path
) -> None:
    valkey = redis.Redis.from_url(settings["REDIS_URL"])
    with valkey, working(tmp_path, settings) as one, working(tmp_path, settings) as other:
        eventually(lambda: sorted(map(str, both((one, other), "holds_lease"))) == ["0.0", "1.0"])
        first, second = (one, other) if both((one,), "holds_lease") == [1] else (other, one)
        eventually(lambda: "moviehub_worker_last_done_timestamp_seconds changed" in first.metrics())
        told = first.metrics()
        for job in ("warm", "sessions", "old", "changed"):
            assert told[f"moviehub_worker_job_seconds_count {job} done"] == 1
        assert told["moviehub_worker_pages_fetched_total"] == 20
        assert {told[f"moviehub_worker_{name}_total"] for name in ("films_dropped", "sessions_ended")} == {0}
        assert second.logged() == [("another_worker_works", "")]

        first.process.kill()
        first.process.wait()
        left = valkey.pttl(LEASE)
        assert isinstance(left, int)
        assert 0 < left <= 10_000, "it ends by itself within ten seconds"
        tmdb.fail(Fault.HANG)
        asked = len(tmdb.requests())
        valkey.flushdb()  # the lease with it, as if they had passed, and there are pages to be fetched again
        eventually(lambda: len(tmdb.requests()) > asked)
        assert both((second,), "holds_lease") == [1]

        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(5) == 0
        events = second.logged()
        assert events[:3] == [("another_worker_works", ""), ("worker_begins", ""), ("job_begins", "warm")]
        assert events[-1] == ("worker_ends", "")
        assert not valkey.exists(LEASE), "the next one may begin at once"
        for worker in (first, second):
            assert_no_secret(worker.output, settings)


def test_a_worker_that_waits_ends_at_once(settings: dict[str, str], tmp_path: Path) -> None:
    with redis.Redis.from_url(settings["REDIS_URL"]) as valkey:
        valkey.set(LEASE, "somebody")
        with working(tmp_path, settings) as worker:
            eventually(lambda: worker.logged() == [("another_worker_works", "")])
            worker.process.send_signal(signal.SIGINT)
            assert worker.process.wait(5) == 0
        assert valkey.get(LEASE) == b"somebody"


def test_once_tells_by_its_exit_code_that_a_job_failed(settings: dict[str, str]) -> None:
    away = {**settings, "TMDB_URL": f"http://127.0.0.1:{free_port()}/3"}
    done = run("worker", "--once", **away)
    ended = [json.loads(line) for line in done.stderr.splitlines() if '"job_ends"' in line]
    assert [line["outcome"] for line in ended] == ["failed", "done", "done", "failed"]
    assert (done.exit_code, done.stdout) == (1, "")
    assert_no_secret(done.stderr, away)


def test_a_port_in_use_is_told_in_one_line(settings: dict[str, str], stand_in: Tmdb) -> None:
    port = stand_in.url.rpartition(":")[2].partition("/")[0]
    done = run("worker", "--metrics-port", port, **settings)
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: Cannot listen on port {port} of 127.0.0.1: Address already in use. "
        "Choose another with --metrics-port or --host.\n"
    )
