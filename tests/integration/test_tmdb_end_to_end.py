"""Films from TMDb's stand-in through the whole server, in good times and over everything that can go wrong."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import promises
from tests.servers import ROOT, Server, environment, eventually, serving
from tests.tmdb_answers import FIRST_ID, title
from tests.tmdb_stand_in import KEY, TOKEN, Fault

WAITS = [Fault.HANG, Fault.DRIP, Fault.LIMIT, Fault.LIMIT_TOLD]
"""Last the one whose wait is long, for nobody is there to wait for its end."""
HUB = {"DATABASE_URL": "memory://", "SECRET_KEY": "k" * 32}


class Tmdb:
    """The stand-in in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._control = httpx.Client(base_url=f"{url.removesuffix('/3')}/_control/", verify=False, trust_env=False)

    def fail(self, fault: Fault | None, times: int = 0) -> None:
        """Spoil so many answers in this way from now on, or every one, or none."""
        self._control.get("fail", params={"fault": fault.value if fault else "", "times": times})

    def requests(self) -> list[str]:
        """What it was asked, from the start."""
        asked: list[str] = self._control.get("requests").json()["requests"]
        return asked

    def times(self) -> list[float]:
        """When it was asked each of these, by its own clock."""
        times: list[float] = self._control.get("requests").json()["times"]
        return times

    def close(self) -> None:
        self._control.close()


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Tmdb]:
    command = [sys.executable, "-m", "tests.tmdb_stand_in"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as process:
        assert process.stdout
        tmdb = Tmdb(process.stdout.readline().strip())
        yield tmdb
        tmdb.close()
        process.kill()


@pytest.fixture
def tmdb(stand_in: Tmdb) -> Iterator[Tmdb]:
    """The stand-in without faults."""
    yield stand_in
    stand_in.fail(None)


@pytest.fixture(scope="module")
def hub(stand_in: Tmdb) -> Iterator[Server]:
    """A server with a v4 token."""
    with serving(TMDB_URL=stand_in.url, TMDB_TOKEN=TOKEN, **HUB) as server:
        yield server
        assert server.end() == 0
        assert TOKEN not in server.output
        assert "Traceback" not in server.output


@pytest.fixture(scope="module")
def empty_hub(stand_in: Tmdb) -> Iterator[Server]:
    """A server with a v3 key, to be asked while TMDb is out alone, so that it knows no film."""
    with serving(TMDB_URL=stand_in.url, TMDB_TOKEN=KEY, **HUB) as server:
        yield server
        assert server.end() == 0
        assert KEY not in server.output
        assert "Traceback" not in server.output


def test_films_come_from_tmdb(hub: Server, tmdb: Tmdb) -> None:
    popular = hub.http.get("/api/movies/popular/", params={"page_size": 3}).json()
    assert popular["source"] == "tmdb"
    assert [film["title"] for film in popular["results"]] == [title(0), title(1), title(2)]
    assert popular["count"] == 10_000

    found = hub.http.get("/api/movies/search/", params={"q": title(77)}).json()
    assert [film["tmdb_id"] for film in found["results"]][:1] == [FIRST_ID + 77]
    assert found["results"][0]["title"] == title(77)

    film = popular["results"][0]
    detail = hub.http.get(f"/api/movies/{film['id']}/").json()
    assert (detail["title"], detail["ratings_count"]) == (title(0), 0)
    assert {genre["name"] for genre in detail["genres"]} == {"Action", "Drama"}
    by_tmdb_id = hub.http.get(f"/api/movies/tmdb/{FIRST_ID + 5_000}/").json()
    assert by_tmdb_id["title"] == title(5_000)
    assert hub.http.get("/api/movies/tmdb/1/").status_code == 404

    others = hub.http.get(f"/api/movies/{film['id']}/recommendations/").json()
    assert others["source"] == "tmdb"
    assert [one["tmdb_id"] for one in others["results"]][:3] == [FIRST_ID + 1, FIRST_ID + 2, FIRST_ID + 3]
    assert [genre["name"] for genre in hub.http.get("/api/movies/genres/").json()][:1] == ["Action"]


def test_what_was_asked_once_is_not_asked_again(hub: Server, tmdb: Tmdb) -> None:
    first = hub.http.get("/api/movies/trending/", params={"page_size": 5})
    asked = len(tmdb.requests())
    again = hub.http.get("/api/movies/trending/", params={"page_size": 5, "page": 2})
    assert (first.status_code, again.status_code) == (200, 200)
    assert len(tmdb.requests()) == asked


@promises.tmdb_local
def test_when_tmdb_is_out_the_hub_answers_from_the_films_it_has_met(hub: Server, tmdb: Tmdb) -> None:
    met = hub.http.get("/api/movies/popular/").json()["results"][0]
    tmdb.fail(Fault.BROKEN)
    found = hub.http.get("/api/movies/search/", params={"q": met["title"].lower()})
    assert (found.status_code, found.json()["source"]) == (200, "local")
    assert met["id"] in [film["id"] for film in found.json()["results"]]
    assert "detail=local" in found.headers["cache-status"]
    top = hub.http.get("/api/movies/top_rated/").json()
    assert (top["source"], top["count"] > 0) == ("local", True)
    assert hub.http.get(f"/api/movies/{met['id']}/").status_code == 200
    tmdb.fail(None)
    assert hub.http.get("/api/movies/top_rated/").json()["source"] == "tmdb", "what was local is not kept"


@promises.tmdb_nothing
def test_when_tmdb_is_out_and_the_hub_knows_nothing_it_says_so(empty_hub: Server, tmdb: Tmdb) -> None:
    tmdb.fail(Fault.BAD_KEY)
    for path in ("popular/", "search/?q=amber", "trending/", f"tmdb/{FIRST_ID}/"):
        answer = empty_hub.http.get(f"/api/movies/{path}")
        assert answer.status_code == 503
        assert answer.json()["type"] == "/problems/unavailable"
        assert int(answer.headers["retry-after"]) > 0
    assert "tmdb_refuses_the_key" in empty_hub.output


@promises.tmdb_nonsense
@promises.tmdb_nothing
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([fault for fault in Fault if fault not in WAITS], id="at once"),
        pytest.param(WAITS, id="after a wait", marks=pytest.mark.slow),
    ],
)
def test_no_fault_of_tmdb_is_more_than_a_503_and_none_shows_the_key(
    hub: Server, empty_hub: Server, tmdb: Tmdb, faults: list[Fault]
) -> None:
    """A good answer between any two faults keeps the circuit closed; after a 429 that comes when the wait is over."""

    def well(server: Server, number: int) -> bool:
        return server.http.get(f"/api/movies/tmdb/{FIRST_ID + 7_000 + number}/").status_code == 200

    with ThreadPoolExecutor() as threads:
        for fault in faults:
            number = [*Fault].index(fault) + 2
            tmdb.fail(None)
            for server in (hub, empty_hub):
                eventually(lambda server=server, number=number: well(server, number))  # type: ignore[misc]
            asked = len(tmdb.requests())
            tmdb.fail(fault)
            # Pages and words that were not asked for before, or the cache would answer.
            servers = (hub, hub, hub, empty_hub, empty_hub)
            paths = [
                f"/api/movies/popular/?page_size=20&page={number}",
                f"/api/movies/search/?q=a&release_year={1930 + number}",
                f"/api/movies/tmdb/{FIRST_ID + 6_000 + number}/",
                f"/api/movies/popular/?page_size=20&page={number}",
                f"/api/movies/tmdb/{FIRST_ID + 6_000 + number}/",
            ]
            for answer in threads.map(lambda server, path: server.http.get(path), servers, paths):
                assert answer.status_code in (200, 404, 503), f"{fault}: {answer.url} {answer.text}"
                if answer.status_code == 503:
                    assert int(answer.headers["retry-after"]) > 0
                    assert answer.headers["content-type"] == "application/problem+json"
            assert len(tmdb.requests()) > asked, fault
    for server, secret in ((hub, TOKEN), (empty_hub, KEY)):
        assert "tmdb_failed" in server.output
        assert secret not in server.output
