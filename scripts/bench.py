"""How fast the service is, as shares of a bare ASGI callable on the same server in the same run (`make bench`).

It starts a private Postgres and Valkey, fills 10,000 films, signs up 16 people, serves with two workers and drives each
endpoint over keep-alive connections from one process of its own. The driver shares the machine with the server, so
besides requests a second it tells CPU a request, of the workers and of Postgres and Valkey, from /proc (Linux).
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from pathlib import Path

import bcrypt
import uvloop

from moviehub.adapters.embedded import PrivatePostgres, PrivateValkey
from moviehub.adapters.postgres import migrations
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.domain.movies import GENRES, Movie, MovieFacts
from moviehub.entrypoints.settings import UNLIMITED, Settings

MOVIES = 10_000
FAVORITES = 50
PEOPLE = 16
PASSWORD = "a long enough phrase"
TICK = os.sysconf("SC_CLK_TCK")
PREPARED = 50_000
"""So many requests of a kind are made before they are sent, for that work is not the server's."""

Next = Callable[[], bytes]

FLOOR = """
BODY = open({path!r}, "rb").read()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive(); await send({{"type": "lifespan.startup.complete"}})
        await receive(); await send({{"type": "lifespan.shutdown.complete"}}); return
    await send({{"type": "http.response.start", "status": 200, "headers": HEADERS}})
    await send({{"type": "http.response.body", "body": BODY}})
"""


@dataclass
class Result:
    """What one load gave: requests a second, latencies in ms, server CPU a request in µs."""

    rate: float
    p50: float
    p99: float
    cpu: float
    store_cpu: float
    bad: int


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends the next request when the last is answered."""

    def __init__(self, following: Next, latencies: list[float], done: "asyncio.Event") -> None:
        self.following, self.latencies, self.done = following, latencies, done
        self.bad, self.buffer, self.wanted, self.sent = 0, b"", -1, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.following())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.wanted < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self.wanted = end + 4 + length
            self.bad += head[9:10] != b"2"
        if len(self.buffer) >= self.wanted:
            self.latencies.append(time.perf_counter() - self.sent)
            self.buffer, self.wanted = b"", -1
            if self.done.is_set():
                self.transport.close()
            else:
                self.send()


async def drive(port: int, following: Next, seconds: float, connections: int) -> tuple[list[float], int]:
    """Latencies in seconds, and how many answers were not 2xx."""
    loop, done, latencies = asyncio.get_running_loop(), asyncio.Event(), list[float]()
    made = [
        (await loop.create_connection(lambda: Connection(following, latencies, done), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    done.set()
    await asyncio.sleep(0.3)
    return latencies, sum(connection.bad for connection in made)


def cpu(pids: list[int]) -> float:
    """Seconds of CPU that these processes have used."""
    used = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / TICK
        except OSError:
            pass
    return used


def children(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*"):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def memory(pid: int) -> float:
    """Resident memory in MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]


