"""What happens when more is asked of a worker than it can do: who is turned away, how, and what counts."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from dependency_injector import providers

from moviehub.adapters.memory.catalogue import MemoryCatalogue
from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.memory.news import MemoryNews
from moviehub.adapters.memory.storage import MemoryStorage
from moviehub.application.storage import UnitOfWork
from moviehub.domain.limits import Limit
from moviehub.domain.listings import CataloguePage, Listing
from moviehub.entrypoints.bootstrap import in_memory
from moviehub.entrypoints.http import problems
from moviehub.entrypoints.http.exchange import Exchange, Proxies
from moviehub.entrypoints.http.overload import LONGEST_BURST, Overload, Overloaded
from tests import promises
from tests.api import PASSWORD, api_over, film, memory_settings
from tests.tmdb_stand_in import Watch
from tests.wire import JSON, Answer, Wire, refused

PLACES = 16
ORIGIN = b"https://app.example.org"
LIST = b"/api/movies/"
POPULAR = b"/api/movies/popular/"
SEARCH = b"/api/movies/search/?q=film"
RATE = b"/api/movies/1/rate/"
RATING = b'{"rating": 7}'
SIGN_IN = b"/api/auth/token/"
SCOPE: Any = {"type": "http"}
CREDENTIALS = json.dumps({"username": "alice", "password": PASSWORD}).encode()


class Door:
    """Whoever comes while it is closed waits until it opens. `arrived` can be acquired once for each of them."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.arrived = asyncio.Semaphore(0)

    async def somebody(self) -> None:
        async with asyncio.timeout(10):
            await self.arrived.acquire()

    async def through(self) -> None:
        if not self.is_open.is_set():
            self.arrived.release()
            await self.is_open.wait()


