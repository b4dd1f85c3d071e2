"""Pages of the catalogue over two workers: fetched once for all."""

import time

import httpx

from tests import promises
from tests.crowd import at_once, statuses
from tests.integration.test_tmdb_end_to_end import Tmdb, stand_in, tmdb
from tests.reliability import Measured
from tests.servers import eventually, serving
from tests.tmdb_stand_in import TOKEN

__all__ = ["stand_in", "tmdb"]


def asked_for(tmdb: Tmdb, path: str) -> int:
    """How often TMDb was asked for the first page of this list."""
    return sum(path in request and "page=1" in request for request in tmdb.requests())


@promises.herd_cold
async def test_a_cold_page_that_two_hundred_want_at_once_is_fetched_once(
    tmdb: Tmdb, migrated_url: str, valkey_url: str, measured: Measured
) -> None:
    before = asked_for(tmdb, "movie/top_rated")

    async def look(client: httpx.AsyncClient, _: int) -> httpx.Response:
        return await client.get("/api/movies/top_rated/")

    settings = {"DATABASE_URL": migrated_url, "REDIS_URL": valkey_url, "SECRET_KEY": "k" * 32}
    with serving("--workers", "2", TMDB_URL=tmdb.url, TMDB_TOKEN=TOKEN, **settings) as hub:
        eventually(lambda: len(hub.workers()) == 2)
        started = time.perf_counter()
        assert statuses(await at_once(hub, look, 200)) == {200: 200}
        measured("all 200 within", time.perf_counter() - started)
        assert "Traceback" not in hub.output
    assert asked_for(tmdb, "movie/top_rated") - before == 1
