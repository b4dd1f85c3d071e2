"""TMDb over HTTP: what it is asked, and what is made of its answers."""

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator
from datetime import date
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from moviehub.adapters.memory.budget import MemoryBudget
from moviehub.adapters.tmdb.catalogue import TmdbCatalogue
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import CataloguePage, Popular, Recommended, Search, TopRated, Trending
from moviehub.domain.movies import MovieNotFound
from tests.contracts.catalogue import CatalogueContract
from tests.tmdb_answers import CHANGED_EVERY, FILMS
from tests.tmdb_stand_in import KEY, TOKEN, StandIn

FILM = 1_700_000


@pytest.fixture
async def tmdb() -> AsyncIterator[StandIn]:
    async with StandIn() as tmdb:
        yield tmdb


@pytest.fixture
async def catalogue(tmdb: StandIn) -> AsyncIterator[TmdbCatalogue]:
    catalogue = TmdbCatalogue(url=tmdb.url, token=TOKEN, budget=MemoryBudget(1_000, 20))
    yield catalogue
    await catalogue.close()


def params(target: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(target).query).items()}


class TestTmdbCatalogue(CatalogueContract):
    """The contract; its fixture is the one above."""


async def test_a_v4_token_goes_in_the_header_alone(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    await catalogue.page(Popular())
    assert tmdb.headers[-1]["authorization"] == f"Bearer {TOKEN}"
    assert "api_key" not in params(tmdb.requests[-1])


async def test_a_v3_key_goes_in_the_query_alone(tmdb: StandIn) -> None:
    catalogue = TmdbCatalogue(url=tmdb.url + "/", token=f" {KEY}\n", budget=MemoryBudget(1_000, 20))
    assert (await catalogue.page(Search(query="& ü=?#夜"))).total == 0
    await catalogue.close()
    assert params(tmdb.requests[-1])["api_key"] == KEY
    assert params(tmdb.requests[-1])["query"] == "& ü=?#夜"
    assert "authorization" not in tmdb.headers[-1]


@pytest.mark.parametrize("token", ["a b", "a\nb", "schlüssel", "a\0"])
def test_what_can_be_no_token_is_refused_at_once_and_not_told(token: str) -> None:
    with pytest.raises(ValueError, match="no token") as refused:
        TmdbCatalogue(url="http://127.0.0.1", token=token, budget=MemoryBudget(1_000, 20))
    assert token not in str(refused.value)


async def test_every_question_has_its_route(tmdb: StandIn) -> None:
    catalogue = TmdbCatalogue(url=tmdb.url, token=TOKEN, language="de-DE", region="AT", budget=MemoryBudget(1_000, 20))
    every = {"language": "de-DE", "page": "3"}
    for listing, path, expected in (
        (Popular(page=3), "/3/movie/popular", every | {"region": "AT"}),
        (TopRated(page=3), "/3/movie/top_rated", every | {"region": "AT"}),
        (Trending(window="day", page=3), "/3/trending/movie/day", every),
        (Trending(window="week", page=3), "/3/trending/movie/week", every),
        (
            Search(query="amber", page=3),
            "/3/search/movie",
            every | {"region": "AT", "query": "amber", "include_adult": "false"},
        ),
        (
            Search(query="amber", year=1990, page=3),
            "/3/search/movie",
            every | {"region": "AT", "query": "amber", "include_adult": "false", "primary_release_year": "1990"},
        ),
        (Recommended(tmdb_id=FILM, page=3), f"/3/movie/{FILM}/recommendations", every),
    ):
        await catalogue.page(listing)
        assert urlsplit(tmdb.requests[-1]).path == path
        assert params(tmdb.requests[-1]) == expected
    await catalogue.movie(FILM)
    assert tmdb.requests[-1] == f"/3/movie/{FILM}?language=de-DE"
    assert {genre.name for genre in await catalogue.genres()} >= {"Drama (de-DE)"}
    assert tmdb.requests[-1] == "/3/genre/movie/list?language=de-DE"
    await catalogue.close()


async def test_without_a_region_none_is_sent(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    await catalogue.page(Popular())
    assert params(tmdb.requests[-1]) == {"language": "en-US", "page": "1"}


async def test_no_more_is_counted_than_tmdb_serves(catalogue: TmdbCatalogue) -> None:
    assert (await catalogue.page(Popular())).total == 10_000


async def test_a_page_that_tmdb_refuses_is_not_asked_for(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    for number in (-1, 0, 501):
        assert await catalogue.page(Popular(page=number)) == CataloguePage((), 0)
    assert tmdb.requests == []


async def test_the_first_page_of_recommendations_has_twenty_of_the_21(catalogue: TmdbCatalogue) -> None:
    told = await catalogue.page(Recommended(tmdb_id=FILM))
    assert [film.tmdb_id for film in told.facts] == list(range(FILM + 1, FILM + 21))
    assert told.total == 40


async def test_a_query_that_tmdb_strips_to_nothing_finds_nothing(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    assert await catalogue.page(Search(query="\N{IDEOGRAPHIC SPACE}")) == CataloguePage((), 0)
    assert len(tmdb.requests) == 1


async def test_what_cannot_even_be_asked_is_unavailable(catalogue: TmdbCatalogue) -> None:
    with pytest.raises(Unavailable):
        await catalogue.page(Search(query="\ud800"))


async def test_both_forms_of_not_found_are(catalogue: TmdbCatalogue) -> None:
    for tmdb_id in (FILM - 1, FILM + 10_000):
        with pytest.raises(MovieNotFound):
            await catalogue.movie(tmdb_id)
        with pytest.raises(MovieNotFound):
            await catalogue.page(Recommended(tmdb_id=tmdb_id))


async def test_what_changed_is_on_all_pages_of_the_feed(tmdb: StandIn, catalogue: TmdbCatalogue) -> None:
    since, until = date(2026, 2, 28), date(2026, 3, 1)
    days = {since.toordinal() % CHANGED_EVERY, until.toordinal() % CHANGED_EVERY}
    changed = {FILM + number for number in range(FILMS) if number % CHANGED_EVERY in days}
    assert await catalogue.changed(since, until) == changed
    assert len(changed) == 500
    assert {urlsplit(target).path for target in tmdb.requests} == {"/3/movie/changes"}
    every = {"start_date": "2026-02-28", "end_date": "2026-03-01"}
    assert list(map(params, tmdb.requests)) == [every | {"page": str(number)} for number in range(1, 6)]


async def test_what_was_lost_is_logged_and_counted(catalogue: TmdbCatalogue) -> None:
    with capture_logs() as logs:
        await catalogue.page(Popular())
    losses = [log for log in logs if log["event"] == "tmdb_losses"]
    assert [log["lost"] for log in losses] == [{"release_date": 1}]
    assert catalogue.losses == 1


async def test_the_stand_in_is_a_process_too() -> None:
    def get(url: str) -> object:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.tmdb_stand_in", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), 10)).decode().strip()
        control = url.removesuffix("/3") + "/_control/"
        catalogue = TmdbCatalogue(url=url, token=TOKEN, budget=MemoryBudget(1_000, 20))
        assert (await catalogue.page(Popular())).facts
        await asyncio.to_thread(get, control + "fail?fault=500&times=1")
        with pytest.raises(Unavailable):
            await catalogue.page(Popular())
        assert (await catalogue.page(Popular())).facts
        told = await asyncio.to_thread(get, control + "requests")
        assert isinstance(told, dict)
        assert len(told["requests"]) == len(told["times"]) == 3
        await catalogue.close()
    finally:
        process.terminate()
        await process.wait()
