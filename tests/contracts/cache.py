"""What every cache owes; a subclass has fixtures `clock` and `cache`, and the cache uses that clock."""

from datetime import date, timedelta

import pytest

from moviehub.adapters.memory.clock import MemoryClock
from moviehub.application.ports import Cache, Cached
from moviehub.domain.listings import ListedPage
from moviehub.domain.movies import Genre, Movie, MovieFacts

FACTS = MovieFacts(
    tmdb_id=7,
    title="Ünder 夜 \N{CLAPPER BOARD}",
    overview="Two lines.\nOf text.",
    release_date=date(1999, 12, 31),
    poster_path="/a.jpg",
    popularity=1e-05,
    vote_average=7.125,
    vote_count=3,
    original_language="de",
    genre_ids=(18, 35),
)
GENRES = (Genre(1, "One"), Genre(2, "Two"))


def listed(clock: MemoryClock) -> ListedPage:
    now = clock.now()
    bare = MovieFacts(tmdb_id=8, title="Bare")
    movies = tuple(
        Movie(id=n, facts=facts, created_at=now, updated_at=now + timedelta(microseconds=1), fetched_at=now)
        for n, facts in enumerate((FACTS, bare), 1)
    )
    return ListedPage(movies, 2)


class CacheContract:
    async def test_what_was_never_kept_is_not_found(self, cache: Cache) -> None:
        assert await cache.find("nothing", MovieFacts) is None

    async def test_what_was_kept_is_found_as_it_was(self, cache: Cache, clock: MemoryClock) -> None:
        since, until = clock.now() - timedelta(microseconds=1), clock.now() + timedelta(seconds=60, microseconds=7)
        page = Cached(listed(clock), since, until)
        genres = Cached(GENRES, since, until)
        facts = Cached(FACTS, since, until)
        await cache.keep("page", page)
        await cache.keep("genres", genres)
        await cache.keep("facts", facts)
        assert await cache.find("page", ListedPage) == page
        assert await cache.find("genres", tuple[Genre, ...]) == genres
        assert await cache.find("facts", MovieFacts) == facts

    async def test_an_entry_is_good_until_its_time_is_over(self, cache: Cache, clock: MemoryClock) -> None:
        await cache.keep("facts", Cached(FACTS, clock.now(), clock.now() + timedelta(seconds=60)))
        clock.advance(seconds=59.9)
        assert await cache.find("facts", MovieFacts) is not None
        clock.advance(seconds=0.1)
        assert await cache.find("facts", MovieFacts) is None

    async def test_the_last_entry_under_a_key_is_the_one(self, cache: Cache, clock: MemoryClock) -> None:
        until = clock.now() + timedelta(seconds=60)
        other = MovieFacts(tmdb_id=9, title="Other")
        await cache.keep("facts", Cached(FACTS, clock.now(), until))
        await cache.keep("facts", Cached(other, clock.now(), until))
        found = await cache.find("facts", MovieFacts)
        assert found is not None
        assert found.value == other

    async def test_an_entry_whose_time_is_over_replaces_a_good_one(self, cache: Cache, clock: MemoryClock) -> None:
        await cache.keep("facts", Cached(FACTS, clock.now(), clock.now() + timedelta(seconds=60)))
        await cache.keep("facts", Cached(FACTS, clock.now(), clock.now()))
        assert await cache.find("facts", MovieFacts) is None

    async def test_an_entry_of_another_kind_is_not_found(self, cache: Cache, clock: MemoryClock) -> None:
        until = clock.now() + timedelta(seconds=60)
        await cache.keep("facts", Cached(FACTS, clock.now(), until))
        await cache.keep("genres", Cached(GENRES, clock.now(), until))
        assert await cache.find("facts", ListedPage) is None
        assert await cache.find("facts", tuple[Genre, ...]) is None
        assert await cache.find("genres", MovieFacts) is None

    @pytest.mark.parametrize("key", ["", "a b", "夜", "*", "\ud800", "\0", "k" * 5_000])
    async def test_a_key_may_be_any_text(self, cache: Cache, clock: MemoryClock, key: str) -> None:
        await cache.keep(key, Cached(FACTS, clock.now(), clock.now() + timedelta(seconds=60)))
        assert await cache.find(key, MovieFacts) is not None
        assert await cache.find(key + "x", MovieFacts) is None

    async def test_after_a_flush_nothing_is_found(self, cache: Cache, clock: MemoryClock) -> None:
        for number in range(50):
            await cache.keep(f"facts {number}", Cached(FACTS, clock.now(), clock.now() + timedelta(seconds=60)))
        told: list[int] = []
        await cache.flush(told.append)
        assert told[-1] >= 50
        assert told == sorted(told)
        assert [await cache.find(f"facts {number}", MovieFacts) for number in range(50)] == [None] * 50
        await cache.keep("facts 1", Cached(FACTS, clock.now(), clock.now() + timedelta(seconds=60)))
        assert await cache.find("facts 1", MovieFacts) is not None
