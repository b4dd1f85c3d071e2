"""A worker that is asked four times what it can do: it goes on doing that, and tells the rest so at once."""

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvloop

from tests import promises
from tests.load import Outcome, Request, connected, offered, quantile, taken
from tests.reliability import Measured
from tests.servers import serving

SECONDS = 2.0
TIMES = 4
CONNECTIONS = 1_200


@contextmanager
def on_one_cpu(which: Callable[[set[int]], int] = min) -> Iterator[None]:
    """What begins here stays on one CPU."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {which(every)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def visitors(token: str, movies: list[int]) -> Request:
    """What people ask, half of them signed in: mostly films and lists, some searches, and a few ratings."""
    dice = random.Random(1)

    def ask() -> tuple[str, bytes]:
        signed = f"Authorization: Bearer {token}\r\n"
        who = signed if dice.random() < 0.5 else ""
        match dice.choices(("film", "list", "search", "rate"), (45, 40, 10, 5))[0]:
            case "film":
                kind, target = "read", f"/api/movies/{dice.choice(movies)}/?{dice.random()}"
            case "list":
                kind, target = "read", f"/api/movies/?min_rating={dice.randrange(50) / 10}&{dice.random()}"
            case "search":
                kind, target = "search", f"/api/movies/search/?q={dice.choice('aeiou')}&{dice.random()}"
            case _:
                body = f'{{"rating": {dice.randrange(1, 11)}}}'
                head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{signed}\r\n"
                return (
                    "write",
                    f"POST /api/movies/{dice.choice(movies)}/rate/ HTTP/1.1\r\nHost: hub\r\n{head}{body}".encode(),
                )
        return kind, f"GET {target} HTTP/1.1\r\nHost: hub\r\n{who}\r\n".encode()

    return ask


async def watched(port: int, ask: Request, rate: float) -> tuple[list[Outcome], int, list[Outcome]]:
    """What comes of a load, and of questions after the health meanwhile."""
    found: list[Outcome] = []
    free: asyncio.Queue[object] = asyncio.Queue()
    (client,) = await connected(port, 1, found, free.put_nowait)
    load = asyncio.create_task(offered(port, ask, rate=rate, seconds=SECONDS, connections=CONNECTIONS))
    while not load.done():
        for path in ("live", "ready"):
            client.ask(path, f"GET /health/{path} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
            await free.get()
        await asyncio.sleep(0.02)
    client.transport.close()
    return *await load, found


class Round:
    """The best pace of a server, and what comes of several times as much right after."""

    def __init__(self, port: int, ask: Request) -> None:
        answers = uvloop.run(taken(port, ask, seconds=SECONDS, connections=16))
        assert {answer.status for answer in answers} <= {200, 201}
        self.pace = len(answers) / SECONDS
        self.outcomes, self.unanswered, self.health = uvloop.run(watched(port, ask, TIMES * self.pace))
        self.kept = sum(outcome.good for outcome in self.outcomes) / SECONDS / self.pace
        self.refused = [outcome for outcome in self.outcomes if not outcome.good]


@pytest.mark.slow
@promises.overload
@promises.crowd_order
def test_a_worker_goes_on_at_its_pace_when_four_times_as_much_is_asked(
    migrated_url: str, valkey_url: str, measured: Measured
) -> None:
    limits = {f"RATE_LIMIT_{name}": "900000000/minute" for name in ("ANONYMOUS", "USER")}
    settings = {"DATABASE_URL": migrated_url, "REDIS_URL": valkey_url, "SECRET_KEY": "k" * 32, **limits}
    with ExitStack() as stack:
        with on_one_cpu():
            server = stack.enter_context(serving(**settings))
        movies = [movie["id"] for movie in server.http.get("/api/movies/popular/?page_size=50").json()["results"]]
        token = server.joined("alice")["Authorization"].removeprefix("Bearer ")
        ask = visitors(token, movies)
        uvloop.run(taken(server.port, ask, seconds=1, connections=16))
        rounds = [Round(server.port, ask) for _ in range(3)]
        assert server.http.get("/api/movies/popular/").status_code == 200
        assert "Traceback" not in server.output

    for each in rounds:
        assert {outcome.status for outcome in each.refused} == {503}
        assert all(b"retry-after: " in outcome.head for outcome in each.refused)
        assert {outcome.status for outcome in each.health} == {200}
        assert each.unanswered == 0
    *_, middle, best = sorted(rounds, key=lambda each: each.kept)
    refused, health = middle.refused, middle.health
    measured("of its best pace", f"{middle.kept:.0%}", promises.overload)
    measured(
        "503 within",
        f"{quantile(refused, 0.5):.3f} s, 99 of 100 within {quantile(refused, 0.99):.3f} s",
        promises.overload,
    )
    measured(
        "health within",
        f"{quantile(health, 0.5):.3f} s, 99 of 100 within {quantile(health, 0.99):.3f} s",
        promises.overload,
    )
    # Bounds that hold while others use the machine too, who take more from one round than from another.
    assert best.kept > 0.5
    assert quantile(refused, 0.5) < 0.05
    assert quantile(health, 0.5) < 0.1

    def share(kind: str) -> float:
        asked = [outcome for each in rounds for outcome in each.outcomes if outcome.kind == kind]
        return sum(outcome.good for outcome in asked) / len(asked)

    assert share("search") < share("read") < share("write")


async def test_a_burst_on_a_server_with_few_places_is_answered_or_turned_away_at_once(migrated_url: str) -> None:
    with serving(DATABASE_URL=migrated_url, CONCURRENCY="8", SECRET_KEY="k" * 32) as server:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=server.url, timeout=10, limits=limits) as client:
            targets = [f"/api/movies/?min_rating={number / 100}" for number in range(100)]
            [worker] = server.workers()
            os.kill(worker, signal.SIGSTOP)  # or it would be done with the first before the last is sent
            asking = asyncio.gather(*(client.get(target) for target in targets))
            await asyncio.sleep(0.5)
            os.kill(worker, signal.SIGCONT)
            answers = await asyncio.wait_for(asking, 10)
            assert {answer.status_code for answer in answers} == {200, 503}
            for answer in answers:
                if answer.status_code == 503:
                    assert answer.json()["type"] == "/problems/overloaded"
                    assert 1 <= int(answer.headers["retry-after"]) <= 3
            assert [(await client.get(target)).status_code for target in targets[:5]] == [200] * 5
