"""A hub of two workers while TMDb is in trouble, many want the same page, and some of them go away."""

import asyncio
import itertools
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests import promises
from tests.crowd import at_once, statuses
from tests.integration.test_tmdb_end_to_end import Tmdb, stand_in, tmdb
from tests.proxy import Proxy
from tests.reliability import Measured
from tests.servers import Server, eventually, serving, two_workers
from tests.tmdb_answers import FIRST_ID
from tests.tmdb_stand_in import TOKEN, Fault

__all__ = ["stand_in", "tmdb"]

MANY = 200
REFUSED = None
"""The fault of a closed door, which is none of an answer."""
QUICK = [Fault.RESET, Fault.HANG, Fault.CUT_GZIP, Fault.HTML, Fault.WRONG_TYPES, Fault.BROKEN]
POPULAR = "/api/movies/popular/?page_size=20&page="
FILM = "/api/movies/tmdb/"
numbers = itertools.count(FIRST_ID + 1_000)
"""Of films that nobody has asked for."""
Call = Callable[[], Any]


@pytest.fixture(scope="module")
def door(stand_in: Tmdb) -> Iterator[Proxy]:
    """The way to TMDb."""
    with Proxy(stand_in.url) as door:
        yield door


@pytest.fixture(scope="module")
def shelves(_valkey: str) -> Iterator[Proxy]:
    """The way to Valkey."""
    with redis.Redis.from_url(_valkey, socket_timeout=5) as link:
        link.flushdb()
    with Proxy(_valkey) as door:
        yield door


