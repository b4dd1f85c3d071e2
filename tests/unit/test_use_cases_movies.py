"""What people can do with the hub's own films, without HTTP."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta

import pytest

from moviehub.adapters.memory.catalogue import MemoryCatalogue
from moviehub.application.movies import MOST_CHANGES, MOST_FAILED, OLDEST, Refreshed
from moviehub.domain.errors import Unavailable
from moviehub.domain.movies import GENRES, Movie, MovieFacts, MovieFilter, MovieNotFound
from moviehub.domain.pages import PageRequest
from moviehub.entrypoints.harness import Harness, harness
from tests.api import film


async def kept(hub: Harness, movie: Movie) -> Movie:
    async with hub.container.storage().reading() as uow:
        found: Movie = await uow.movies.get(movie.id)
    return found


class Torn(MemoryCatalogue):
    """Tells of no film that is in `torn`, and of all others."""

    torn: frozenset[int] = frozenset()

    async def movie(self, tmdb_id: int) -> MovieFacts:
        facts = await super().movie(tmdb_id)
        if tmdb_id in self.torn:
            raise Unavailable("This film is told as nonsense.")
        return facts


async def test_a_fresh_film_is_not_asked_for() -> None:
    async with harness() as hub:
        (solaris,) = await hub.knows(film(1))
        hub.clock.advance(timedelta(days=1))
        assert (await hub.get_movie(movie_id=solaris.id)).detail.movie == solaris
        assert 1001 not in hub.catalogue.calls


async def test_a_film_that_did_not_change_keeps_the_instant_of_its_last_change() -> None:
    async with harness() as hub:
        (solaris,) = await hub.knows(film(1))
        hub.clock.advance(timedelta(days=2))
        assert (await hub.get_movie(movie_id=solaris.id)).detail.movie == solaris
        await hub.get_movie.flights.settled()
        movie = (await hub.get_movie(movie_id=solaris.id)).detail.movie
        assert (movie.updated_at, movie.fetched_at) == (solaris.updated_at, hub.clock.now())


async def test_after_a_failure_the_catalogue_is_left_alone_for_a_minute() -> None:
    async with harness() as hub:
        (solaris,) = await hub.knows(film(1))
        hub.clock.advance(timedelta(days=2))
        hub.catalogue.out = True
        for _ in range(5):
            assert (await hub.get_movie(movie_id=solaris.id)).detail.movie == solaris
            await hub.get_movie.flights.settled()
        assert hub.catalogue.calls.count(1001) == 1
        hub.catalogue.out = False
        hub.catalogue.films[0] = replace(hub.catalogue.films[0], title="Renamed")
        hub.clock.advance(seconds=60)
        await hub.get_movie(movie_id=solaris.id)
        await hub.get_movie.flights.settled()
        assert (await hub.get_movie(movie_id=solaris.id)).detail.movie.facts.title == "Renamed"


async def test_of_many_who_look_at_an_old_film_one_has_it_fetched() -> None:
    async with harness() as hub:
        (solaris,) = await hub.knows(film(1))
        hub.clock.advance(timedelta(days=2))
        await asyncio.gather(*(hub.get_movie(movie_id=solaris.id) for _ in range(20)))
        await hub.get_movie.flights.settled()
        assert hub.catalogue.calls.count(1001) == 1


async def test_a_film_by_the_catalogues_id_is_kept_once() -> None:
    async with harness() as hub:
        hub.catalogue.films.append(film(7))
        first = await hub.get_movie_by_tmdb_id(tmdb_id=1007)
        again = await hub.get_movie_by_tmdb_id(tmdb_id=1007)
        assert first.detail.movie.id == again.detail.movie.id
        assert hub.catalogue.calls.count(1007) == 1
        for _ in range(3):
            with pytest.raises(MovieNotFound):
                await hub.get_movie_by_tmdb_id(tmdb_id=1)
        assert hub.catalogue.calls.count(1) == 1
        hub.clock.advance(seconds=60)
        hub.catalogue.out = True
        with pytest.raises(Unavailable):
            await hub.get_movie_by_tmdb_id(tmdb_id=1)


async def test_a_hundred_who_ask_at_once_for_a_film_that_the_hub_has_not_met_cost_one_call() -> None:
    async with harness() as hub:
        hub.catalogue.films.append(film(7))
        seen = await asyncio.gather(*(hub.get_movie_by_tmdb_id(tmdb_id=1007) for _ in range(100)))
        assert len({each.detail.movie.id for each in seen}) == 1
        assert hub.catalogue.calls.count(1007) == 1
        missed = await asyncio.gather(
            *(hub.get_movie_by_tmdb_id(tmdb_id=1) for _ in range(100)), return_exceptions=True
        )
        assert {type(each) for each in missed} == {MovieNotFound}
        assert hub.catalogue.calls.count(1) == 1


async def test_a_film_that_the_catalogue_drops_is_shown_on_and_marked_until_it_is_told_of_again() -> None:
    async with harness() as hub:
        (solaris,) = await hub.knows(film(1))
        hub.clock.advance(timedelta(days=2))
        dropped_at = hub.clock.now()
        hub.catalogue.films.clear()
        for _ in range(2):
            assert (await hub.get_movie(movie_id=solaris.id)).detail.movie.facts == solaris.facts
            await hub.get_movie.flights.settled()
            assert await kept(hub, solaris) == replace(solaris, fetched_at=hub.clock.now(), dropped_at=dropped_at)
            hub.clock.advance(timedelta(days=2))
        hub.catalogue.films.append(film(1))
        assert await hub.refresh_movie(movie=await kept(hub, solaris)) == solaris.facts
        assert await kept(hub, solaris) == replace(solaris, fetched_at=hub.clock.now())


async def test_films_that_changed_are_confirmed_before_anybody_asks() -> None:
    async with harness() as hub:
        changed, lost, same = await hub.knows(film(1), film(2), film(3))
        hub.clock.advance(timedelta(days=2))
        hub.catalogue.films = [film(1, title="Renamed"), film(3)]
        hub.catalogue.changes = {1001, 1002, 9999}
        assert await hub.refresh_changed_movies() == Refreshed(confirmed=1, dropped=1)
        assert hub.catalogue.calls == ["changes", 1001, 1002]
        assert (await kept(hub, changed)).facts.title == "Renamed"
        assert (await kept(hub, lost)).dropped_at == hub.clock.now()
        assert await kept(hub, same) == same
        assert await hub.refresh_changed_movies() == Refreshed(), "what was done is not done again"


async def test_changes_are_asked_for_since_the_last_time_and_no_longer_than_the_catalogue_tells() -> None:
    async with harness() as hub:
        asked: list[int] = []

        class Watched(MemoryCatalogue):
            async def changed(self, since: date, until: date) -> frozenset[int]:
                asked.append((until - since).days)
                return frozenset()

        refresh = replace(hub.refresh_changed_movies, catalogue=Watched())
        for days in (0, 3, 13, 40):
            hub.clock.advance(timedelta(days=days))
            await refresh()
        assert asked == [2, 4, 13, 2]
        assert max(asked) <= MOST_CHANGES.days


async def test_films_that_have_become_old_are_confirmed_though_nothing_changed() -> None:
    async with harness() as hub:
        (old,) = await hub.knows(film(1))
        hub.clock.advance(timedelta(days=1))
        (young,) = await hub.knows(film(2))
        hub.clock.advance(OLDEST)
        assert await hub.refresh_old_movies() == Refreshed(confirmed=1)
        assert await kept(hub, old) == replace(old, fetched_at=hub.clock.now())
        assert await kept(hub, young) == young


async def test_a_film_that_cannot_be_had_is_passed_over_and_a_catalogue_that_is_out_is_not_asked_on() -> None:
    async with harness() as hub:
        films = [film(number) for number in range(1, MOST_FAILED + 3)]
        await hub.knows(*films)
        hub.clock.advance(timedelta(days=2))
        catalogue = Torn(films)
        catalogue.changes = {each.tmdb_id for each in films}
        catalogue.torn = frozenset(each.tmdb_id for each in films[1:])
        refresh_movie = replace(hub.refresh_movie, catalogue=catalogue)
        refresh = replace(hub.refresh_changed_movies, catalogue=catalogue, refresh_movie=refresh_movie)
        with pytest.raises(Unavailable):
            await refresh()
        assert catalogue.calls == ["changes", *(each.tmdb_id for each in films[: MOST_FAILED + 1])]
        catalogue.torn = frozenset(each.tmdb_id for each in films[1:MOST_FAILED])
        assert await refresh() == Refreshed(confirmed=2), "the first was confirmed and is kept so"


async def test_genres_are_asked_for_once_a_day_and_older_ones_are_shown_meanwhile() -> None:
    async with harness() as hub:
        for _ in range(3):
            assert (await hub.list_genres()).genres == GENRES
        assert hub.catalogue.calls == ["genres"]
        hub.clock.advance(timedelta(days=1))
        hub.catalogue.out = True
        old = await hub.list_genres()
        await hub.container.flights().settled()
        assert hub.catalogue.calls == ["genres", "genres"]
        assert (old.provenance.source, old.provenance.cached) == ("tmdb", True)
        assert old.provenance.until <= hub.clock.now()
        hub.clock.advance(timedelta(days=1))
        assert (await hub.list_genres()).provenance.source == "local"


async def test_of_many_who_want_the_genres_at_once_one_asks() -> None:
    async with harness() as hub:
        told = await asyncio.gather(*(hub.list_genres() for _ in range(20)))
        assert {each.genres for each in told} == {GENRES}
        assert hub.catalogue.calls == ["genres"]


async def test_genres_of_our_own_hold_for_a_minute() -> None:
    async with harness() as hub:
        hub.catalogue.out = True
        for _ in range(3):
            assert (await hub.list_genres()).genres == GENRES
        hub.clock.advance(seconds=60)
        await hub.list_genres()
        assert hub.catalogue.calls == ["genres", "genres"]


async def test_the_list_is_the_hubs_own() -> None:
    async with harness() as hub:
        await hub.knows(film(1), film(2))
        hub.catalogue.films.append(film(3))
        page = await hub.list_movies(wanted=MovieFilter(), page=PageRequest())
        assert [marked.movie.facts.tmdb_id for marked in page.items] == [1001, 1002]
        assert hub.catalogue.calls == []
