"""What every catalogue of films owes; a subclass has a fixture `catalogue` with at least 45 films."""

import math
import unicodedata
from datetime import date

import pytest

from moviehub.application.ports import Catalogue
from moviehub.domain.listings import Listing, Popular, Recommended, Search, TopRated, Trending, normalized_query
from moviehub.domain.movies import MovieFacts, MovieNotFound

LISTS = (Popular(), TopRated(), Trending(window="day"), Trending(window="week"))


def assert_valid(facts: MovieFacts) -> None:
    """These facts can be kept and shown."""
    assert type(facts.tmdb_id) is int
    assert 0 < facts.tmdb_id < 2**53
    assert facts.title
    assert facts.title == facts.title.strip()
    for text in (facts.title, facts.overview, facts.original_language):
        assert isinstance(text, str)
        assert not {unicodedata.category(c) for c in text.translate({10: None, 13: None, 9: None})} & {"Cc", "Cs"}
    assert "\n" not in facts.title
    assert len(facts.title) <= 500
    assert len(facts.overview) <= 10_000
    assert len(facts.original_language) <= 35
    assert facts.release_date is None or type(facts.release_date) is date
    for path in (facts.poster_path, facts.backdrop_path):
        assert path is None or (path.startswith("/") and len(path) <= 200 and path.isascii() and path.isprintable())
    assert 0 <= facts.popularity < math.inf
    assert 0 <= facts.vote_average <= 10
    assert type(facts.vote_count) is int
    assert 0 <= facts.vote_count < 2**31
    assert all(type(number) is int and 0 < number < 2**31 for number in facts.genre_ids)
    assert len(set(facts.genre_ids)) == len(facts.genre_ids)


class CatalogueContract:
    @pytest.mark.parametrize("listing", LISTS, ids=lambda listing: listing.key)
    async def test_a_page_holds_at_most_twenty_films_and_none_twice(
        self, catalogue: Catalogue, listing: Listing
    ) -> None:
        for number in (1, 2):
            told = await catalogue.page(listing.on_page(number))
            assert len({film.tmdb_id for film in told.facts}) == len(told.facts) == 20
            for film in told.facts:
                assert_valid(film)

    @pytest.mark.parametrize("listing", LISTS, ids=lambda listing: listing.key)
    async def test_every_page_tells_the_same_total(self, catalogue: Catalogue, listing: Listing) -> None:
        first, second = await catalogue.page(listing), await catalogue.page(listing.on_page(2))
        assert 40 < first.total <= 10_000
        assert second.total == first.total
        assert second.facts != first.facts

    async def test_past_its_end_a_listing_is_empty(self, catalogue: Catalogue) -> None:
        film = (await catalogue.page(Popular())).facts[3]
        search = Search(query=normalized_query(film.title))
        assert (await catalogue.page(search)).facts
        assert (await catalogue.page(search.on_page(400))).facts == ()

    async def test_a_page_that_no_catalogue_has_is_empty(self, catalogue: Catalogue) -> None:
        assert (await catalogue.page(Popular(page=501))).facts == ()

    async def test_a_film_is_told_by_its_id(self, catalogue: Catalogue) -> None:
        for film in (await catalogue.page(Popular())).facts:
            assert await catalogue.movie(film.tmdb_id) == film

    @pytest.mark.parametrize("tmdb_id", [0, -1, 1, 2**31, 2**70])
    async def test_a_film_that_is_not_there_is_not_found(self, catalogue: Catalogue, tmdb_id: int) -> None:
        with pytest.raises(MovieNotFound):
            await catalogue.movie(tmdb_id)

    async def test_a_film_is_found_by_its_title(self, catalogue: Catalogue) -> None:
        for film in (await catalogue.page(TopRated())).facts[:5]:
            told = await catalogue.page(Search(query=normalized_query(film.title)))
            assert film.tmdb_id in [found.tmdb_id for found in told.facts]
            assert told.total >= len(told.facts)

    async def test_a_search_can_be_narrowed_to_a_year(self, catalogue: Catalogue) -> None:
        films = (await catalogue.page(Popular())).facts
        film = next(film for film in films if film.release_date)
        assert film.release_date
        search = Search(query=normalized_query(film.title), year=film.release_date.year)
        told = await catalogue.page(search)
        assert film in told.facts
        assert {found.release_date.year for found in told.facts if found.release_date} == {search.year}
        assert (await catalogue.page(Search(query=search.query, year=1871))).facts == ()

    async def test_what_no_film_is_called_finds_nothing(self, catalogue: Catalogue) -> None:
        told = await catalogue.page(Search(query="xyzzy plugh plover"))
        assert (told.facts, told.total) == ((), 0)

    async def test_a_film_is_never_recommended_to_those_who_liked_it(self, catalogue: Catalogue) -> None:
        liked = (await catalogue.page(Popular())).facts[0]
        told = await catalogue.page(Recommended(tmdb_id=liked.tmdb_id))
        assert 0 < len(told.facts) <= 20
        assert liked not in told.facts
        assert len({film.tmdb_id for film in told.facts}) == len(told.facts) <= told.total

    async def test_nothing_is_recommended_for_a_film_that_is_not_there(self, catalogue: Catalogue) -> None:
        with pytest.raises(MovieNotFound):
            await catalogue.page(Recommended(tmdb_id=1))

    async def test_every_genre_of_a_film_is_known(self, catalogue: Catalogue) -> None:
        genres = await catalogue.genres()
        numbers = [genre.id for genre in genres]
        assert len(set(numbers)) == len(numbers)
        assert all(genre.name for genre in genres)
        for film in (await catalogue.page(Popular())).facts:
            assert set(film.genre_ids) <= set(numbers)

    async def test_what_changed_on_two_days_is_what_changed_on_each(self, catalogue: Catalogue) -> None:
        first, second = date(2026, 2, 28), date(2026, 3, 1)
        both = await catalogue.changed(first, second)
        assert both == await catalogue.changed(first, first) | await catalogue.changed(second, second)
        assert all(type(tmdb_id) is int and 0 < tmdb_id < 2**53 for tmdb_id in both)