@pytest.fixture(scope="module")
def settings(door: Proxy, database: str, shelves: Proxy) -> dict[str, str]:
    hub = {"DATABASE_URL": database, "REDIS_URL": shelves.url, "SECRET_KEY": "k" * 32}
    return {**hub, "TMDB_URL": door.url, "TMDB_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def hub(settings: dict[str, str]) -> Iterator[Server]:
    with two_workers(**settings) as server:
        yield server


@pytest.fixture(scope="module")
def hasty(settings: dict[str, str]) -> Iterator[Server]:
    """A hub of one worker beside it, on the same shelves, for which pages are old after a second."""
    with serving(**settings, CACHE_TTL="1") as server:
        yield server
        assert "Traceback" not in server.output


@pytest.fixture
def well(tmdb: Tmdb, door: Proxy, request: pytest.FixtureRequest) -> Iterator[None]:
    """TMDb answers before the test and after it, and every worker that the test uses knows."""
    door.well()
    for name, workers in (("hub", 2), ("hasty", 1)):
        if name in request.fixturenames:
            for client in request.getfixturevalue(name).clients_of_each_worker(workers).values():
                eventually(lambda client=client: client.get(f"{FILM}{next(numbers)}/").status_code == 200)  # type: ignore[misc]
                client.close()
    yield
    door.well()
    tmdb.fail(None)


def timed(call: Call) -> tuple[float, Any]:
    """How long an answer took, and the answer."""
    started = time.perf_counter()
    answer = call()
    return time.perf_counter() - started, answer


def times_asked(tmdb: Tmdb, page: int) -> int:
    """How often TMDb was asked for a page of what is popular."""
    return sum(bool(re.search(rf"movie/popular\?.*\bpage={page}\b", asked)) for asked in tmdb.requests())


def is_old(answer: httpx.Response) -> bool:
    return re.fullmatch(r"moviehub; hit; ttl=-\d+", answer.headers["cache-status"]) is not None


@promises.tmdb_stale
@promises.tmdb_nonsense
@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param([REFUSED, *QUICK], id="some"),
        pytest.param([fault for fault in Fault if fault not in QUICK], id="others", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("well")
def test_whatever_is_wrong_with_tmdb_old_pages_are_shown_at_once_and_stay_as_they_are(
    tmdb: Tmdb, hasty: Server, door: Proxy, measured: Measured, kinds: list[Fault | None]
) -> None:
    # Last the one whose wait is the longest, if it is among them; each has a page of its own.
    kinds.sort(key=lambda fault: fault is Fault.LIMIT_TOLD)
    faults = dict(enumerate(kinds, 1 if REFUSED in kinds else 20))
    times: list[float] = []
    fresh = {page: hasty.http.get(f"{POPULAR}{page}").json()["results"] for page in faults}

    def shown_old(page: int) -> bool:
        took, answer = timed(lambda: hasty.http.get(f"{POPULAR}{page}"))
        assert answer.status_code == 200, f"{faults[page]}: {answer.text}"
        assert (answer.json()["source"], answer.json()["results"]) == ("tmdb", fresh[page])
        times.append(took)
        return is_old(answer)

    def asked_meanwhile(page: int) -> bool:
        """Perhaps not by the first look, since what runs behind answers waits while much is asked."""
        return shown_old(page) and (len(tmdb.requests()) > asked or faults[page] is REFUSED)

    def well_again() -> bool:
        """An answer between any two faults keeps the circuit closed; after a 429 it comes when the wait is over."""
        return hasty.http.get(f"{FILM}{next(numbers)}/").status_code == 200

    for page, fault in faults.items():
        asked = len(tmdb.requests())
        tmdb.fail(fault)
        if fault is REFUSED:
            door.refuse()
        eventually(partial(asked_meanwhile, page))
        tmdb.fail(None)
        door.well()
        eventually(well_again)
    # Nearly all of them: this machine works for others, too.
    assert sorted(times)[int(0.95 * len(times))] < 0.3
    measured("longest answer", max(times), promises.tmdb_stale)


@promises.redis_hangs
@pytest.mark.parametrize("delay", [0.08, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.05, 0.12, 0.16))])
@pytest.mark.usefixtures("well")
def test_a_redis_that_is_only_just_in_time_costs_what_is_on_no_shelf_half_a_second_too(
    tmdb: Tmdb, hub: Server, shelves: Proxy, measured: Measured, delay: float
) -> None:
    one, other = hub.clients_of_each_worker(2).values()
    pages = itertools.count(200 + int(delay * 1_000))

    def longest() -> float:
        """The longest of two answers that need TMDb."""
        asked = (timed(partial(one.get, path)) for path in (f"{POPULAR}{next(pages)}", f"{FILM}{next(numbers)}/"))
        took, answers = zip(*asked, strict=True)
        assert [answer.status_code for answer in answers] == [200, 200]
        return max(map(float, took))

    usual = longest()
    shelves.delay(delay)
    took = longest()
    shelves.well()
    assert took < 0.5 + usual
    measured("longest answer", took)
    if delay < 0.1:  # else a new connection takes longer than an answer may
        page = next(pages) - 1
        with redis.Redis.from_url(shelves.url, socket_timeout=5) as link:
            assert eventually(lambda: link.keys(f"*popular*{page}*")), "it is kept, behind the answer"
        assert other.get(f"{POPULAR}{page}").status_code == 200
        assert times_asked(tmdb, page) == 1
    for client in (one, other):
        eventually(lambda client=client: client.get("/health/ready").json()["status"] == "ok")  # type: ignore[misc]
        client.close()


@promises.tmdb_deadline
@pytest.mark.slow
@pytest.mark.usefixtures("well")
def test_six_pages_of_tmdb_are_fetched_side_by_side(tmdb: Tmdb, hub: Server, door: Proxy, measured: Measured) -> None:
    before = len(tmdb.requests())
    delay = 0.3
    door.delay(delay)
    took, answer = timed(lambda: hub.http.get("/api/movies/trending/?page_size=100&page=3"))
    assert (answer.status_code, len(answer.json()["results"]) > 90) == (200, True)
    assert len(tmdb.requests()) - before == 6
    assert took < 5 * delay
    measured(f"six pages of {delay * 1000:g} ms each", took)


