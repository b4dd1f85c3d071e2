"""Where the CPU of a request goes (`make hotspots`): each endpoint in this very process, under cProfile, by part.

The application is asked by 16 callers at once as a server would ask it, on a private Postgres and Valkey with 10,000
films, so what the HTTP server and the kernel do for it is not in the figures. cProfile makes calls dearer than they
are: the shares tell more than the sums, which are measured without it.
"""

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from bench import FAVORITES, fill, passable

from moviehub.adapters.embedded import PrivatePostgres, PrivateValkey
from moviehub.adapters.postgres import migrations
from moviehub.domain.movies import Movie
from moviehub.entrypoints.bootstrap import running
from moviehub.entrypoints.http.app import create_app
from moviehub.entrypoints.settings import UNLIMITED, Settings

CALLERS = 16
ACCOUNT = {"username": "bench", "email": "bench@example.org", "password": "a long enough phrase"}
CREDENTIALS = {"username": "bench", "password": "a long enough phrase"}
PARTS = {
    "/moviehub/entrypoints/http/edge": "edge",
    "/moviehub/entrypoints/": "handlers",
    "/moviehub/application/": "use cases",
    "/moviehub/domain/": "use cases",
    "/moviehub/adapters/": "adapters",
    "/litestar/": "Litestar",
    "/asyncpg/": "asyncpg",
    "/redis/": "redis-py",
}
"""By a piece of a file's path; the first that fits counts, and what fits none is Python's own."""

Request = Callable[[], Awaitable[int]]


class Client:
    """Calls the application as Granian does."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.answer = b""

    async def __call__(self, method: str, path: str, token: str = "", body: Any = None, query: str = "") -> int:
        """The status; the body is in `answer`."""
        raw = b"" if body is None else json.dumps(body).encode()
        headers = [(b"host", b"127.0.0.1:8000"), (b"content-length", str(len(raw)).encode())]
        headers += [(b"content-type", b"application/json")] * (body is not None)
        headers += [(b"authorization", f"Bearer {token}".encode())] * bool(token)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
            "headers": headers,
            "extensions": {},
        }
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            self.answer = message.get("body", b"")

        await self.app(scope, receive, send)
        return status


def loads(call: Client, token: str, movies: list[Movie]) -> dict[str, Request]:
    """What is asked, by name."""
    dice = random.Random(2)

    def any_film() -> int:
        return dice.choice(movies).id

    mine, hot = "/api/movies/favorites/my_favorites/", movies[0].id
    return {
        "popular, hot": lambda: call("GET", "/api/movies/popular/"),
        "popular, signed in": lambda: call("GET", "/api/movies/popular/", token),
        "detail, hot": lambda: call("GET", f"/api/movies/{hot}/"),
        "detail, any of 10,000": lambda: call("GET", f"/api/movies/{any_film()}/"),
        "list, not kept": lambda: call("GET", "/api/movies/", query=f"page={dice.randrange(1, 101)}&_={dice.random()}"),
        "my_favorites of 50": lambda: call("GET", mine, token),
        "rate": lambda: call("POST", f"/api/movies/{any_film()}/rate/", token, {"rating": dice.randrange(1, 11)}),
    }


async def repeat(request: Request, times: int) -> None:
    """Ask so often, by 16 callers at once."""

    async def caller() -> None:
        for _ in range(times // CALLERS):
            status = await request()
            if status >= 300:
                raise SystemExit(f"answered with {status}")

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


def part_of(path: str) -> str:
    """Whose code a file is."""
    return next((part for piece, part in PARTS.items() if piece in path), "Python")


def by_part(profile: cProfile.Profile) -> dict[str, float]:
    """The share of each part. What is written in C counts for whoever called it."""
    spent: Counter[str] = Counter()
    for (path, _, _), (_, _, own, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if path == "~" and callers:
            for (caller, _, _), (_, _, within, _) in callers.items():
                spent[part_of(caller)] += within
        elif "hotspots.py" not in path:
            spent[part_of(path)] += own
    whole = sum(spent.values())
    return {part: seconds / whole for part, seconds in spent.items()}


async def main(database: str, redis: str, times: int) -> None:
    """Print the table."""
    films = await fill(database)
    names = ["edge", "handlers", "use cases", "adapters", "Litestar", "asyncpg", "redis-py", "Python"]
    print(f"{'what':24} {'CPU µs':>7} " + " ".join(f"{name:>9}" for name in names))
    environment = {
        "MOVIEHUB_DATABASE_URL": database,
        "MOVIEHUB_REDIS_URL": redis,
        "MOVIEHUB_TMDB_URL": "demo://",
        "MOVIEHUB_SECRET_KEY": "x" * 48,
        "MOVIEHUB_LOG_LEVEL": "error",
        **{f"MOVIEHUB_{name.upper()}": "900000000/minute" for name in UNLIMITED},
    }
    os.environ.update(environment)
    async with running(Settings.read()) as container:
        call = Client(create_app(container))
        await call("POST", "/api/auth/users/", body=ACCOUNT)
        await call("POST", "/api/auth/token/", body=CREDENTIALS)
        token = json.loads(call.answer)["access"]
        for movie in films[:FAVORITES]:
            await call("POST", f"/api/movies/{movie.id}/add_to_favorites/", token)
        gc.collect()
        gc.freeze()
        for name, request in loads(call, token, films).items():
            await repeat(request, times // 4)
            spent = []
            for _ in range(3):
                begun = time.process_time()
                await repeat(request, times)
                spent.append((time.process_time() - begun) / times * 1e6)
            profile = cProfile.Profile()
            profile.enable()
            await repeat(request, times)
            profile.disable()
            shares = by_part(profile)
            print(
                f"{name:24} {min(spent):7.0f} " + " ".join(f"{shares.get(part, 0):9.0%}" for part in names), flush=True
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4_000, help="of each kind")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        PrivatePostgres(passable(folder)) as database,
        PrivateValkey() as redis,
    ):
        migrations.upgrade(database)
        uvloop.run(main(database, redis, options.requests))
