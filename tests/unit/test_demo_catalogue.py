"""The catalogues that need no network: the demo's, and the one that tests set."""

import time
from datetime import date

import pytest

from moviehub.adapters.demo.catalogue import FIRST_ID, LAST_ID, DemoCatalogue, _film
from moviehub.adapters.memory.catalogue import MemoryCatalogue
from moviehub.adapters.memory.clock import MemoryClock
from moviehub.adapters.system.clock import SystemClock
from moviehub.application.ports import Catalogue
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import LAST_PAGE, Listing, Popular, Recommended, Search, TopRated, Trending
from moviehub.domain.movies import GENRES, MovieFacts
from tests.contracts.catalogue import CatalogueContract, assert_valid


async def everything(catalogue: Catalogue, listing: Listing) -> list[MovieFacts]:
    films: list[MovieFacts] = []
    for number in range(1, LAST_PAGE + 1):
        told = (await catalogue.page(listing.on_page(number))).facts
        films += told
        if not told:
            break
    return films


class TestMemoryCatalogue(CatalogueContract):
    @pytest.fixture
    def catalogue(self) -> MemoryCatalogue:
        return MemoryCatalogue(
            MovieFacts(
                tmdb_id=100 + number,
                title=f"Film {number}é",
                release_date=date(1950 + number, 1, 1),
                popularity=float(number * 7 % 45),
                vote_average=number * 11 % 45 / 4.5,
                genre_ids=(GENRES[number % 3].id,),
            )
            for number in range(45)
        )

    async def test_when_it_is_out_it_says_so(self, catalogue: MemoryCatalogue) -> None:
        catalogue.out = True
        for asked in (
            catalogue.page(Popular()),
            catalogue.movie(100),
            catalogue.genres(),
            catalogue.changed(date(2026, 3, 1), date(2026, 3, 1)),
        ):
            with pytest.raises(Unavailable):
                await asked
        assert catalogue.calls == [Popular(), 100, "genres", "changes"]

    async def test_what_changed_is_what_the_test_says(self, catalogue: MemoryCatalogue) -> None:
        catalogue.changes = {100, 7}
        assert await catalogue.changed(date(2026, 3, 1), date(2026, 3, 1)) == {100, 7}

    async def test_popular_films_come_in_the_order_given(self, catalogue: MemoryCatalogue) -> None:
        catalogue.films = catalogue.films[::-1]
        assert (await catalogue.page(Popular())).facts == tuple(catalogue.films[:20])


class TestDemoCatalogue(CatalogueContract):
    @pytest.fixture
    def catalogue(self) -> DemoCatalogue:
        return DemoCatalogue()

    async def test_every_film_is_good_and_of_its_own_range(self, catalogue: DemoCatalogue) -> None:
        films = await everything(catalogue, Popular())
        assert len(films) >= 300
        assert len({film.tmdb_id for film in films}) == len(films)
        for film in films:
            assert_valid(film)
            assert FIRST_ID <= film.tmdb_id <= LAST_ID
            assert film.overview
            assert film.release_date
            assert film.genre_ids
            assert film.vote_count

    async def test_nothing_of_the_demo_ever_changes(self, catalogue: DemoCatalogue) -> None:
        assert await catalogue.changed(date(2026, 3, 1), date(2026, 3, 14)) == frozenset()

    async def test_every_list_holds_every_film_in_an_order_of_its_own(self, catalogue: DemoCatalogue) -> None:
        listings = (Popular(), TopRated(), Trending(window="day"), Trending(window="week"))
        orders = [[film.tmdb_id for film in await everything(catalogue, listing)] for listing in listings]
        assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(orders[0]))}
        assert len({tuple(order) for order in orders}) == len(orders)

    async def test_the_popular_are_popular_and_the_top_rated_well_liked(self, catalogue: DemoCatalogue) -> None:
        popular = [film.popularity for film in await everything(catalogue, Popular())]
        rated = [film.vote_average for film in await everything(catalogue, TopRated())]
        assert popular == sorted(popular, reverse=True)
        assert rated == sorted(rated, reverse=True)

    async def test_what_is_invented_is_the_same_at_every_start(self, catalogue: DemoCatalogue) -> None:
        assert await everything(DemoCatalogue(), TopRated()) == await everything(catalogue, TopRated())

    def test_a_film_keeps_its_id_and_votes_for_good(self) -> None:
        # Databases hold these ids: a change here would make strangers of all the demo's films.
        film = _film("Metropolis", "de", "1927-01-10", "Drama|Science Fiction", "A city.")
        assert film.tmdb_id == 937_377_463
        assert (film.vote_count, film.vote_average, film.popularity) == (2248, 6.998, 563.683)
        assert film.genre_ids == (18, 878)

    async def test_a_search_wants_every_word_in_any_order(self, catalogue: DemoCatalogue) -> None:
        films = await everything(catalogue, Popular())
        film = next(film for film in films if len(film.title_key.split()) >= 3)
        words = film.title_key.split()
        assert film in (await catalogue.page(Search(query=" ".join(words[::-1])))).facts
        assert film not in await everything(catalogue, Search(query=f"{words[0]} xyzzy"))

    async def test_the_best_hit_comes_first(self, catalogue: DemoCatalogue) -> None:
        for query in ("the", "m", "man"):
            keys = [film.title_key for film in await everything(catalogue, Search(query=query))]
            ranks = [0 if key == query else 1 if key.startswith(query) else 2 for key in keys]
            assert len(keys) > 3
            assert ranks == sorted(ranks)

    async def test_a_blank_search_finds_nothing(self, catalogue: DemoCatalogue) -> None:
        assert (await catalogue.page(Search(query=" "))).total == 0

    async def test_recommended_films_share_most_genres_and_then_the_time(self, catalogue: DemoCatalogue) -> None:
        for liked in (await catalogue.page(TopRated())).facts[:5]:
            films = await everything(catalogue, Recommended(tmdb_id=liked.tmdb_id))
            assert liked.release_date
            ranks = [
                (
                    -len(set(film.genre_ids) & set(liked.genre_ids)),
                    abs(film.release_date.year - liked.release_date.year),
                )
                for film in films
                if film.release_date
            ]
            assert [(shared, years // 10) for shared, years in ranks] == sorted(
                (shared, years // 10) for shared, years in ranks
            )
            assert ranks[-1][0] < 0

    def test_it_is_ready_soon(self) -> None:
        started = time.process_time()
        DemoCatalogue()
        assert time.process_time() - started < 0.5


def test_the_machine_s_clock_is_aware_and_goes_on() -> None:
    first = SystemClock().now()
    assert first.utcoffset() is not None
    assert SystemClock().now() >= first


def test_the_memory_s_clock_stands_until_it_is_moved() -> None:
    clock = MemoryClock()
    start = clock.now()
    assert clock.now() == start
    clock.advance(seconds=1.5)
    assert (clock.now() - start).total_seconds() == 1.5
    clock.at = start
    assert clock.now() == start