@promises.tmdb_deadline
@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP, Fault.GATEWAY], ids=lambda fault: fault.value)
@pytest.mark.usefixtures("well")
def test_no_request_waits_longer_for_tmdb_than_the_deadline(
    tmdb: Tmdb, hub: Server, fault: Fault, measured: Measured
) -> None:
    number = [*Fault].index(fault)
    film = f"{FILM}{next(numbers)}/"
    paths = [
        "/api/movies/top_rated/?page_size=100",
        f"/api/movies/search/?q={('amber', 'blue', 'crimson')[number % 3]}",
        film,
    ]
    assert hub.http.get("/api/movies/popular/?page_size=100").status_code == 200  # films that the hub has met
    before = len(tmdb.requests())
    tmdb.fail(fault)

    def ask(path: str) -> tuple[float, httpx.Response]:
        with hub.client() as client:
            return timed(lambda: client.get(path))

    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(ask, paths))
    assert [answer.status_code for _, answer in answers] == [200, 200, 503]
    assert [answer.json()["source"] for _, answer in answers[:2]] == ["local", "local"]
    longest = max(took for took, _ in answers)
    assert longest < 3.5  # the deadline, and the hub's own work on whatever machine this is
    asked = tmdb.requests()[before:]
    assert max(asked.count(each) for each in asked) <= 2
    measured("longest answer", longest)


@promises.tmdb_deadline
@pytest.mark.slow
@pytest.mark.usefixtures("well")
def test_pages_that_each_come_just_in_time_are_waited_for_no_longer_than_one_and_are_there_the_next_time(
    tmdb: Tmdb, hub: Server, door: Proxy, measured: Measured
) -> None:
    path = "/api/movies/trending/?time_window=day&page_size=100"
    assert hub.http.get("/api/movies/popular/?page_size=100").status_code == 200  # films that the hub has met
    door.delay(2.0)
    took, answer = timed(lambda: hub.http.get(path))
    assert (answer.status_code, answer.json()["source"]) == (200, "local")
    assert took < 3.5  # the first page, and then the others, would take four seconds
    measured("longest answer", took)
    eventually(lambda: hub.http.get(path).json()["source"] == "tmdb")
    assert sum("trending/movie/day" in asked for asked in tmdb.requests()) == 5


@promises.tmdb_circuit
@pytest.mark.slow
@pytest.mark.usefixtures("well")
def test_while_tmdb_is_out_answers_come_at_once_and_one_probe_every_five_seconds(
    tmdb: Tmdb, hub: Server, measured: Measured
) -> None:
    tmdb.fail(Fault.BROKEN)
    for _ in range(5):
        assert hub.http.get(f"{FILM}{next(numbers)}/").status_code == 503
    before, times, probed = len(tmdb.requests()), [], []
    for probe in (1, 2):
        while len(tmdb.requests()) - before < probe:
            took, answer = timed(lambda: hub.http.get(f"{FILM}{next(numbers)}/"))
            assert answer.status_code == 503
            assert 1 <= int(answer.headers["retry-after"]) <= 5
            times.append(took)
            time.sleep(0.02)  # so that films are left until the probe
        probed.append(time.perf_counter())
    assert sorted(times)[int(0.95 * len(times))] < 0.05
    assert 4.5 < probed[1] - probed[0] < 6
    tmdb.fail(None)
    took, _ = timed(lambda: eventually(lambda: hub.http.get(f"{FILM}{next(numbers)}/").status_code == 200))
    assert took < 6
    times.sort()
    measured("p95 of refusals", times[int(0.95 * len(times))])
    measured("between two probes", probed[1] - probed[0])
    measured("asked again after", took)


@promises.herd_expired
@pytest.mark.slow
@pytest.mark.usefixtures("well")
async def test_an_old_page_that_many_want_at_once_is_fetched_once(
    tmdb: Tmdb, hub: Server, hasty: Server, door: Proxy, measured: Measured
) -> None:
    assert hasty.http.get(f"{POPULAR}60").status_code == 200
    await asyncio.sleep(1)  # nothing tells that it is old but to ask for it
    before = times_asked(tmdb, 60)
    delay = 1.0
    door.delay(delay)
    started = time.perf_counter()
    answers = await at_once(hub, lambda client, _: client.get(f"{POPULAR}60"), MANY)
    took = time.perf_counter() - started
    assert statuses(answers) == {200: MANY}
    assert took > delay or all(is_old(answer) for answer in answers), "nobody waits for TMDb"
    eventually(lambda: not is_old(hub.http.get(f"{POPULAR}60")))
    assert times_asked(tmdb, 60) - before == 1
    measured(f"all {MANY} within", took)


