"""TMDb in trouble, by a stand-in that fails in every way that TMDb was seen to fail; and what must never be told."""

import asyncio
import logging
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from moviehub.adapters.memory.budget import MemoryBudget
from moviehub.adapters.tmdb.catalogue import TmdbCatalogue
from moviehub.adapters.tmdb.circuit import Circuit, Failure
from moviehub.application.ports import BACKGROUND, Budget
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import CataloguePage, Listing, Popular, Recommended, Search, TopRated, Trending
from tests import promises
from tests.tmdb_stand_in import KEY, TOKEN, Fault, StandIn, Watch

DEADLINE = 0.6
WAITS = (Fault.HANG, Fault.DRIP)
TRIED_AGAIN = (Fault.CLOSE, Fault.RESET, Fault.CUT, Fault.GATEWAY, Fault.OFFLINE)
LONGEST_REFUSAL = 60
"""Seconds after which the circuit lets somebody look, whatever happened."""

FILM = 1_700_000
DAY = date(2026, 3, 1)


@pytest.fixture
async def tmdb() -> AsyncIterator[StandIn]:
    async with StandIn() as tmdb:
        yield tmdb


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def budget(watch: Watch) -> Budget:
    return MemoryBudget(1_000, 20, monotonic=watch)


@pytest.fixture
async def catalogue(tmdb: StandIn, watch: Watch, budget: Budget) -> AsyncIterator[TmdbCatalogue]:
    catalogue = TmdbCatalogue(url=tmdb.url, token=TOKEN, deadline=10, budget=budget, circuit=Circuit(monotonic=watch))
    yield catalogue
    await catalogue.close()


@pytest.fixture(params=Fault, ids=lambda fault: fault.value)
def fault(request: pytest.FixtureRequest) -> Fault:
    return Fault(request.param)


@pytest.fixture
async def hasty(tmdb: StandIn, watch: Watch, budget: Budget, fault: Fault) -> AsyncIterator[TmdbCatalogue]:
    """One that soon gives up where it would only wait."""
    deadline = DEADLINE if fault in WAITS else 10
    catalogue = TmdbCatalogue(
        url=tmdb.url, token=TOKEN, deadline=deadline, budget=budget, circuit=Circuit(monotonic=watch)
    )
    yield catalogue
    await catalogue.close()


@promises.tmdb_nonsense
async def test_every_fault_is_unavailable_in_time_and_leaves_no_trace(
    tmdb: StandIn, hasty: TmdbCatalogue, watch: Watch, fault: Fault
) -> None:
    tmdb.fail(fault)
    questions: list[Callable[[], Awaitable[object]]] = [
        lambda: hasty.page(Popular()),
        lambda: hasty.genres(),
        lambda: hasty.movie(FILM),
        lambda: hasty.changed(DAY, DAY),
    ]
    for ask in questions:
        asked = len(tmdb.requests)
        started = time.perf_counter()
        with pytest.raises(Unavailable):
            await ask()
        assert time.perf_counter() - started < DEADLINE + 0.5
        assert len(tmdb.requests) > asked
        watch.time += LONGEST_REFUSAL
    tmdb.fail(None)
    assert len((await hasty.page(Popular())).facts) == 20
    assert await hasty.movie(FILM)


