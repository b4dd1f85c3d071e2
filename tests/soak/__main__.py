"""A chaos run: people use a hub of two workers while its parts fail by chance, and nothing may be lost (`make soak`).

The seed that is printed gives the same faults in the same order again. Afterwards everything is well for a while, and
what each person was told is compared with what is there. The exit code is 1 if anything was not as promised.
"""

import argparse
import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import asyncpg

from moviehub.adapters.embedded import PrivatePostgres, PrivateValkey
from moviehub.adapters.postgres.migrations import upgrade
from tests.conftest import make_server_folder
from tests.proxy import Proxy
from tests.servers import ROOT, Server, eventually, serving
from tests.soak.faults import Parts, trouble
from tests.soak.people import Log, Person
from tests.tmdb_stand_in import TOKEN

PEOPLE = 16
FILMS = 40
QUIET = 6.0
MOST_GROWN = 1.25, 16 * 1024 * 1024
"""Of a worker's memory, once it has run for a quarter of the time: as a factor, and in bytes on top."""

MOST_TASKS = 30
"""Of a worker that nobody asks anything: those that watch, and some for connections that are open."""


def resources(pid: int) -> tuple[int, int, int]:
    """Memory in bytes, open files and threads of a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) * 1024, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"])


def tasks(server: Server) -> dict[int, int]:
    """How many tasks the event loop of each worker has, as they told a moment ago."""
    told = re.findall(r'^moviehub_tasks\{.*?pid="(\d+)".*?\} (\S+)$', server.http.get("/metrics").text, re.MULTILINE)
    return {int(pid): int(float(many)) for pid, many in told}


@contextmanager
def stand_in() -> Iterator[str]:
    """The URL of a TMDb of our own in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tmdb_stand_in", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


async def recount(parts: Parts, films: list[int]) -> None:
    """Averages are those of the ratings that are there, and no sign-in is missing from the trail."""
    link = await asyncpg.connect(parts.database)
    counted = {
        row["movie_id"]: (row["many"], float(row["mean"]))
        for row in await link.fetch("SELECT movie_id, count(*) many, avg(rating) mean FROM ratings GROUP BY movie_id")
    }
    sign_ins = await link.fetchval("SELECT count(*) FROM audit WHERE event = 'sign_in'")
    await link.close()
    if sign_ins < parts.log.sign_ins:
        parts.log.note(f"{parts.log.sign_ins} sign-ins, and {sign_ins} of them on the trail")
    for film in films:
        told = parts.server.http.get(f"/api/movies/{film}/").json()
        many, mean = counted.get(film, (0, None))
        same = told["average_rating"] == mean if mean is None else abs(told["average_rating"] - mean) < 0.01
        if told["ratings_count"] != many or not same:
            parts.log.note(
                f"film {film}: {told['ratings_count']} × {told['average_rating']}, recounted {many} × {mean}"
            )


async def run(parts: Parts, seconds: float, seed: int) -> None:
    """All of it."""
    people = [Person(f"person{n}", parts.server.url, parts.log, random.Random(seed + n)) for n in range(PEOPLE)]
    for person in people:
        await person.join()
    shown = [parts.server.http.get(f"/api/movies/popular/?page={n}&page_size=20").json() for n in (1, 2)]
    films = [each["id"] for page in shown for each in page["results"]][:FILMS]
    until = time.monotonic() + seconds
    lives = asyncio.gather(*(person.live(until, films) for person in people))
    chaos = asyncio.create_task(trouble(parts, random.Random(seed), until))
    early: dict[int, tuple[int, int, int]] = {}
    seen: dict[int, float] = {}
    while time.monotonic() < until:
        await asyncio.sleep(min(5.0, max(0.1, until - time.monotonic())))
        with suppress(OSError):
            for pid in parts.server.workers():
                # One that has just taken the place of another has yet to open what the others have.
                if time.monotonic() - seen.setdefault(pid, time.monotonic()) > seconds / 4:
                    early.setdefault(pid, resources(pid))
    await lives
    await chaos
    await asyncio.sleep(QUIET)
    for person in people:
        await person.compare()
        await person.http.aclose()
    await recount(parts, films)
    for pid in parts.server.workers():
        if pid in early:
            (memory, files, threads), (memory_now, files_now, threads_now) = early[pid], resources(pid)
            grown = f"{memory >> 20} to {memory_now >> 20} MB, {files} to {files_now} files"
            print(f"  worker: {grown}, {threads} to {threads_now} threads")
            if memory_now > memory * MOST_GROWN[0] + MOST_GROWN[1]:
                parts.log.note(f"memory grew from {memory >> 20} to {memory_now >> 20} MB")
            if files_now > files + 40 or threads_now > threads + 8:
                parts.log.note(f"{files} files and {threads} threads became {files_now} and {threads_now}")
    alive = {pid: many for pid, many in tasks(parts.server).items() if pid in parts.server.workers()}
    print(f"  tasks of the workers: {', '.join(map(str, alive.values()))}")
    if len(alive) != len(parts.server.workers()) or max(alive.values()) > MOST_TASKS:
        parts.log.note(f"tasks are left, or not told: {alive}")
    for line in parts.server.output.splitlines():
        if "Traceback" in line:
            parts.log.note(f"a traceback: {line[:300]} ... {line[-600:]}")


def main() -> int:
    """Run it as told; 1 if something was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    told = parser.parse_args()
    print(f"soak: {told.minutes:g} minutes, seed {told.seed}", flush=True)
    log = Log()
    with ExitStack() as stack:
        folder = make_server_folder()
        stack.callback(shutil.rmtree, folder)
        database = stack.enter_context(PrivatePostgres(folder))
        upgrade(database)
        valkey = stack.enter_context(PrivateValkey())
        tmdb = stack.enter_context(stand_in())
        postgres, redis, catalogue = (stack.enter_context(Proxy(url)) for url in (database, valkey, tmdb))
        server = stack.enter_context(
            serving(
                "--workers",
                "2",
                DATABASE_URL=postgres.url,
                REDIS_URL=redis.url,
                TMDB_URL=catalogue.url,
                TMDB_TOKEN=TOKEN,
                SECRET_KEY="k" * 32,
                CACHE_TTL="3",
            )
        )
        eventually(lambda: len(server.workers()) == 2)
        parts = Parts(server, postgres, redis, catalogue, tmdb, database, valkey, log)
        asyncio.run(run(parts, told.minutes * 60, told.seed))
    print("  answers:", ", ".join(f"{status} {many:,}" for status, many in sorted(log.statuses.items())))
    print("  faults:", ", ".join(f"{name} {many}" for name, many in sorted(log.faults.items())))
    print(f"  slowest answer: {log.slowest:.1f} s")
    print("  " + (f"{len(log.broken)} things were not as promised" if log.broken else "nothing was lost or broken"))
    return bool(log.broken)


if __name__ == "__main__":
    sys.exit(main())