class Storage(MemoryStorage):
    """A storage behind a door."""

    def __init__(self) -> None:
        super().__init__()
        self.door = Door()

    def reading(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        @asynccontextmanager
        async def read() -> AsyncIterator[UnitOfWork]:
            await self.door.through()
            async with super(Storage, self).reading(by) as uow:
                yield uow

        return read()


class NoNews(MemoryNews):
    """Nothing is heard, so nothing of the hub's own is kept: whoever asks for it comes to the door."""

    def are_heard(self) -> bool:
        return False


class Catalogue(MemoryCatalogue):
    """A catalogue behind a door."""

    def __init__(self) -> None:
        super().__init__()
        self.door = Door()

    async def page(self, listing: Listing) -> CataloguePage:
        await self.door.through()
        return await super().page(listing)


class Crowd:
    """A worker with sixteen places, and those who come to it. Its watch stands still."""

    def __init__(self, wire: Wire, storage: Storage, catalogue: Catalogue) -> None:
        self.wire, self.storage, self.catalogue = wire, storage, catalogue
        self.watch = Watch()
        self.wire.app.overload = Overload(PLACES, wire.api.container.flights(), self.watch)
        self.tasks: list[asyncio.Task[Answer]] = []

    async def __call__(self, count: int, method: str, target: bytes, *headers: Any, body: bytes = b"") -> None:
        """So many who come and wait in front of the storage."""
        self.storage.door.is_open.clear()
        for _ in range(count):
            self.tasks.append(asyncio.create_task(self.wire(method, target, *headers, body=body)))
            arrived = asyncio.create_task(self.storage.door.arrived.acquire())
            done, _ = await asyncio.wait((arrived, self.tasks[-1]), return_when=asyncio.FIRST_COMPLETED)
            assert arrived in done, self.tasks[-1].result()

    async def write(self, count: int) -> None:
        await self(count, "POST", RATE, JSON, self.wire.signed, body=RATING)

    async def leave(self) -> set[int]:
        """The statuses of all who have waited."""
        self.storage.door.is_open.set()
        answers = await asyncio.gather(*self.tasks)
        self.tasks.clear()
        return {answer.status for answer in answers}

    async def is_turned_away(self, method: str, target: bytes, *headers: Any, body: bytes = b"") -> bool:
        """Whether one more such request is refused at once; if not, it goes away again."""
        task = asyncio.create_task(self.wire(method, target, *headers, body=body))
        arrived = [asyncio.create_task(door.arrived.acquire()) for door in (self.storage.door, self.catalogue.door)]
        await asyncio.wait((*arrived, task), return_when=asyncio.FIRST_COMPLETED)
        for each in arrived:
            each.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            return False
        return task.result().status == 503


@asynccontextmanager
async def crowded(**chosen: Any) -> AsyncIterator[Crowd]:
    container = in_memory(memory_settings(cors_origins=(ORIGIN.decode(),), **chosen))
    storage, catalogue = Storage(), Catalogue()
    container.storage.override(providers.Object(storage))
    container.news.override(providers.Singleton(NoNews))
    container.catalogue.override(providers.Object(catalogue))
    async with api_over(container) as api:
        yield Crowd(await Wire.over(api), storage, catalogue)


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    async with crowded() as crowd:
        yield crowd


@promises.crowd_order
async def test_searches_are_turned_away_first_then_other_reads_and_what_people_write_last(crowd: Crowd) -> None:
    rating = (JSON, crowd.wire.signed)
    await crowd(PLACES // 2 - 1, "GET", LIST)
    crowd.catalogue.door.is_open.clear()
    assert not await crowd.is_turned_away("GET", SEARCH)
    await crowd(1, "GET", LIST)
    for target in (SEARCH, b"/api/v1/movies/search?q=film"):
        assert await crowd.is_turned_away("GET", target)
        assert await crowd.is_turned_away("HEAD", target, crowd.wire.signed)
    await crowd(PLACES // 4, "GET", LIST, crowd.wire.signed)
    for target in (LIST, b"/docs/", b"/no/such/path", b"/api/movies/favorites/my_favorites/"):
        assert await crowd.is_turned_away("GET", target, crowd.wire.signed)
    assert not await crowd.is_turned_away("POST", RATE, *rating, body=RATING)
    await crowd.write(PLACES // 4)
    assert await crowd.is_turned_away("POST", RATE, *rating, body=RATING)
    assert await crowd.leave() <= {200, 201}
    crowd.catalogue.door.is_open.set()
    assert (await crowd.wire("GET", SEARCH)).status == 200


async def test_of_a_crowd_that_stays_a_quarter_is_let_in(crowd: Crowd) -> None:
    await crowd(2, "GET", LIST)
    crowd.watch.time += LONGEST_BURST + 0.01
    assert await crowd.is_turned_away("GET", SEARCH)
    assert not await crowd.is_turned_away("GET", LIST)
    await crowd(1, "GET", LIST)
    assert await crowd.is_turned_away("GET", LIST)
    await crowd.write(1)
    assert await crowd.is_turned_away("POST", RATE, JSON, crowd.wire.signed, body=RATING)
    await crowd.leave()
    await crowd(PLACES // 2, "GET", LIST)  # a burst once more
    assert await crowd.leave() == {200}


@promises.crowd_order
@pytest.mark.parametrize("path", [b"/health/live", b"/health/ready", b"/health/ready/", b"/metrics"])
async def test_health_and_metrics_are_answered_in_the_greatest_crowd(crowd: Crowd, path: bytes) -> None:
    await crowd.write(PLACES)
    assert (await crowd.wire("GET", path)).status == 200


@promises.crowd_order
async def test_whoever_is_turned_away_gets_a_whole_answer(crowd: Crowd) -> None:
    usual = (await crowd.wire("GET", b"/no/such/path", (b"origin", ORIGIN))).headers
    await crowd.write(PLACES)
    waits = set()
    for _ in range(10):
        answer = await crowd.wire("GET", LIST, (b"x-request-id", b"mine"), (b"origin", ORIGIN), crowd.wire.signed)
        document = refused(answer, 503)
        assert document["type"] == "/problems/overloaded"
        assert (document["instance"], document["request_id"]) == ("/api/movies/", "mine")
        assert int(answer.headers[b"content-length"]) == len(answer.body)
        waits.add(int(answer.headers[b"retry-after"]))
        of_limits = {b"ratelimit", b"ratelimit-policy"}
        assert usual.keys() - of_limits <= answer.headers.keys() | {b"content-encoding"}
        assert answer.headers[b"access-control-allow-origin"] == ORIGIN
    assert waits == {1, 2, 3}
    bare = await crowd.wire("HEAD", LIST)
    assert (bare.status, bare.body) == (503, b"")
    assert (await crowd.wire("GET", b"/problems/overloaded")).status == 503
    await crowd.leave()
    assert (await crowd.wire("GET", b"/problems/overloaded")).status == 200


@pytest.mark.parametrize("path", ["/", "//a//b", '/"\\\x00\x7f\n', "/é\udcff\u2028", "/%22", "/" + "x" * 300])
def test_a_document_made_beforehand_is_the_same_as_any(path: str) -> None:
    settings = memory_settings()
    exchange = Exchange(
        scope=SCOPE,
        path=path,
        method="GET",
        request_id="A-b_c.9",
        host="hub.test",
        authorization=None,
        content_type="",
        proxies=Proxies(settings),
        settings=settings,
        clock=MemoryClock(),
    )
    fault = Overloaded("Too much.")
    assert problems.prebuilt(fault)(exchange) == problems.document(fault, exchange)[2]


async def test_no_limit_counts_who_is_turned_away_but_the_metrics_do() -> None:
    async with crowded(rate_limit_anonymous=Limit("anonymous", 1_000, 60)) as crowd:
        before = await crowd.wire("GET", LIST)
        await crowd.write(PLACES)
        answers = [await crowd.wire("GET", target) for target in (LIST, SEARCH, SEARCH)]
        assert {answer.status for answer in answers} == {503}
        assert not any(b"ratelimit" in answer.headers for answer in answers)
        numbers = (await crowd.wire("GET", b"/metrics")).body.decode()
        assert 'moviehub_turned_away_total{kind="read"} 1.0' in numbers
        assert 'moviehub_turned_away_total{kind="search"} 2.0' in numbers
        await crowd.leave()
        after = await crowd.wire("GET", LIST)
    left = [int(answer.headers[b"ratelimit"].split(b"r=")[1].split(b";")[0]) for answer in (before, after)]
    assert left[0] - left[1] == 1


async def test_a_page_that_is_kept_is_shown_in_the_greatest_crowd(crowd: Crowd) -> None:
    assert (await crowd.wire("GET", POPULAR)).status == 200
    await crowd.write(PLACES)
    answer = await crowd.wire("GET", POPULAR)
    assert (answer.status, answer.headers[b"cache-status"]) == (200, b"moviehub; hit")
    assert (await crowd.wire("GET", POPULAR, (b"if-none-match", answer.headers[b"etag"]))).status == 304


@promises.herd_cold
async def test_two_hundred_who_want_one_cold_page_at_once_all_get_it(crowd: Crowd) -> None:
    crowd.catalogue.door.is_open.clear()
    tasks = [asyncio.create_task(crowd.wire("GET", POPULAR)) for _ in range(200)]
    await crowd.catalogue.door.somebody()
    crowd.watch.time += LONGEST_BURST + 0.01
    tasks += [asyncio.create_task(crowd.wire("GET", POPULAR)) for _ in range(200)]
    await crowd.write(PLACES // 4)  # nor do they take a place from others
    crowd.catalogue.door.is_open.set()
    await crowd.leave()
    assert [(await task).status for task in tasks] == [200] * 400
    assert len(crowd.catalogue.calls) == 1


async def test_who_waits_for_several_pages_is_one_who_waits(crowd: Crowd) -> None:
    crowd.catalogue.films.extend(film(number) for number in range(10, 70))
    search = b"/api/movies/search/?q=film&page_size=60"
    crowd.catalogue.door.is_open.clear()
    wide = asyncio.create_task(crowd.wire("GET", search))
    await crowd.catalogue.door.somebody()
    crowd.catalogue.door.is_open.set()
    crowd.catalogue.door.is_open.clear()
    for _ in range(2):  # the rest of the pages, side by side
        await crowd.catalogue.door.somebody()
    await crowd(PLACES // 2, "GET", LIST)
    assert await crowd.is_turned_away("GET", SEARCH)
    crowd.catalogue.door.is_open.set()
    assert (await wide).status == 200


async def test_what_is_asked_of_the_catalogue_is_bounded_for_itself(crowd: Crowd) -> None:
    crowd.catalogue.door.is_open.clear()
    searches = []
    for number in range(PLACES):
        searches.append(asyncio.create_task(crowd.wire("GET", SEARCH + b"%d" % number)))
        await crowd.catalogue.door.somebody()
    assert await crowd.is_turned_away("GET", SEARCH)
    assert await crowd.is_turned_away("GET", LIST)
    await crowd.write(1)
    await crowd.leave()
    crowd.catalogue.door.is_open.set()
    assert {(await search).status for search in searches} == {200}


async def test_those_who_sign_in_have_places_of_their_own(crowd: Crowd) -> None:
    await crowd.write(PLACES)
    await crowd(PLACES, "POST", SIGN_IN, JSON, body=CREDENTIALS)
    assert await crowd.is_turned_away("POST", SIGN_IN, JSON, body=CREDENTIALS)
    assert await crowd.is_turned_away("POST", b"/api/auth/users/", JSON, body=b"{}")
    assert await crowd.leave() <= {200, 201}
    await crowd(PLACES, "POST", SIGN_IN, JSON, body=CREDENTIALS)
    await crowd(PLACES // 2, "GET", LIST)
    assert await crowd.leave() == {200}


async def test_who_still_sends_a_body_takes_no_place(crowd: Crowd) -> None:
    sent, over = asyncio.Semaphore(0), asyncio.Event()

    async def slowly() -> Any:
        sent.release()
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    scope: Any = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": RATE.decode(),
        "query_string": b"",
        "headers": [(b"host", b"hub.test"), JSON, crowd.wire.signed],
    }
    slow = [asyncio.create_task(crowd.wire.app({**scope}, slowly, send)) for _ in range(2 * PLACES)]
    for _ in slow:
        await sent.acquire()
    await crowd.write(PLACES)
    assert await crowd.leave() <= {200, 201}
    over.set()
    await asyncio.gather(*slow)


async def test_places_are_given_back_whatever_happens(crowd: Crowd) -> None:
    dice = random.Random(1)
    for _ in range(5):
        await crowd(PLACES // 2, "GET", LIST)
        await crowd.write(PLACES // 2)
        for task in dice.sample(crowd.tasks, PLACES // 2):
            crowd.tasks.remove(task)
            task.cancel()
            await asyncio.wait([task])
        await crowd.leave()
        assert (await crowd.wire("GET", b"/api/movies/999/")).status == 404
        assert (await crowd.wire("POST", RATE, JSON, crowd.wire.signed, body=b"{")).status == 400
    await crowd.write(PLACES)
    assert await crowd.leave() <= {200, 201}
