"""A flood of log-ins: the surplus is refused at once, and everybody else is served as before."""

import asyncio
import statistics
import time

import httpx

from tests import promises
from tests.reliability import Measured
from tests.servers import PASSWORD, PATIENCE, serving

GUESTS = 40
ENOUGH = 60
"""Looks at the popular page while the flood lasts, at least."""


@promises.log_in_flood
async def test_a_flood_of_log_ins_leaves_the_popular_page_alone(migrated_url: str, measured: Measured) -> None:
    settings = {"BCRYPT_COST": "12", "PASSWORD_QUEUE": "4", "SECRET_KEY": "k" * 32}
    with serving(DATABASE_URL=migrated_url, **settings) as server:
        limits = httpx.Limits(max_connections=GUESTS + 1)
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, limits=limits) as client:
            looks: list[float] = []
            attempts: list[tuple[int, float, str]] = []
            over = asyncio.Event()

            async def guess(number: int) -> None:
                while not over.is_set():
                    started = time.perf_counter()
                    answer = await client.post(
                        "/api/auth/token/", json={"username": f"n{number}", "password": PASSWORD}
                    )
                    attempts.append(
                        (answer.status_code, time.perf_counter() - started, answer.headers.get("retry-after", ""))
                    )
                    await asyncio.sleep(0.5)

            async def look() -> None:
                while len(looks) < ENOUGH or len(attempts) < 4 * GUESTS:
                    started = time.perf_counter()
                    answer = await client.get("/api/movies/popular/")
                    looks.append(time.perf_counter() - started)
                    assert answer.status_code == 200
                    await asyncio.sleep(0.01)
                over.set()

            await client.get("/api/movies/popular/")
            await asyncio.gather(look(), *map(guess, range(GUESTS)))

    refused = [(seconds, retry_after) for status, seconds, retry_after in attempts if status == 503]
    assert {status for status, _, _ in attempts} == {401, 503}
    assert len(refused) > 2 * GUESTS
    assert all(retry_after.isdigit() for _, retry_after in refused)
    # Measured against those who were let wait for their turn, which grows with whatever else the machine does.
    let_wait = statistics.median(seconds for status, seconds, _ in attempts if status == 401)
    assert statistics.median(seconds for seconds, _ in refused) < let_wait / 4
    assert sorted(looks)[int(0.95 * len(looks))] < let_wait / 2
    measured("p99 of popular", sorted(looks)[int(0.99 * len(looks))])
    measured("median of refusals", statistics.median(seconds for seconds, _ in refused))