def measure(
    port: int, requests: Sequence[bytes], server: int, stores: list[int], seconds: float, connections: int
) -> Result:
    """Warm up for a moment, then load for `seconds`."""
    following = cycle(requests).__next__
    uvloop.run(drive(port, following, min(1.0, seconds), connections))
    store_pids = [pid for store in stores for pid in children(store)]
    before, store_before, started = cpu(children(server)), cpu(store_pids), time.perf_counter()
    latencies, bad = uvloop.run(drive(port, following, seconds, connections))
    spent = time.perf_counter() - started - 0.3
    latencies.sort()
    count = len(latencies) or 1
    return Result(
        rate=len(latencies) / spent,
        p50=1000 * latencies[count // 2],
        p99=1000 * latencies[min(count - 1, count * 99 // 100)],
        cpu=1e6 * (cpu(children(server)) - before) / count,
        store_cpu=1e6 * (cpu(store_pids) - store_before) / count,
        bad=bad,
    )


def get(path: str, token: str = "") -> bytes:
    """A GET as bytes on the wire."""
    auth = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{auth}\r\n".encode()


def post(path: str, body: object, token: str = "") -> bytes:
    """A POST as bytes on the wire."""
    raw = json.dumps(body).encode()
    auth = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{auth}"
    return f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


def call(port: int, method: str, path: str, body: object = None, token: str = "") -> dict[str, object]:
    """One call through urllib, its JSON."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
        found: dict[str, object] = json.loads(text) if text else {}
        return found


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: list[str], environment: dict[str, str], port: int, path: str) -> Iterator[tuple[int, float]]:
    """A server, its pid and the seconds to its first answer; ended at the end."""
    started = time.perf_counter()
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).read()
                break
            except (urllib.error.URLError, ConnectionError):
                if server.poll() is not None or time.perf_counter() - started > 30:
                    raise SystemExit(f"{command} did not start") from None
                time.sleep(0.02)
        yield server.pid, time.perf_counter() - started
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def films() -> list[MovieFacts]:
    """Films made from a fixed seed."""
    dice = random.Random(1)
    return [
        MovieFacts(
            tmdb_id=number,
            title=f"Film {dice.randrange(1000)} of {number}",
            overview="Somebody wants something, somebody else does not want them to have it. " * 3,
            release_date=date(1950, 1, 1) + timedelta(days=dice.randrange(27_000)),
            poster_path=f"/poster{number}.jpg",
            backdrop_path=f"/backdrop{number}.jpg",
            popularity=round(dice.expovariate(0.05), 3),
            vote_average=round(dice.uniform(3, 9), 3),
            vote_count=dice.randrange(20_000),
            original_language=dice.choice(["en", "fr", "ja", "es", "de"]),
            genre_ids=tuple(genre.id for genre in dice.sample(GENRES, 3)),
        )
        for number in range(1, MOVIES + 1)
    ]


def passable(folder: str) -> Path:
    """A place for Postgres in `folder`: root runs it as another user, who must get there."""
    Path(folder).chmod(0o711)
    return Path(folder) / "state"


async def fill(url: str) -> list[Movie]:
    """10,000 films in the database."""
    storage, met, facts = PostgresStorage(url), list[Movie](), films()
    for start in range(0, MOVIES, 1000):
        async with storage.transaction() as uow:
            met += await uow.movies.remember(facts[start : start + 1000], datetime.now(UTC))
    await storage.close()
    return met


def hashes(seconds: float) -> float:
    """How many passwords a second all cores hash together, with nothing else to do."""
    cores, salt, until = os.cpu_count() or 1, bcrypt.gensalt(Settings().bcrypt_cost), time.perf_counter() + seconds

    def work(_: int) -> int:
        count = 0
        while time.perf_counter() < until:
            bcrypt.hashpw(b"a long enough phrase", salt)
            count += 1
        return count

    begun = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(work, range(cores))) / (time.perf_counter() - begun)


def signed_up(port: int, name: str, movies: list[Movie]) -> str:
    """The access token of somebody new with favourites of their own."""
    call(port, "POST", "/api/auth/users/", {"username": name, "email": f"{name}@example.org", "password": PASSWORD})
    token = str(call(port, "POST", "/api/auth/token/", {"username": name, "password": PASSWORD})["access"])
    for movie in random.Random(name).sample(movies, FAVORITES):
        call(port, "POST", f"/api/movies/{movie.id}/add_to_favorites/", token=token)
    return token


def report(name: str, result: Result, before: Result, after: Result) -> None:
    """One line of the table; the floor is what was measured before and after."""
    total = result.cpu + result.store_cpu
    floor_rate, floor_cpu = (before.rate + after.rate) / 2, (before.cpu + after.cpu) / 2
    line = (
        f"{name:24} {result.rate:9,.0f} {result.p50:8.2f} {result.p99:8.2f} {result.cpu:8.0f} {result.store_cpu:8.0f}"
        f" {result.rate / floor_rate:10.3f} {floor_cpu / total:10.3f}"
    )
    print(line + (f"   {result.bad} answers were not 2xx" if result.bad else ""), flush=True)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each load lasts")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    moviehub = str(Path(sys.executable).with_name("moviehub"))
    with (
        tempfile.TemporaryDirectory() as folder,
        PrivatePostgres(passable(folder)) as database,
        PrivateValkey() as redis,
    ):
        migrations.upgrade(database)
        movies = asyncio.run(fill(database))
        stores = [pid for pid in children(os.getpid()) if pid != os.getpid()]
        port = free_port()
        environment = {
            **os.environ,
            "MOVIEHUB_DATABASE_URL": database,
            "MOVIEHUB_REDIS_URL": redis,
            "MOVIEHUB_TMDB_URL": "demo://",
            "MOVIEHUB_SECRET_KEY": "x" * 48,
            # On, and out of the way: one client asks for all.
            **{f"MOVIEHUB_{name.upper()}": "900000000/minute" for name in UNLIMITED},
        }
        command = [moviehub, "serve", "--port", str(port), "--workers", str(options.workers)]
        with process(command, environment, port, "/api/movies/popular/") as (server, started):
            tokens = [signed_up(port, f"bench{number}", movies) for number in range(PEOPLE)]
            body = urllib.request.urlopen(f"http://127.0.0.1:{port}/api/movies/popular/", timeout=5).read()
            dice = random.Random(2)
            hot = movies[0].id
            sign_in = post("/api/auth/token/", {"username": "bench0", "password": PASSWORD})
            films = [dice.choice(movies).id for _ in range(PREPARED)]
            loads = {
                "popular, hot": [get("/api/movies/popular/")],
                "popular, signed in": [get("/api/movies/popular/", token) for token in tokens],
                "detail, hot": [get(f"/api/movies/{hot}/")],
                "detail, any of 10,000": [get(f"/api/movies/{film}/") for film in films],
                "list, page 1": [get("/api/movies/")],
                "list, any of 100 pages": [get(f"/api/movies/?page={film % 100 + 1}") for film in films],
                "list, not kept": [
                    get(f"/api/movies/?page={film % 100 + 1}&unique={place}") for place, film in enumerate(films)
                ],
                "my_favorites of 50": [get("/api/movies/favorites/my_favorites/", token) for token in tokens],
                "rate": [
                    post(f"/api/movies/{film}/rate/", {"rating": dice.randrange(1, 11)}, dice.choice(tokens))
                    for film in films
                ],
                "token": [sign_in],
            }
            source = Path(folder) / "floor.py"
            (Path(folder) / "body").write_bytes(body)
            source.write_text(FLOOR.format(path=str(Path(folder) / "body")))
            bare_port = free_port()
            bare = [str(Path(sys.executable).with_name("granian")), "--interface", "asgi", "--loop", "uvloop"]
            bare += ["--workers", str(options.workers), "--port", str(bare_port), "--no-ws", "floor:app"]
            with process(bare, {**os.environ, "PYTHONPATH": folder}, bare_port, "/") as (floor_server, _):
                head = ("what", "req/s", "p50 ms", "p99 ms", "CPU µs", "store µs", "of floor", "by CPU")
                print("{:24} {:>9} {:>8} {:>8} {:>8} {:>8} {:>10} {:>10}".format(*head))
                load = (options.seconds, options.connections)

                def floor() -> Result:
                    return measure(bare_port, [get("/")], floor_server, [], *load)

                before = floor()
                report("floor: bare ASGI", before, before, before)
                for name, requests in loads.items():
                    # A log-in takes a fifth of a second of CPU: four at once are all that two cores can use.
                    connections = 4 if name == "token" else options.connections
                    result = measure(port, requests, server, stores, options.seconds, connections)
                    after = floor()  # a machine that others use too is not as fast at one moment as at the next
                    report(name, result, before, after)
                    before = after
                report("floor, at the end", before, before, before)
                print(f"bcrypt alone, at the same cost on all cores: {hashes(options.seconds):.1f} a second")
            workers = sorted((memory(pid) for pid in children(server) if pid != server), reverse=True)
            print(f"start to first answer {started:.2f} s; memory of the workers, MB:", end=" ")
            print(", ".join(f"{size:.0f}" for size in workers[: options.workers]))


if __name__ == "__main__":
    main()
