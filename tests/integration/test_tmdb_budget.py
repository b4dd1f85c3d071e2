"""Two servers that share what TMDb may be asked: together they keep to it, and to a pause that one was told of."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
import redis

from tests import promises
from tests.contracts.budget import most_in_a_second
from tests.integration.test_tmdb_end_to_end import Tmdb, stand_in, tmdb
from tests.reliability import Measured
from tests.servers import Server, eventually, serving
from tests.tmdb_answers import FIRST_ID, title
from tests.tmdb_stand_in import TOKEN, Fault

__all__ = ["stand_in", "tmdb"]

RATE = 5


@pytest.fixture(scope="module")
def hubs(stand_in: Tmdb, database: str, _valkey: str) -> Iterator[list[Server]]:
    with redis.Redis.from_url(_valkey, socket_timeout=5) as link:
        link.flushdb()
    settings = {"DATABASE_URL": database, "REDIS_URL": _valkey, "SECRET_KEY": "k" * 32, "TMDB_RATE": str(RATE)}
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(TMDB_URL=stand_in.url, TMDB_TOKEN=TOKEN, **settings)) for _ in range(2)]
        yield servers
        assert not any("Traceback" in server.output for server in servers)


@promises.fleet_rate
def test_many_cold_searches_at_two_servers_are_no_more_calls_a_second_than_may_be(
    hubs: list[Server], tmdb: Tmdb, measured: Measured
) -> None:
    def search(number: int) -> httpx.Response:
        return hubs[number % 2].http.get("/api/movies/search/", params={"q": title(number)})

    answers = [search(0), search(1)]  # at each the first, which takes longer on its way and so is left out
    first_calls = len(tmdb.times())
    with ThreadPoolExecutor(12) as threads:
        while len(tmdb.times()) < 3 * RATE:
            first = len(answers)
            answers += threads.map(search, range(first, first + 12))
    most = most_in_a_second(tmdb.times()[first_calls:])
    assert most <= RATE
    measured("two servers, in any second", f"{most} of {RATE}")
    told = [answer.json()["source"] if answer.status_code == 200 else answer.status_code for answer in answers]
    assert set(told) <= {"tmdb", "local", 503}
    assert told.count("tmdb") >= 2 * RATE
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused
    assert {answer.headers["retry-after"] for answer in refused} <= {"1", "2", "3"}
    for hub in hubs:
        assert hub.http.get("/health/ready").json()["status"] == "ok", "to have no place is no outage of TMDb's"


@promises.fleet_pause
def test_what_tmdb_tells_one_server_to_wait_the_other_waits_too(hubs: list[Server], tmdb: Tmdb) -> None:
    refusals: list[httpx.Response] = []

    def met(hub: Server, number: int) -> bool:
        """Whether a film that nobody has asked for yet is told; else whoever asks is told when to come again."""
        answer = hub.http.get(f"/api/movies/tmdb/{FIRST_ID + number}/")
        if answer.status_code != 200:
            assert answer.status_code == 503
            assert 1 <= int(answer.headers["retry-after"]) <= 2
            refusals.append(answer)
        return answer.status_code == 200

    ours, theirs = hubs
    eventually(lambda: met(ours, 5_001))  # when the calls before are a second old
    eventually(lambda: met(theirs, 5_002))
    tmdb.fail(Fault.LIMIT, times=1)
    asked = len(tmdb.times())
    eventually(lambda: not met(ours, 5_003) and len(tmdb.times()) > asked)
    refusals.clear()
    eventually(lambda: met(theirs, 5_004))
    told, after = tmdb.times()[asked:]
    assert 1.9 < after - told < 4
    assert len(refusals) > 5, "it did not ask, and nobody waited"
