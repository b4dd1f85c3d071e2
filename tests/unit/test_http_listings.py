"""The catalogue's lists over HTTP: trending, popular, top-rated, search and recommendations."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from moviehub.domain.listings import Popular, Recommended, Search, TopRated, Trending
from tests.api import Api, api_in_memory, fields, film, problem

PAGE = {"count", "page", "page_size", "total_pages", "next", "previous", "results", "source"}
LISTS = ("trending", "popular", "top_rated")


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """A hub that keeps nothing in front of the router, so that each request is told from the cache."""
    async with api_in_memory(public_max_age=0) as api:
        yield api


async def listed(api: Api, path: str, **more: Any) -> dict[str, Any]:
    answer = await api.get(f"/api/movies/{path}", **more)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    assert page.keys() == PAGE
    return page


def titles(page: dict[str, Any]) -> list[str]:
    return [movie["title"] for movie in page["results"]]


async def test_the_catalogues_lists_come_in_the_catalogues_order(api: Api) -> None:
    api.catalogue.films = [film(2), film(1), film(3, vote_average=10.0)]
    assert titles(await listed(api, "popular/")) == ["Film 002", "Film 001", "Film 003"]
    assert titles(await listed(api, "trending/")) == ["Film 001", "Film 002", "Film 003"]
    assert titles(await listed(api, "top_rated/")) == ["Film 003", "Film 001", "Film 002"]
    assert api.catalogue.calls == [Popular(), Trending(window="week"), TopRated()]


async def test_trending_is_of_a_day_or_of_a_week(api: Api) -> None:
    api.catalogue.films = [film(1)]
    for query in ("", "?time_window=week", "?time_window=day"):
        assert (await listed(api, f"trending/{query}"))["source"] == "tmdb"
    assert api.catalogue.calls == [Trending(window="week"), Trending(window="day")]
    for wrong in ("month", "", "Day", "day "):
        assert fields(await api.get(f"/api/movies/trending/?time_window={wrong}")).keys() == {"time_window"}


async def test_what_the_catalogue_tells_is_kept(api: Api) -> None:
    api.catalogue.films = [film(n) for n in range(25)]
    page = await listed(api, "popular/?page_size=5")
    assert (page["count"], page["source"]) == (25, "tmdb")
    own = (await api.get("/api/movies/?page_size=100")).json()
    assert own["count"] == 20  # the unit is the catalogue's page
    assert own["results"][:5] == page["results"]


@pytest.mark.parametrize("name", LISTS)
async def test_two_pages_of_ours_cost_one_call_upstream(api: Api, name: str) -> None:
    api.catalogue.films = [film(n) for n in range(45)]
    first, second = await listed(api, f"{name}/"), await listed(api, f"{name}/?page=2")
    assert len(api.catalogue.calls) == 1
    assert titles(first) + titles(second) == [f"Film {n:03}" for n in range(20)]
    assert (first["count"], first["total_pages"], first["page_size"]) == (45, 5, 10)
    last = await listed(api, f"{name}/?page=5")
    assert (titles(last), last["next"]) == ([f"Film {n:03}" for n in range(40, 45)], None)


async def test_a_page_of_ours_is_cut_from_pages_of_theirs(api: Api) -> None:
    api.catalogue.films = [film(n) for n in range(130)]
    for size in (7, 20, 30, 100):
        seen: list[str] = []
        for number in range(1, -(-130 // size) + 1):
            seen += titles(await listed(api, f"popular/?page_size={size}&page={number}"))
        assert seen == [f"Film {n:03}" for n in range(130)]
    assert sorted(call.page for call in api.catalogue.calls) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_film_on_two_pages_of_theirs_is_shown_once(api: Api) -> None:
    films = [film(n) for n in range(60)]
    api.catalogue.films = [*films[:20], films[19], films[3], *films[20:38], *films[37:]]
    for size in (10, 20, 25, 50):
        before: set[int] = set()
        for number in range(1, 63 // size + 1):
            now = [movie["id"] for movie in (await listed(api, f"popular/?page_size={size}&page={number}"))["results"]]
            assert len(now) == len(set(now))
            assert before.isdisjoint(now), (size, number)
            before = set(now)


async def test_the_count_stops_at_ten_thousand_and_nobody_asks_further(api: Api) -> None:
    api.catalogue.films = [film(n) for n in range(10_050)]
    last = await listed(api, "popular/?page=1000")
    assert (last["count"], last["total_pages"], last["next"], len(last["results"])) == (10_000, 1_000, None, 10)
    asked = len(api.catalogue.calls)
    for past in ("page=1001", "page=101&page_size=100", "page=99999999999999999", "page=334&page_size=31"):
        problem(await api.get(f"/api/movies/popular/?{past}"), 404, "no-such-page")
    assert len(api.catalogue.calls) == asked
    assert (await listed(api, "popular/?page=334&page_size=30"))["results"][-1]["title"] == "Film 9999"


async def test_a_page_past_the_end_of_a_list_is_not_there(api: Api) -> None:
    api.catalogue.films = [film(n) for n in range(10)]
    await listed(api, "popular/")
    problem(await api.get("/api/movies/popular/?page=2"), 404, "no-such-page")
    problem(await api.get("/api/movies/search/?q=film&page=2"), 404, "no-such-page")
    problem(await api.get("/api/movies/search/?q=film&genre=18&page=2"), 404, "no-such-page")


async def test_a_search_that_finds_nothing_is_an_empty_page(api: Api) -> None:
    page = await listed(api, "search/?q=nothing")
    assert (page["count"], page["total_pages"], page["results"], page["source"]) == (0, 1, [], "tmdb")
    problem(await api.get("/api/movies/search/?q=nothing&page=2"), 404, "no-such-page")


async def test_a_search_is_one_question_however_it_is_written(api: Api) -> None:
    api.catalogue.films = [film(1, title="Amélie in Paris"), film(2)]
    for written in ("q=am%C3%A9lie+in", "q=+AM%C3%89LIE++in%20", "q=ame%CC%81lie%E3%80%80in", "query=Am%C3%A9lie%20IN"):
        assert titles(await listed(api, f"search/?{written}")) == ["Amélie in Paris"]
    assert api.catalogue.calls == [Search(query="amélie in")]


async def test_a_search_wants_one_to_two_hundred_characters(api: Api) -> None:
    await listed(api, "search/?q=a")
    await listed(api, "search/?q=" + "x" * 200)
    for wrong in ("", "q=", "query=", "q=%20%20", "q=a%09b", "q=" + "x" * 201, "q=a%00b", "q=%1B", "search=film"):
        assert fields(await api.get(f"/api/movies/search/?{wrong}")).keys() == {"q"}, wrong
    assert fields(await api.get("/api/movies/search/?genre=x&page=0")).keys() == {"q", "genre", "page"}


async def test_the_year_of_a_search_goes_upstream(api: Api) -> None:
    api.catalogue.films = [film(n, release_date=date(2000 + n % 2, 1, 1)) for n in range(30)]
    page = await listed(api, "search/?q=film&release_year=2001")
    assert (page["count"], titles(page)[:2]) == (15, ["Film 001", "Film 003"])
    assert api.catalogue.calls == [Search(query="film", year=2001)]
    for wrong in ("1869", "2201", "99", "02001"):
        assert fields(await api.get(f"/api/movies/search/?q=film&release_year={wrong}")).keys() == {"release_year"}


async def test_other_filters_of_a_search_see_the_first_hundred_hits(api: Api) -> None:
    api.catalogue.films = [
        film(n, genre_ids=(18 + n % 2,), original_language="fr" if n % 4 else "en") for n in range(300)
    ]
    for query, count in (("genre=18", 50), ("language=en", 25), ("genre=19&language=en", 0), ("min_rating=0", 100)):
        page = await listed(api, f"search/?q=film&{query}")
        assert page["count"] == count, query
    assert sorted(call.page for call in api.catalogue.calls) == [1, 2, 3, 4, 5]
    assert titles(await listed(api, "search/?q=film&genre=18&page=5"))[-1] == "Film 098"
    assert titles(await listed(api, "search/?q=film&ordering=popularity&page_size=2")) == ["Film 099", "Film 098"]
    assert len(api.catalogue.calls) == 5


async def test_an_ordering_alone_orders_the_first_hundred_hits(api: Api) -> None:
    api.catalogue.films = [film(n) for n in range(30)]
    assert titles(await listed(api, "search/?q=film&ordering=-title"))[0] == "Film 029"
    assert titles(await listed(api, "search/?q=film&ordering=vote_average"))[0] == "Film 029"


async def test_recommendations_are_the_catalogues(api: Api) -> None:
    movie, *_ = await api.knows(
        film(1, genre_ids=(18, 35)), film(2), film(3, genre_ids=(35, 18)), film(4, genre_ids=())
    )
    page = await listed(api, f"{movie}/recommendations/")
    assert (titles(page), page["source"]) == (["Film 003", "Film 002"], "tmdb")
    assert api.catalogue.calls == [Recommended(tmdb_id=1001)]
    problem(await api.get("/api/movies/77/recommendations/"), 404, "movie-not-found")


async def test_an_unknown_parameter_is_ignored(api: Api) -> None:
    api.catalogue.films = [film(1)]
    for path in (
        "popular/?genre=x&limit=zz",
        "trending/?colour=blue",
        "search/?q=film&foo=1&foo=2",
        "top_rated/?page%00=0",
    ):
        assert (await listed(api, path))["count"] == 1


LOCAL = ("popular/", "trending/", "trending/?time_window=day", "top_rated/", "search/?q=FILM", "1/recommendations/")


async def test_the_hubs_own_films_answer_while_the_catalogue_is_out(api: Api) -> None:
    await api.knows(*(film(n) for n in range(12)), film(12, title="Other", vote_average=10.0, popularity=5_000.0))
    api.catalogue.out = True
    for path in LOCAL:
        answer = await api.get(f"/api/movies/{path}")
        assert (answer.status_code, answer.json()["source"]) == (200, "local"), path
        assert answer.headers["cache-status"] == "moviehub; fwd=miss; detail=local"
    assert titles(await listed(api, "popular/"))[:2] == ["Other", "Film 000"]
    assert titles(await listed(api, "trending/"))[:2] == ["Other", "Film 000"]
    assert titles(await listed(api, "top_rated/"))[:2] == ["Other", "Film 000"]
    search = await listed(api, "search/?q=FILM&page=2")
    assert (titles(search), search["count"]) == (["Film 010", "Film 011"], 12)
    assert titles(await listed(api, "search/?q=film&release_year=1995")) == ["Film 005"]
    assert titles(await listed(api, "search/?q=film&min_rating=9.9")) == ["Film 000"]
    assert "Film 000" not in titles(await listed(api, "1/recommendations/?page_size=100"))
    problem(await api.get("/api/movies/popular/?page=3"), 503, "unavailable")  # the catalogue may well have a third


async def test_what_is_cached_needs_no_catalogue(api: Api) -> None:
    api.catalogue.films = [film(n) for n in range(20)]
    before = await listed(api, "popular/?page=2")
    api.catalogue.out = True
    assert await listed(api, "popular/?page=2") == before


async def test_nothing_true_to_say_is_503_with_a_time_to_try_again(api: Api) -> None:
    (movie,) = await api.knows(film(1, genre_ids=()))
    api.catalogue.out = True
    for path in ("search/?q=nowhere", "search/?q=nowhere&genre=18", f"{movie}/recommendations/"):
        answer = await api.get(f"/api/movies/{path}")
        problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    async with api_in_memory() as empty:
        empty.catalogue.out = True
        for name in LISTS:
            problem(await empty.get(f"/api/movies/{name}/"), 503, "unavailable")


async def test_the_catalogue_is_asked_again_when_it_is_back(api: Api) -> None:
    await api.knows(film(1))
    api.catalogue.out = True
    assert (await listed(api, "popular/"))["source"] == "local"
    api.catalogue.out = False
    assert (await listed(api, "popular/"))["source"] == "tmdb"
