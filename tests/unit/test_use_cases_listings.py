"""What people can do with the catalogue's lists, without HTTP."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import Found, ListedPage, Popular, Recommended, Search, TopRated, Trending
from moviehub.domain.movies import MovieFilter, MovieNotFound
from moviehub.domain.pages import NoSuchPage, PageRequest
from moviehub.entrypoints.harness import harness
from tests.api import film


def titles(found: Found) -> list[str]:
    return [marked.movie.facts.title for marked in found.page.items]


async def test_those_who_ask_at_once_for_a_cold_page_cost_one_call() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(n) for n in range(30)]
        asked = [hub.discover_movies(listing=Popular(), page=PageRequest(1)) for _ in range(20)]
        found = await asyncio.gather(*asked)
        assert hub.catalogue.calls == [Popular()]
        assert all(one.page == found[0].page for one in found)
        assert not any(one.provenance.cached for one in found)


async def test_who_goes_away_does_not_end_it_for_the_others() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(1)]
        gone = asyncio.create_task(hub.discover_movies(listing=Popular(), page=PageRequest()))
        patient = asyncio.create_task(hub.discover_movies(listing=Popular(), page=PageRequest()))
        await asyncio.sleep(0)  # both have asked
        assert len(hub.discover_movies.shelf.flights) == 1
        gone.cancel()
        assert titles(await patient) == ["Film 001"]
        assert hub.catalogue.calls == [Popular()]
        assert gone.cancelled()


async def test_a_flight_that_failed_is_not_remembered() -> None:
    async with harness() as hub:
        hub.catalogue.films, hub.catalogue.out = [film(1)], True
        with pytest.raises(Unavailable):
            await hub.discover_movies(listing=Popular(), page=PageRequest())
        hub.catalogue.out = False
        assert titles(await hub.discover_movies(listing=Popular(), page=PageRequest())) == ["Film 001"]
        assert len(hub.discover_movies.shelf.flights) == 0


@pytest.mark.parametrize("size", [1, 10, 33, 50, 100])
async def test_no_request_asks_for_more_than_six_pages(size: int) -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(n) for n in range(600)]
        for number in (1, 2, 5, 600 // size):
            asked = len(hub.catalogue.calls)
            found = await hub.discover_movies(listing=TopRated(), page=PageRequest(number, size))
            assert len(found.page.items) == size
            assert len(hub.catalogue.calls) - asked <= 6


@settings(deadline=None)
@given(st.lists(st.integers(0, 120), min_size=1, max_size=130), st.integers(1, 50))
def test_a_film_told_twice_is_not_on_neighbouring_pages_and_none_is_lost(numbers: list[int], size: int) -> None:
    async def turn_every_page() -> None:
        async with harness() as hub:
            hub.catalogue.films = [film(number) for number in numbers]
            pages = []
            for number in range(1, -(-len(numbers) // size) + 1):
                found = await hub.discover_movies(listing=Popular(), page=PageRequest(number, size))
                pages.append([marked.movie.facts.tmdb_id - 1_000 for marked in found.page.items])
            for here, there in zip([[], *pages], pages, strict=False):
                assert len(set(here + there)) == len(here + there)
            assert {number for page in pages for number in page} == set(numbers)

    asyncio.run(turn_every_page())


async def test_a_page_is_asked_for_again_when_its_time_is_over() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(1)]
        for cached in (False, True):
            found = await hub.discover_movies(listing=Popular(), page=PageRequest())
            assert found.provenance.cached is cached
            assert 810 <= (found.provenance.until - found.provenance.since).total_seconds() <= 900
        hub.catalogue.films.insert(0, film(2))
        hub.clock.advance(seconds=700)
        assert titles(await hub.discover_movies(listing=Popular(), page=PageRequest())) == ["Film 001"]
        assert len(hub.catalogue.calls) == 1
        hub.clock.advance(seconds=200)
        assert titles(await hub.discover_movies(listing=Popular(), page=PageRequest())) == ["Film 001"]
        await hub.discover_movies.shelf.flights.settled()
        assert titles(await hub.discover_movies(listing=Popular(), page=PageRequest())) == ["Film 002", "Film 001"]


async def test_an_old_page_is_shown_for_a_day_while_the_catalogue_is_out_and_nobody_waits() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(1)]
        await hub.discover_movies(listing=Popular(), page=PageRequest())
        hub.catalogue.out = True
        hub.clock.advance(timedelta(hours=24))
        old = await hub.discover_movies(listing=Popular(), page=PageRequest())
        assert (titles(old), old.provenance.source, old.provenance.cached) == (["Film 001"], "tmdb", True)
        assert old.provenance.until < hub.clock.now()
        hub.clock.advance(timedelta(minutes=15))
        await hub.discover_movies.shelf.flights.settled()
        own = await hub.discover_movies(listing=Popular(), page=PageRequest())
        assert (titles(own), own.provenance.source) == (["Film 001"], "local")


async def test_pages_that_were_fetched_together_do_not_end_together() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(n) for n in range(600)]
        for number in range(1, 31):
            await hub.discover_movies(listing=Popular(), page=PageRequest(number, 20))
        kept = [await hub.container.cache().find(Popular(page=number).key, ListedPage) for number in range(1, 31)]
        assert len({entry.best_before for entry in kept}) > 20


async def test_a_page_that_many_ask_for_is_renewed_before_it_ends() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(1)]
        found = await hub.discover_movies(listing=Popular(), page=PageRequest())
        hub.clock.advance(found.provenance.until - hub.clock.now() - timedelta(seconds=1))
        for _ in range(100):
            found = await hub.discover_movies(listing=Popular(), page=PageRequest())
            assert found.provenance.until > hub.clock.now()
        await hub.discover_movies.shelf.flights.settled()
        assert hub.catalogue.calls == [Popular(), Popular()]


async def test_when_one_of_several_pages_is_missing_our_own_films_answer() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(n) for n in range(60)]
        await hub.discover_movies(listing=Popular(), page=PageRequest(1, 20))
        hub.catalogue.out = True
        found = await hub.discover_movies(listing=Popular(), page=PageRequest(1, 40))
        assert (found.provenance.source, found.page.total) == ("local", 20)


async def test_nothing_past_the_catalogues_last_page_is_asked_for() -> None:
    async with harness() as hub:
        with pytest.raises(NoSuchPage):
            await hub.discover_movies(listing=Popular(), page=PageRequest(1_001, 10))
        assert hub.catalogue.calls == []


async def test_recommendations_of_a_film_that_the_catalogue_has_lost_are_our_own() -> None:
    async with harness() as hub:
        solaris, stalker = await hub.knows(film(1), film(2))
        hub.catalogue.films.clear()
        found = await hub.recommend_movies(movie_id=solaris.id, page=PageRequest())
        assert ([marked.movie for marked in found.page.items], found.provenance.source) == ([stalker], "local")
        with pytest.raises(NoSuchPage):
            await hub.recommend_movies(movie_id=solaris.id, page=PageRequest(2))
        with pytest.raises(MovieNotFound):
            await hub.discover_movies(listing=Recommended(tmdb_id=77), page=PageRequest())


async def test_a_catalogue_that_has_not_got_a_film_is_not_asked_again_at_once_for_more_like_it() -> None:
    async with harness() as hub:
        solaris, _ = await hub.knows(film(1), film(2))
        lost = hub.catalogue.films[:]
        hub.catalogue.films.clear()
        for _ in range(3):
            found = await hub.recommend_movies(movie_id=solaris.id, page=PageRequest())
            assert found.provenance.source == "local"
        assert len(hub.catalogue.calls) == 1
        hub.catalogue.films = lost
        hub.clock.advance(timedelta(seconds=60))
        found = await hub.recommend_movies(movie_id=solaris.id, page=PageRequest())
        assert found.provenance.source == "tmdb"


async def test_a_search_keeps_the_catalogues_order_unless_asked_for_another() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(3), film(1), film(2, genre_ids=(35,))]
        search = hub.search_movies
        assert titles(await search(query=" FILM ", page=PageRequest())) == ["Film 003", "Film 001", "Film 002"]
        wanted = MovieFilter(genres=(18,))
        assert titles(await search(query="film", page=PageRequest(), wanted=wanted)) == ["Film 003", "Film 001"]
        wanted = MovieFilter(ordering="title")
        found = await search(query="film", page=PageRequest(), wanted=wanted, ordered=True)
        assert titles(found) == ["Film 001", "Film 002", "Film 003"]
        assert hub.catalogue.calls == [Search(query="film")]


async def test_while_the_catalogue_is_out_a_search_with_a_typing_error_is_answered_by_our_own_films() -> None:
    async with harness() as hub:
        await hub.knows(film(1, title="The Matrix"), film(2, title="Matrix Reloaded", genre_ids=(28,)), film(3))
        hub.catalogue.out = True
        found = await hub.search_movies(query="matrxi", page=PageRequest())
        assert titles(found) == ["The Matrix", "Matrix Reloaded"]
        assert (found.provenance.source, found.provenance.cached) == ("local", False)
        second = await hub.search_movies(query="matrxi", page=PageRequest(2, 1))
        assert (titles(second), second.page.total) == (["Matrix Reloaded"], 2)
        narrowed = await hub.search_movies(query="matrxi", page=PageRequest(), wanted=MovieFilter(genres=(28,)))
        assert titles(narrowed) == ["Matrix Reloaded"]
        exact = await hub.search_movies(query="film", page=PageRequest())
        assert titles(exact) == ["Film 003"]
        for query in ("matrxi", "film"):
            with pytest.raises(Unavailable):  # for the catalogue may have more of them
                await hub.search_movies(query=query, page=PageRequest(2))


@pytest.mark.parametrize("page", [PageRequest(), PageRequest(2)])
async def test_while_the_catalogue_is_out_a_search_for_nonsense_is_no_empty_list(page: PageRequest) -> None:
    async with harness() as hub:
        await hub.knows(film(1, title="The Matrix"))
        hub.catalogue.out = True
        for wanted in (None, MovieFilter(genres=(18,))):
            with pytest.raises(Unavailable):
                await hub.search_movies(query="xqzwvk", page=page, wanted=wanted)


async def test_what_everybody_looks_at_is_fetched_before_anybody_asks() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(n) for n in range(200)]
        assert await hub.warm_listings(ahead=timedelta(minutes=2)) == 20
        assert await hub.warm_listings(ahead=timedelta(minutes=2)) == 0
        asked = len(hub.catalogue.calls)
        for listing in (Trending(window="day"), Trending(window="week"), Popular(), TopRated()):
            found = await hub.discover_movies(listing=listing, page=PageRequest(1, 100))
            assert found.provenance.cached
        assert len(hub.catalogue.calls) == asked == 20


async def test_one_page_that_cannot_be_had_keeps_nobody_from_having_the_others_warm() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(n) for n in range(200)]
        hub.catalogue.out_for = {Trending(window="day", page=2)}
        with pytest.raises(Unavailable):
            await hub.warm_listings(ahead=timedelta(minutes=2))
        assert len(hub.catalogue.calls) == 20
        hub.catalogue.out_for = set()
        assert await hub.warm_listings(ahead=timedelta(minutes=2)) == 1


async def test_what_is_warm_is_fetched_again_when_it_would_not_last() -> None:
    async with harness() as hub:
        hub.catalogue.films = [film(n) for n in range(200)]
        await hub.warm_listings(ahead=timedelta(minutes=2))
        hub.clock.advance(timedelta(minutes=11))
        assert await hub.warm_listings(ahead=timedelta(minutes=2)) == 0
        hub.clock.advance(timedelta(minutes=2))
        assert await hub.warm_listings(ahead=timedelta(minutes=2)) == 20
        hub.catalogue.out = True
        hub.clock.advance(timedelta(minutes=15))
        with pytest.raises(Unavailable):
            await hub.warm_listings(ahead=timedelta(minutes=2))
        assert (await hub.discover_movies(listing=Popular(), page=PageRequest())).provenance.cached


async def test_lists_show_what_the_person_has_said() -> None:
    async with harness() as hub:
        (solaris,) = await hub.knows(film(1))
        alice = await hub.register(username="alice", email="alice@example.org", password="correct horse")
        await hub.rate_movie(user_id=alice.id, movie_id=solaris.id, score=9)
        await hub.add_favorite(user_id=alice.id, movie_id=solaris.id)
        (hers,) = (await hub.discover_movies(listing=Popular(), page=PageRequest(), user_id=alice.id)).page.items
        (anybodys,) = (await hub.discover_movies(listing=Popular(), page=PageRequest())).page.items
        assert hers.mark.rating is not None
        assert (hers.mark.rating.opinion.score, hers.mark.favorite is not None) == (9, True)
        assert (anybodys.mark.rating, anybodys.mark.favorite) == (None, None)