@promises.tmdb_deadline
async def test_only_what_may_be_gone_at_once_is_tried_a_second_time(
    tmdb: StandIn, hasty: TmdbCatalogue, fault: Fault
) -> None:
    tmdb.fail(fault, times=1)
    if fault in TRIED_AGAIN:
        assert (await hasty.page(Popular())).facts
        assert len(tmdb.requests) == 2
        tmdb.fail(fault)
        with pytest.raises(Unavailable):
            await hasty.page(Popular())
        assert len(tmdb.requests) == 4
    else:
        with pytest.raises(Unavailable):
            await hasty.page(Popular())
        assert len(tmdb.requests) == 1


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Every library's log, at the level at which it says most."""
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        yield caplog
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@promises.tmdb_nonsense
@pytest.mark.parametrize("token", [TOKEN, KEY], ids=["v4", "v3"])
async def test_the_key_is_in_no_log_no_error_and_no_repr(
    tmdb: StandIn, everything_logged: pytest.LogCaptureFixture, token: str
) -> None:
    watch = Watch()
    budget = MemoryBudget(1_000, 20, monotonic=watch)
    catalogue = TmdbCatalogue(url=tmdb.url, token=token, deadline=0.2, budget=budget, circuit=Circuit(monotonic=watch))
    transport = catalogue._transport
    seen = [repr(catalogue), repr(vars(catalogue)), repr(vars(transport)), repr(vars(transport._client))]
    with capture_logs() as logs:
        await catalogue.page(Popular())
        for fault in Fault:
            tmdb.fail(fault)
            watch.time += LONGEST_REFUSAL
            try:
                await catalogue.page(Popular())
            except Unavailable as error:
                link: BaseException | None = error
                while link is not None:
                    seen += [repr(link), str(link), repr(vars(link)), repr(getattr(link, "_request", None))]
                    link = link.__cause__ or link.__context__
    await catalogue.close()
    assert len(tmdb.requests) > len(Fault)
    seen += [repr(logs), everything_logged.text, repr([vars(record) for record in everything_logged.records])]
    assert "httpx" in everything_logged.text
    assert "tmdb_failed" in seen[-3]
    assert token not in "".join(seen)
    assert token[:16] not in "".join(seen)


async def test_httpx_tells_nobody_what_people_look_for(
    catalogue: TmdbCatalogue, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), capture_logs() as logs:
        await catalogue.page(Search(query="something private"))
    assert "private" not in caplog.text + repr(logs)


@pytest.mark.parametrize("fault", [Fault.BAD_KEY, Fault.FORBIDDEN], ids=lambda fault: fault.value)
async def test_a_refused_key_is_loud_every_time_and_tried_again(
    tmdb: StandIn, catalogue: TmdbCatalogue, fault: Fault
) -> None:
    tmdb.fail(fault, times=2)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await catalogue.page(Popular())
    assert [(log["event"], log["log_level"]) for log in logs if log["log_level"] == "error"] == [
        ("tmdb_refuses_the_key", "error")
    ] * 2
    assert (await catalogue.page(Popular())).facts


async def test_a_wrong_key_is_unavailable(tmdb: StandIn) -> None:
    catalogue = TmdbCatalogue(url=tmdb.url, token="f" * 32, budget=MemoryBudget(1_000, 20))
    with pytest.raises(Unavailable):
        await catalogue.page(Popular())
    await catalogue.close()


async def test_a_web_page_in_place_of_a_film_does_not_say_that_there_is_none(
    tmdb: StandIn, catalogue: TmdbCatalogue
) -> None:
    tmdb.fail(Fault.HTML_404)
    with pytest.raises(Unavailable):
        await catalogue.movie(FILM)
    with pytest.raises(Unavailable):
        await catalogue.page(Recommended(tmdb_id=FILM))


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("3600", 60),
        ("9" * 400, 60),
        ("-5", 2),
        ("soon", 2),
        ("", 2),
        pytest.param(format_datetime(datetime.now(UTC) + timedelta(days=1)), 60, id="tomorrow"),
        pytest.param(format_datetime(datetime.now(UTC) - timedelta(days=1)), 1, id="yesterday"),
        ("Wed, 99 Foo 2030 00:00:00 GMT", 2),
    ],
)
async def test_over_the_limit_the_wait_is_what_was_told_within_a_minute(
    tmdb: StandIn, catalogue: TmdbCatalogue, told: str, seconds: int
) -> None:
    tmdb.retry_after = told
    tmdb.fail(Fault.LIMIT_TOLD)
    with pytest.raises(Unavailable) as refused:
        await catalogue.page(Popular())
    assert refused.value.retry_after == seconds