@promises.redis_forgets_pages
@pytest.mark.slow
@pytest.mark.usefixtures("well")
async def test_when_redis_forgets_everything_a_page_is_fetched_once(
    tmdb: Tmdb, hub: Server, door: Proxy, settings: dict[str, str], measured: Measured
) -> None:
    assert hub.http.get(f"{POPULAR}70").status_code == 200
    with redis.Redis.from_url(settings["REDIS_URL"], socket_timeout=5) as link:
        link.flushall()
    await asyncio.sleep(1)  # until no process has it either
    before = times_asked(tmdb, 70)
    assert statuses(await at_once(hub, lambda client, _: client.get(f"{POPULAR}70"), 100)) == {200: 100}
    assert times_asked(tmdb, 70) - before == 1
    measured("100 at once:", "one call")


@promises.herd_holder
@pytest.mark.slow
@pytest.mark.parametrize("page", [80, 81], ids=["killed", "stopped for a while"])
@pytest.mark.usefixtures("well")
def test_when_who_fetches_a_page_is_killed_or_stands_still_the_next_takes_over(
    hub: Server, door: Proxy, settings: dict[str, str], measured: Measured, page: int
) -> None:
    with (
        serving(**settings) as holder,
        redis.Redis.from_url(settings["REDIS_URL"], socket_timeout=5) as link,
        ThreadPoolExecutor() as threads,
        holder.client() as first,
    ):
        door.hang()
        held = threads.submit(first.get, f"{POPULAR}{page}")
        eventually(lambda: [key for key in link.keys("*lease*") if b"popular" in key])
        waits = threads.submit(hub.http.get, f"{POPULAR}{page}")
        os.killpg(holder.process.pid, signal.SIGKILL if page == 80 else signal.SIGSTOP)
        door.well()
        took, answer = timed(waits.result)
        assert (answer.status_code, answer.json()["source"]) == (200, "tmdb")
        assert took < 3
        measured("after", took)
        if page == 80:
            assert isinstance(held.exception(), httpx.TransportError)
        else:
            os.killpg(holder.process.pid, signal.SIGCONT)
            assert held.result().status_code in (200, 503)  # by then its time is over
            again = hub.http.get(f"{POPULAR}{page}").json()
            assert (again["source"], again["results"]) == ("tmdb", answer.json()["results"])


def files(server: Server) -> list[int]:
    """How many files and connections each process of a server has open."""
    return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in server.workers()]


@promises.client_gone
@pytest.mark.slow
@pytest.mark.usefixtures("well")
def test_clients_who_go_away_harm_nobody_and_leave_nothing(tmdb: Tmdb, hub: Server, door: Proxy) -> None:
    for client in hub.clients_of_each_worker(2).values():
        client.close()
    assert hub.http.get(f"{POPULAR}89").status_code == 200
    before = files(hub)
    door.hang()
    target = f"GET {POPULAR}90 HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n".encode()
    links = [socket.create_connection(("127.0.0.1", hub.port), timeout=10.0) for _ in range(40)]
    for link in links:
        link.sendall(target)
    leaving, staying = links[:30], links[30:]
    eventually(lambda: sum(files(hub)) >= sum(before) + len(links))
    for link in leaving:
        link.close()
    door.well()
    answers = [link.makefile("rb").read() for link in staying]
    assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
    assert times_asked(tmdb, 90) == 1
    for link in staying:
        link.close()
    eventually(lambda: sum(files(hub)) <= sum(before) + 10)  # some to the servers behind it may be new
