"""Pages of films from Postgres: films at hand are used while they are the very same, and no page skips in vain."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from moviehub.adapters.postgres.counts import Counts
from moviehub.adapters.postgres.favorites import PostgresFavorites
from moviehub.adapters.postgres.films import READ, IdentityMap
from moviehub.adapters.postgres.movies import PostgresMovies
from moviehub.adapters.postgres.ratings import PostgresRatings
from moviehub.adapters.postgres.signposts import Signposts
from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.application.storage import Storage, UnitOfWork
from moviehub.domain.movies import FRESH_FOR, ORDERINGS, Movie, MovieFilter
from moviehub.domain.pages import NoSuchPage, Page, PageRequest
from moviehub.domain.ratings import Opinion
from tests.contracts.storage import NOW, Broken, after, facts, keep, rate, register, remember

PATIENT: dict[str, Any] = {"wait_timeout": 20.0, "connect_timeout": 20.0, "command_timeout": 20.0}
ALL = MovieFilter()


@pytest.fixture
async def storage(migrated_url: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(migrated_url, count_ttl=60, **PATIENT)
    yield storage
    await storage.close()


class Told(Runs):
    """Tells what another is given to run, and does something before it runs it."""

    def __init__(self, run: Runs) -> None:
        self.run = run
        self.told: list[tuple[Statement, dict[str, Any]]] = []
        self.before: Callable[[Statement], Any] | None = None

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        self.told.append((statement, values))
        if self.before is not None:
            await self.before(statement)
        return await self.run.rows(statement, **values)

    @property
    def read(self) -> list[int]:
        """The films that were read, one by one."""
        return sorted(
            movie_id for statement, values in self.told if statement is READ for movie_id in values["movie_ids"]
        )

    @property
    def skipped(self) -> int:
        """How many films lists have skipped."""
        return sum(values.get("skipped", 0) for _, values in self.told)


async def films(storage: Storage, page: PageRequest | None = None) -> tuple[Movie, ...]:
    async with storage.reading() as uow:
        return (await uow.movies.list(MovieFilter(ordering="created_at"), page or PageRequest())).items


async def test_as_long_as_its_row_is_the_same_a_film_is_the_same_object_on_every_list(storage: PostgresStorage) -> None:
    user = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await keep(storage, user, movie)
    await rate(storage, user, movie, 5)
    (first,) = await films(storage)
    assert first == movie
    await remember(storage, facts(1), facts(2), at=after(1))  # nothing new of the first
    assert (await films(storage))[0] is first

    async def seen(uow: UnitOfWork) -> list[Movie]:
        (listed,) = (await uow.movies.list(MovieFilter(search="1"), PageRequest())).items
        (kept,) = (await uow.favorites.list(user.id, PageRequest())).items
        (rated,) = (await uow.ratings.list(user.id, PageRequest())).items
        return [listed, kept.movie, rated.movie]

    async with storage.reading() as uow:
        assert all(each is first for each in await seen(uow))
    async with storage.transaction() as uow:
        assert all(each is first for each in await seen(uow))


async def test_a_film_that_changed_is_another_one_at_once_whoever_changed_it(
    storage: PostgresStorage, migrated_url: str
) -> None:
    other = PostgresStorage(migrated_url, **PATIENT)
    await remember(storage, facts(1), facts(2))
    before, unchanged = await films(storage)
    for number, writer in enumerate((storage, other, storage, other), 1):
        (told,) = await remember(writer, facts(1, title=f"Title {number}"), at=after(number))
        for reader in (storage, other):
            assert (await films(reader))[0] == told
    assert (await films(storage))[1] is unchanged
    (told,) = await remember(other, facts(1, title="Title 4"), at=after(5) + FRESH_FOR)
    assert told.updated_at == after(4)
    assert (await films(storage))[0] == told, "though it was only confirmed"
    async with other.autocommit() as uow:
        await uow.movies.drop(told.id, after(6))
    assert (await films(storage))[0].dropped_at == after(6)
    assert before.facts == facts(1), "and what somebody holds does not change"
    await other.close()


async def test_what_one_transaction_writes_twice_it_sees_twice_and_of_what_it_undoes_nothing_is_left(
    storage: PostgresStorage,
) -> None:
    """Both versions bear the number of the transaction."""
    (movie,) = await remember(storage, facts(1))
    with suppress(Broken):
        async with storage.transaction() as uow:
            for title in ("One", "Two", "Three"):
                (told,) = await uow.movies.remember([facts(1, title=title)], after(1))
                assert (await uow.movies.list(ALL, PageRequest())).items == (told,)
            for at in (after(2), after(3)):
                await uow.movies.drop(movie.id, at)
                assert (await uow.movies.list(ALL, PageRequest())).items[0].fetched_at == at
            raise Broken
    assert await films(storage) == (movie,)


async def test_only_what_is_not_at_hand_is_read_and_of_what_is_at_hand_the_longest_unused_goes_first(
    storage: PostgresStorage,
) -> None:
    ids = [movie.id for movie in await remember(storage, *map(facts, range(1, 9)))]
    run = Told(storage.pool)
    movies = PostgresMovies(run, IdentityMap(most=5), Counts(0, 1), Signposts(0))

    async def read(number: int, size: int) -> list[int]:
        run.told.clear()
        page = await movies.list(MovieFilter(ordering="created_at"), PageRequest(number, size))
        assert [movie.id for movie in page.items] == ids[page.request.offset : page.request.offset + size]
        return run.read

    assert await read(1, 4) == ids[:4]
    assert await read(2, 2) == []  # the third and the fourth, which are used last now
    assert await read(3, 2) == ids[4:6]  # one finds room, for the other the first goes
    assert await read(1, 2) == ids[:1]  # and for that one the third
    assert await read(2, 1) == []
    assert await read(1, 8) == ids[2:3] + ids[6:]  # more than are kept, and none is missing
    assert await read(8, 1) == []


async def test_a_film_that_vanishes_before_it_is_read_is_left_out(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    movies = await remember(storage, *map(facts, range(1, 7)))
    for movie in movies:
        await keep(storage, user, movie, at=after(movie.id))
        await rate(storage, user, movie, 5, at=after(movie.id))
    at_hand, run = IdentityMap(), Told(storage.pool)

    async def vanish(statement: Statement) -> None:
        if statement is READ:
            run.before = None
            for table in ("favorites", "ratings"):
                await operator.execute(f"DELETE FROM {table} WHERE movie_id = $1", gone.id)
            await operator.execute("DELETE FROM movies WHERE id = $1", gone.id)

    left = list(movies)
    run.before, gone = vanish, left.pop(1)
    page = await PostgresMovies(run, at_hand, Counts(0, 1), Signposts(0)).list(
        MovieFilter(ordering="created_at"), PageRequest(1, 2)
    )
    assert page.items == tuple(left[:1])
    assert page.end is not None, "more follow"
    run.before, gone = vanish, left.pop()
    kept = await PostgresFavorites(run, at_hand).list(user.id, PageRequest(1, 3))
    assert [each.movie for each in kept.items] == left[-1:-3:-1]
    at_hand = IdentityMap()
    run.before, gone = vanish, left.pop(2)
    rated = await PostgresRatings(run, at_hand, locking=False).list(user.id, PageRequest(1, 3))
    assert [each.movie for each in rated.items] == left[-1:-3:-1]
    assert all(each.mark.rating is not None and each.mark.rating.opinion == Opinion(score=5) for each in rated.items)


async def test_many_who_read_the_same_films_at_once_share_them(storage: PostgresStorage) -> None:
    await remember(storage, *map(facts, range(1, 21)))
    pages = [PageRequest(1, size) for size in range(10, 20)]
    found = await asyncio.gather(*(films(storage, page) for page in pages))
    for some in found:
        assert all(one is other for one, other in zip(some, found[-1], strict=False))


MANY = 1_500


@pytest.fixture
async def crowd(storage: PostgresStorage, operator: asyncpg.Connection) -> PostgresStorage:
    """So many films that tie in each order, every tenth without a date."""
    await operator.execute(
        f"""
        INSERT INTO movies (tmdb_id, title, title_key, overview, release_date, popularity, vote_average, vote_count,
            original_language, genre_ids, created_at, updated_at, fetched_at)
        SELECT n, 'Film ' || n % 300, 'film ' || n % 300, '', CASE WHEN n % 10 > 0 THEN date '1990-01-01' + n % 400 END,
            n % 97, n % 11, 1, CASE WHEN n % 3 > 0 THEN 'en' ELSE 'sv' END, '{{18}}',
            $1::timestamptz + n % 50 * interval '1 s', $1, $1
        FROM generate_series(1, {MANY}) AS n
        """.replace("$1", f"'{NOW.isoformat()}'")
    )
    return storage


@pytest.mark.parametrize("narrowed", [{}, {"languages": ("en",)}])
async def test_pages_by_number_are_those_that_are_found_by_skipping(
    crowd: PostgresStorage, narrowed: dict[str, Any]
) -> None:
    dice = random.Random(5)
    asked = [PageRequest(number, size) for size in (10, 30, 100) for number in range(1, MANY // size + 2, 1)]
    skipping, reading = Told(crowd.pool), Told(crowd.pool)
    by_offset = PostgresMovies(skipping, at_hand := IdentityMap(), Counts(60, 1), Signposts(0))
    by_place = PostgresMovies(reading, at_hand, Counts(60, 1), Signposts(60))

    async def outcome(movies: PostgresMovies, wanted: MovieFilter, page: PageRequest) -> Page[Movie] | str:
        try:
            return await movies.list(wanted, page)
        except NoSuchPage as refused:
            return str(refused)

    for ordering in (f"{sign}{name}" for name in ORDERINGS for sign in ("", "-")):
        wanted = MovieFilter(ordering=ordering, **narrowed)
        for page in dice.sample(asked, 25) + asked[-3:]:
            assert await outcome(by_place, wanted, page) == await outcome(by_offset, wanted, page), (ordering, page)
    assert reading.skipped < skipping.skipped


async def test_who_turns_the_pages_skips_only_the_first_hundred_films(crowd: PostgresStorage) -> None:
    for ordering in ("-popularity", "-release_date"):
        run = Told(crowd.pool)
        movies = PostgresMovies(run, IdentityMap(), Counts(60, 1), Signposts(60))
        turned = [await movies.list(MovieFilter(ordering=ordering), PageRequest(number, 50)) for number in range(1, 31)]
        assert len({movie.id for page in turned for movie in page.items}) == MANY
        assert [page.total for page in turned] == [MANY] * 30
        assert run.skipped == 50, "to the second page"


async def test_a_page_that_begins_a_little_behind_a_known_place_skips_only_the_rest(crowd: PostgresStorage) -> None:
    run = Told(crowd.pool)
    movies = PostgresMovies(run, IdentityMap(), Counts(60, 1), Signposts(60))
    await movies.list(ALL, PageRequest(10, 30))  # to 300
    run.told.clear()
    page = await movies.list(ALL, PageRequest(9, 40))  # from 320
    assert run.skipped == 20
    assert page == await PostgresMovies(run, IdentityMap(), Counts(60, 1), Signposts(0)).list(ALL, PageRequest(9, 40))


async def test_when_this_process_keeps_films_that_are_new_or_changed_all_pages_are_true_again(
    crowd: PostgresStorage, migrated_url: str
) -> None:
    other = PostgresStorage(migrated_url, count_ttl=0, **PATIENT)
    deep = PageRequest(21, 10)

    async def page(storage: Storage) -> tuple[Movie, ...]:
        async with storage.reading() as uow:
            return (await uow.movies.list(ALL, deep)).items

    async with crowd.reading() as uow:
        await uow.movies.list(ALL, PageRequest(20, 10))
    before = await page(crowd)
    top = facts(9_001, popularity=1e6)
    await remember(other, top)
    assert await page(crowd) == before != await page(other), "as old as was allowed"
    await remember(crowd, top, at=after(1))  # unchanged
    assert await page(crowd) == before
    await remember(crowd, facts(9_002, popularity=1e6), at=after(2))
    assert await page(crowd) == await page(other)
    async with crowd.reading() as uow:
        await uow.movies.list(ALL, PageRequest(20, 10))
    async with crowd.autocommit() as uow:
        await uow.movies.remember([facts(9_001, popularity=0.0)], after(3))
    assert await page(crowd) == await page(other)
    await other.close()