async def test_over_the_limit_without_a_word_the_wait_is_short(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    tmdb.fail(Fault.LIMIT)
    with pytest.raises(Unavailable) as refused:
        await catalogue.page(Popular())
    assert refused.value.retry_after == 2


async def test_where_nobody_listens_is_unavailable_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    catalogue = TmdbCatalogue(url=f"http://127.0.0.1:{port}/3", token=TOKEN, budget=MemoryBudget(1_000, 20))
    started = time.perf_counter()
    with pytest.raises(Unavailable):
        await catalogue.movie(FILM)
    assert time.perf_counter() - started < 0.5
    await catalogue.close()


async def test_many_at_once_share_twenty_connections_and_all_are_answered(
    tmdb: StandIn, catalogue: TmdbCatalogue
) -> None:
    tmdb.delay = 0.02
    films = await asyncio.gather(*(catalogue.movie(FILM + n) for n in range(60)))
    assert [film.tmdb_id for film in films] == list(range(FILM, FILM + 60))
    assert tmdb.most_connections == 20


@promises.client_gone
async def test_who_goes_away_leaves_no_connection_taken(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    tmdb.fail(Fault.HANG)
    asked = [asyncio.ensure_future(catalogue.movie(FILM + n)) for n in range(30)]
    for _ in range(20):
        await tmdb.arrived.acquire()
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    tmdb.fail(None)
    films = await asyncio.gather(*(catalogue.movie(FILM + n) for n in range(30)))
    assert len(films) == 30


async def test_after_the_end_nothing_can_be_asked(catalogue: TmdbCatalogue) -> None:
    await catalogue.close()
    with pytest.raises(Unavailable):
        await catalogue.movie(FILM)


async def refused_at_once(catalogue: TmdbCatalogue, times: int = 1) -> int:
    """After how many seconds to ask again, as all are told at once who ask now."""

    async def ask(number: int) -> int:
        started = time.perf_counter()
        with pytest.raises(Unavailable) as refused:
            await catalogue.movie(FILM + number)
        assert time.perf_counter() - started < 0.05
        return refused.value.retry_after

    (seconds,) = {await ask(number) for number in range(times)}
    return seconds


OUT = [Fault.RESET, Fault.HANG, Fault.BROKEN, Fault.OFFLINE, Fault.BAD_KEY, Fault.HTML, Fault.HTML_404, Fault.BAD_GZIP]


@promises.tmdb_circuit
@pytest.mark.parametrize("fault", OUT, ids=lambda fault: fault.value)
async def test_while_tmdb_is_out_all_are_answered_at_once_and_one_looks_whether_it_is_back(
    tmdb: StandIn, hasty: TmdbCatalogue, watch: Watch, fault: Fault
) -> None:
    await hasty.ping()
    tmdb.fail(fault)
    await asyncio.gather(*(hasty.movie(FILM + n) for n in range(5)), return_exceptions=True)
    for _ in range(3):
        asked = len(tmdb.requests)
        assert await refused_at_once(hasty, 20) == 5
        watch.time += 4.9
        assert await refused_at_once(hasty) == 1
        assert len(tmdb.requests) == asked
        with pytest.raises(Unavailable):
            await hasty.ping()
        watch.time += 0.1
        answers = await asyncio.gather(*(hasty.movie(FILM + n) for n in range(20)), return_exceptions=True)
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert len(set(tmdb.requests[asked:])) == 1, "one probe, which may try twice"
    tmdb.fail(None)
    asked = len(tmdb.requests)
    await refused_at_once(hasty)
    with pytest.raises(Unavailable):
        await hasty.ping()
    assert len(tmdb.requests) == asked
    watch.time += 5
    assert await hasty.movie(FILM)
    await hasty.ping()
    for first in range(0, 20, 4):  # all twenty at once take a busy machine longer than the deadline of who is hasty
        assert len(await asyncio.gather(*(hasty.movie(FILM + first + n) for n in range(4)))) == 4


@promises.tmdb_circuit
async def test_where_nobody_listens_is_soon_not_asked_any_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    watch = Watch()
    budget = MemoryBudget(1_000, 20, monotonic=watch)
    catalogue = TmdbCatalogue(
        url=f"http://127.0.0.1:{port}/3", token=TOKEN, budget=budget, circuit=Circuit(monotonic=watch)
    )
    await asyncio.gather(*(catalogue.movie(FILM + n) for n in range(5)), return_exceptions=True)
    await refused_at_once(catalogue, 20)
    async with StandIn(port) as tmdb:
        await refused_at_once(catalogue)
        watch.time += 5
        assert await catalogue.movie(FILM)
        assert len(tmdb.requests) == 1
    await catalogue.close()


@pytest.mark.parametrize(("fault", "seconds"), [(Fault.LIMIT_TOLD, 7), (Fault.LIMIT, 2)], ids=["told", "not told"])
async def test_over_the_limit_nobody_in_this_process_asks_until_the_wait_is_over(
    tmdb: StandIn, catalogue: TmdbCatalogue, watch: Watch, fault: Fault, seconds: int
) -> None:
    tmdb.fail(fault, times=1)
    tmdb.delay = 0.1
    answers = await asyncio.gather(*(catalogue.movie(FILM + n) for n in range(60)), return_exceptions=True)
    assert len(tmdb.requests) <= 20 + 19, "who had no connection yet heard of it"
    assert any(isinstance(answer, Unavailable) and answer.retry_after == seconds for answer in answers)
    asked = len(tmdb.requests)
    watch.time += seconds - 0.1
    assert await refused_at_once(catalogue, 20) == 1
    assert len(tmdb.requests) == asked
    watch.time += 0.1
    assert await catalogue.movie(FILM)
    assert (await catalogue.page(Popular())).facts


async def test_over_the_limit_nobody_tries_a_second_time(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    tmdb.delay = 0.2
    broken = asyncio.ensure_future(catalogue.genres())
    await tmdb.arrived.acquire()
    tmdb.delay = 0
    tmdb.fail(Fault.LIMIT)
    with pytest.raises(Unavailable):
        await catalogue.movie(FILM)
    tmdb.fail(Fault.GATEWAY)
    with pytest.raises(Unavailable):
        await broken
    assert len(tmdb.requests) == 2


async def test_a_probe_whose_client_goes_away_leaves_its_place_to_another(
    tmdb: StandIn, catalogue: TmdbCatalogue, watch: Watch
) -> None:
    tmdb.fail(Fault.BROKEN)
    await asyncio.gather(*(catalogue.movie(FILM + n) for n in range(5)), return_exceptions=True)
    while not tmdb.arrived.locked():
        await tmdb.arrived.acquire()
    watch.time += 5
    tmdb.fail(Fault.HANG)
    probe = asyncio.ensure_future(catalogue.genres())
    await tmdb.arrived.acquire()
    await refused_at_once(catalogue)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    tmdb.fail(None)
    assert await catalogue.genres()


async def test_one_film_in_which_nothing_is_of_use_is_no_outage(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    tmdb.fail(Fault.ANOTHER_FILM)
    for _ in range(10):
        with pytest.raises(Unavailable):
            await catalogue.movie(FILM)
    assert len(tmdb.requests) == 10
    await catalogue.ping()


@promises.tmdb_nonsense
@pytest.mark.parametrize(
    ("listing", "total"),
    [
        (Popular(), 0),
        (TopRated(), 10_000),
        (Trending(window="day", page=3), 41),
        (Search(query="amber"), 1),
        (Recommended(tmdb_id=FILM), 40),
    ],
    ids=lambda told: getattr(told, "key", told),
)
async def test_a_page_without_a_film_where_there_are_some_is_no_answer_and_no_outage(
    tmdb: StandIn, catalogue: TmdbCatalogue, listing: Listing, total: int
) -> None:
    tmdb.instead = {"page": listing.page, "results": [], "total_results": total, "total_pages": -(-total // 20)}
    for _ in range(10):
        with pytest.raises(Unavailable):
            await catalogue.page(listing)
    await catalogue.ping()


@pytest.mark.parametrize(
    ("listing", "total"),
    [(Popular(page=3), 40), (Search(query="amber"), 0), (Search(query="amber", page=5), 100)],
    ids=lambda told: getattr(told, "key", told),
)
async def test_a_page_without_a_film_is_an_answer_where_there_may_be_none(
    tmdb: StandIn, catalogue: TmdbCatalogue, listing: Listing, total: int
) -> None:
    tmdb.instead = {"page": listing.page, "results": [], "total_results": total, "total_pages": -(-total // 20)}
    assert await catalogue.page(listing) == CataloguePage((), total)


async def test_questions_that_cannot_be_asked_are_no_outage(catalogue: TmdbCatalogue) -> None:
    for _ in range(10):
        with pytest.raises(Unavailable):
            await catalogue.page(Search(query="\ud800"))
    assert (await catalogue.page(Popular())).facts


async def test_answers_that_are_no_films_are_answers(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    tmdb.fail(Fault.BAD_REQUEST)
    for _ in range(10):
        with pytest.raises(Unavailable):
            await catalogue.page(Popular())
    assert len(tmdb.requests) == 10
    await catalogue.ping()


@pytest.fixture
async def narrow(tmdb: StandIn, watch: Watch) -> AsyncIterator[TmdbCatalogue]:
    """One whose budget is a question a second."""
    catalogue = TmdbCatalogue(url=tmdb.url, token=TOKEN, budget=MemoryBudget(1, 20), circuit=Circuit(monotonic=watch))
    yield catalogue
    await catalogue.close()


async def test_a_question_without_a_place_is_refused_at_once_and_is_no_outage(
    tmdb: StandIn, narrow: TmdbCatalogue
) -> None:
    assert await narrow.movie(FILM)
    waiting = asyncio.create_task(narrow.movie(FILM))  # which has the next place, in little more than a second
    await asyncio.sleep(0.05)
    assert await refused_at_once(narrow) == 3
    assert len(tmdb.requests) == 1
    await narrow.ping()
    assert await waiting


async def test_what_nobody_waits_for_waits_longer_for_its_place(narrow: TmdbCatalogue) -> None:
    assert await narrow.movie(FILM)
    BACKGROUND.set(True)
    assert await narrow.movie(FILM)


@pytest.mark.parametrize(
    ("rate", "connections", "tries"), [(1_000, 1, 2), (1, 20, 1)], ids=["one connection", "one question a second"]
)
async def test_a_second_try_has_a_place_of_its_own(tmdb: StandIn, rate: int, connections: int, tries: int) -> None:
    catalogue = TmdbCatalogue(url=tmdb.url, token=TOKEN, budget=MemoryBudget(rate, connections), deadline=0.9)
    tmdb.fail(Fault.GATEWAY, times=1)
    answers = await asyncio.gather(catalogue.movie(FILM), return_exceptions=True)
    assert isinstance(answers[0], Failure) == (tries == 1)
    assert len(tmdb.requests) == tries
    await catalogue.close()


async def test_over_the_limit_nobody_who_shares_the_budget_asks(
    tmdb: StandIn, catalogue: TmdbCatalogue, budget: Budget, watch: Watch
) -> None:
    other = TmdbCatalogue(url=tmdb.url, token=TOKEN, budget=budget)
    tmdb.fail(Fault.LIMIT_TOLD, times=1)
    with pytest.raises(Unavailable):
        await catalogue.movie(FILM)
    assert await refused_at_once(other, 20) == 7
    watch.time += 6.9
    assert await refused_at_once(other) == 1
    assert len(tmdb.requests) == 1
    watch.time += 0.2
    assert await other.movie(FILM)
    await other.close()


async def test_second_tries_are_few_when_many_are_needed(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    for number in range(11):  # the ten that there are at the start, and what these questions pay for
        tmdb.fail(Fault.OFFLINE, times=1)
        assert await catalogue.movie(FILM + number)
    tmdb.fail(Fault.OFFLINE, times=1)
    with pytest.raises(Unavailable):
        await catalogue.movie(FILM)
    assert len(tmdb.requests) == 11 * 2 + 1


def test_a_connection_that_is_reset_as_soon_as_it_is_made_is_an_outage_like_any_other() -> None:
    def reset_all(listener: socket.socket) -> None:
        with suppress(OSError):  # once it is closed
            while True:
                link, _ = listener.accept()
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                link.close()

    async def ask(url: str) -> set[type]:
        circuit = Circuit(most_failures=1_000_000)
        budget = MemoryBudget(100_000, 100)
        catalogue = TmdbCatalogue(url=url, token=TOKEN, budget=budget, connections=100, circuit=circuit)
        told: list[Any] = []
        for _ in range(8):  # one in fifty is found out by who asks it for its peer
            told += await asyncio.gather(*(catalogue.movie(FILM) for _ in range(100)), return_exceptions=True)
        await catalogue.close()
        return {type(each) for each in told}

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        thread = threading.Thread(target=reset_all, args=(listener,))
        thread.start()
        told = uvloop.run(ask(f"http://127.0.0.1:{listener.getsockname()[1]}/3"))  # the loop that serves
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert all(issubclass(each, Unavailable) for each in told), told
