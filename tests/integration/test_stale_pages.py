"""Pages of the catalogue over two workers: fetched once for all, and shown when they are old and TMDb is out."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.crowd import at_once, statuses
from tests.integration.test_tmdb_end_to_end import Tmdb, stand_in, tmdb
from tests.servers import Server, eventually, serving
from tests.tmdb_stand_in import TOKEN, Fault

__all__ = ["stand_in", "tmdb"]

POPULAR = "/api/movies/popular/"


@contextmanager
def two_workers(tmdb: Tmdb, database: str, valkey: str, **more: str) -> Iterator[Server]:
    settings = {"DATABASE_URL": database, "REDIS_URL": valkey, "SECRET_KEY": "k" * 32, **more}
    with serving("--workers", "2", TMDB_URL=tmdb.url, TMDB_TOKEN=TOKEN, **settings) as server:
        eventually(lambda: len(server.workers()) == 2)
        yield server
        assert "Traceback" not in server.output


@pytest.fixture
def hub(stand_in: Tmdb, migrated_url: str, valkey_url: str) -> Iterator[Server]:
    """Two workers on whose shelves a page is fresh for a second."""
    with two_workers(stand_in, migrated_url, valkey_url, CACHE_TTL="1") as server:
        yield server


def asked_for(tmdb: Tmdb, path: str) -> int:
    """How often TMDb was asked for the first page of this list."""
    return sum(path in request and "page=1" in request for request in tmdb.requests())


async def test_a_cold_page_that_a_hundred_want_at_once_is_fetched_once(
    tmdb: Tmdb, migrated_url: str, valkey_url: str
) -> None:
    before = asked_for(tmdb, "movie/top_rated")

    async def look(client: httpx.AsyncClient, _: int) -> httpx.Response:
        return await client.get("/api/movies/top_rated/")

    with two_workers(tmdb, migrated_url, valkey_url) as hub:
        assert statuses(await at_once(hub, look, 100)) == {200: 100}
    assert asked_for(tmdb, "movie/top_rated") - before == 1


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.BROKEN, Fault.RESET])
def test_an_old_page_is_shown_at_once_while_tmdb_is_out(hub: Server, tmdb: Tmdb, fault: Fault) -> None:
    fresh = hub.http.get(POPULAR)
    assert fresh.json()["source"] == "tmdb"
    tmdb.fail(fault)

    def shown_old() -> httpx.Response | None:
        started = time.perf_counter()
        answer = hub.http.get(POPULAR)
        assert time.perf_counter() - started < 0.3
        assert (answer.status_code, answer.json()["source"]) == (200, "tmdb")
        assert answer.json()["results"] == fresh.json()["results"]
        return answer if re.fullmatch(r"moviehub; hit; ttl=-\d+", answer.headers["cache-status"]) else None

    old = eventually(shown_old)
    assert old.headers["cache-control"] == "public, max-age=0"
    tmdb.fail(None)
    eventually(lambda: "ttl" not in hub.http.get(POPULAR).headers["cache-status"])
