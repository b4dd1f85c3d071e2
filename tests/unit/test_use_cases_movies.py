"""What people can do with the hub's own films, without HTTP."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from moviehub.domain.errors import Unavailable
from moviehub.domain.movies import GENRES, MovieFilter, MovieNotFound
from moviehub.domain.pages import PageRequest
from moviehub.entrypoints.harness import harness
from tests.api import film


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


async def test_genres_are_asked_for_once_a_day() -> None:
    async with harness() as hub:
        for _ in range(3):
            assert (await hub.list_genres()).genres == GENRES
        assert hub.catalogue.calls == ["genres"]
        hub.clock.advance(timedelta(days=1))
        await hub.list_genres()
        assert hub.catalogue.calls == ["genres", "genres"]


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
