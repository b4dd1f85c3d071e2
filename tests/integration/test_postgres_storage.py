"""The storage on Postgres keeps every promise of the ports, in as few statements as it can, many callers at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest

from moviehub.adapters.postgres.counts import Counts
from moviehub.adapters.postgres.favorites import PostgresFavorites
from moviehub.adapters.postgres.films import IdentityMap
from moviehub.adapters.postgres.lists_sql import closest_statement
from moviehub.adapters.postgres.migrations import head
from moviehub.adapters.postgres.movies import PostgresMovies
from moviehub.adapters.postgres.pool import Pool
from moviehub.adapters.postgres.ratings import PostgresRatings
from moviehub.adapters.postgres.sessions import PostgresSessions
from moviehub.adapters.postgres.signposts import Signposts
from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.application.storage import Storage
from moviehub.domain.movies import MovieFilter
from moviehub.domain.pages import Page, PageRequest
from moviehub.domain.ratings import Opinion, Score
from moviehub.domain.users import Taken
from tests.contracts.favorites import FavoritesContract
from tests.contracts.movies import MoviesContract
from tests.contracts.ratings import MANY, ManyReviewsContract, RatingsContract
from tests.contracts.sessions import SessionsContract
from tests.contracts.storage import (
    NOW,
    StorageContract,
    after,
    detail,
    facts,
    keep,
    rate,
    register,
    remember,
    sign_in,
)
from tests.contracts.users import UsersContract, the_crowd

PATIENT: dict[str, Any] = {"wait_timeout": 20.0, "connect_timeout": 20.0, "command_timeout": 20.0}


@pytest.fixture
async def storage(migrated_url: str) -> AsyncIterator[Storage]:
    storage = PostgresStorage(migrated_url, **PATIENT)
    yield storage
    await storage.close()


class TestPostgresStorage(StorageContract):
    pass


class TestPostgresUsers(UsersContract):
    @pytest.fixture
    async def crowd(self, storage: Storage, operator: asyncpg.Connection) -> Storage:
        names = [(user.username, user.username_key, user.email, user.email_key) for user in the_crowd()]
        await operator.executemany(
            "INSERT INTO users (username, username_key, email, email_key, password, first_name, last_name, is_active,"
            " is_staff, is_superuser, created_at, updated_at)"
            " VALUES ($1, $2, $3, $4, '', '', '', true, false, false, now(), now())",
            names,
        )
        return storage


class TestPostgresSessions(SessionsContract):
    pass


class TestPostgresMovies(MoviesContract):
    pass


class TestPostgresFavorites(FavoritesContract):
    pass


class TestPostgresRatings(RatingsContract):
    pass


class TestPostgresReviews(ManyReviewsContract):
    @pytest.fixture
    async def much_reviewed(self, storage: Storage, operator: asyncpg.Connection) -> Storage:
        await remember(storage, facts(1))
        await operator.execute(
            f"""
            INSERT INTO users (username, username_key, email, email_key, password, first_name, last_name, is_active,
                is_staff, is_superuser, created_at, updated_at)
            SELECT 'user' || number, 'user' || number, number, number, '', '', '', true, false, false, now(), now()
            FROM generate_series(1, {MANY}) AS number;
            INSERT INTO ratings (user_id, movie_id, rating, review, created_at, updated_at)
            SELECT id, 1, 5, 'so so', now(), now() FROM users ORDER BY id;
            """
        )
        return storage


async def test_fifty_registrations_at_once_leave_one_account_and_no_error_but_taken(storage: Storage) -> None:
    outcomes = await asyncio.gather(*(register(storage, "ada") for _ in range(50)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refused) == 49
    assert {type(outcome) for outcome in refused} == {Taken}


async def test_fifty_favourites_and_ratings_at_once_leave_one_of_each(storage: Storage) -> None:
    user = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    scores = [number % 10 + 1 for number in range(50)]
    await asyncio.gather(
        *(keep(storage, user, movie) for _ in range(50)), *(rate(storage, user, movie, score) for score in scores)
    )
    async with storage.reading() as uow:
        rating = await uow.ratings.get(user.id, movie.id)
        assert (await uow.favorites.list(user.id, PageRequest())).total == 1
        assert (await uow.movies.detail(movie.id)).score == Score(rating.opinion.score, 1)


async def test_many_ratings_of_one_film_at_once_are_all_counted(storage: Storage) -> None:
    users = [await register(storage, f"user{number}") for number in range(30)]
    (movie,) = await remember(storage, facts(1))

    async def rate_and_look(number: int) -> int:
        await rate(storage, users[number], movie, number % 10 + 1)
        return (await detail(storage, movie)).score.count

    seen = await asyncio.gather(*(rate_and_look(number) for number in range(30)))
    assert max(seen) == 30
    assert (await detail(storage, movie)).score == Score(5.5, 30)


async def test_many_who_change_the_same_films_in_any_order_at_once_do_not_deadlock(storage: Storage) -> None:
    async def tell(number: int) -> None:
        told = [facts(film, popularity=float(number)) for film in range(1, 61)]
        for at in range(5):
            await remember(storage, *random.Random(number).sample(told, len(told)), at=after(at))

    await asyncio.gather(*(tell(number) for number in range(10)))
    async with storage.reading() as uow:
        assert (await uow.movies.list(MovieFilter(), PageRequest())).total == 60


async def test_films_that_are_known_use_up_no_ids(storage: Storage) -> None:
    told = [facts(number) for number in range(1, 21)]
    for at in range(5):
        await remember(storage, *told, at=after(at))
    (new,) = await remember(storage, facts(21))
    assert new.id == 21


async def test_first_uses_at_once_open_one_pool(migrated_url: str) -> None:
    storage = PostgresStorage(migrated_url, max_size=3, **PATIENT)
    await asyncio.gather(*(storage.ping() for _ in range(20)))
    observer = await asyncpg.connect(migrated_url)
    used = await observer.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'moviehub'"
    )
    await observer.close()
    await storage.close()
    await storage.close()
    assert 1 <= used <= 3


async def test_the_revision_of_a_database_is_told(migrated_url: str, database_url: str) -> None:
    for url, revision in ((migrated_url, head()), (database_url, None)):
        storage = PostgresStorage(url, **PATIENT)
        assert await storage.revision() == revision
        await storage.close()


async def test_it_works_without_remembering_statements(migrated_url: str) -> None:
    storage = PostgresStorage(migrated_url, statement_cache=False, **PATIENT)
    user = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    for score in (3, 4):
        await rate(storage, user, movie, score)
        assert (await detail(storage, movie)).score == Score(score, 1)
    await storage.close()


async def test_a_total_may_be_as_old_as_was_allowed_and_no_older(migrated_url: str) -> None:
    wanted, page = MovieFilter(), PageRequest(1, 3)
    for ttl, total in ((60.0, 4), (0.0, 5)):
        storage = PostgresStorage(migrated_url, count_ttl=ttl, count_from=4, **PATIENT)
        await remember(storage, *(facts(number) for number in range(1, 5)))
        async with storage.reading() as uow:
            await uow.movies.list(wanted, page)
            await remember(storage, facts(5))
            assert (await uow.movies.list(wanted, page)).total == total
            assert (await uow.movies.list(wanted, PageRequest(2, 3))).total == 5  # the last page tells by itself
        await storage.close()


class Counted(Runs):
    """Counts the statements that another runs."""

    def __init__(self, run: Runs) -> None:
        self.run = run
        self.count = 0

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        self.count += 1
        return await self.run.rows(statement, **values)


@pytest.mark.parametrize("size", [2, 50])
async def test_what_is_read_and_rated_costs_the_same_statements_whatever_the_size(
    storage: Storage, migrated_url: str, size: int
) -> None:
    user = await register(storage, "ada")
    movies = await remember(storage, *(facts(number) for number in range(1, size + 2)))
    ids = [movie.id for movie in movies]
    for movie in movies:
        await keep(storage, user, movie)
        await rate(storage, user, movie, 5, "fine")
    session = await sign_in(storage, user)
    pool = Pool(migrated_url, min_size=1, max_size=2, statement_cache=True, **PATIENT)
    page, last = PageRequest(1, size), PageRequest(2, size)

    async def cost(act: Callable[[Runs], Awaitable[object]]) -> int:
        counted = Counted(pool)
        await act(counted)
        return counted.count

    at_hand = IdentityMap()

    def films(run: Runs) -> PostgresMovies:
        return PostgresMovies(run, at_hand, Counts(0, 1), Signposts(0))

    def opinions(run: Runs, *, locking: bool = False) -> PostgresRatings:
        return PostgresRatings(run, at_hand, locking=locking)

    assert await cost(lambda run: films(run).detail(ids[0])) == 1
    assert await cost(lambda run: films(run).marks(user.id, ids)) == 1
    for unread in (1, 0):  # by one more statement what is not at hand is read
        assert await cost(lambda run: films(run).list(MovieFilter(), page)) == 2 + unread
        assert await cost(lambda run: films(run).list(MovieFilter(), last)) == 1 + unread
    assert await cost(lambda run: films(run).list(MovieFilter(search="nothing"), page)) == 1
    assert await cost(lambda run: films(run).closest(MovieFilter(search="flim"), page)) == 2
    assert await cost(lambda run: films(run).outdated(after(1), size)) == 1
    assert await cost(lambda run: films(run).outdated(after(1), size, tmdb_ids=range(size))) == 1
    assert await cost(lambda run: PostgresFavorites(run, at_hand).list(user.id, page)) == 1
    assert await cost(lambda run: opinions(run).list(user.id, page)) == 1
    assert await cost(lambda run: opinions(run).reviews(ids[0], page)) == 1
    assert await cost(lambda run: PostgresSessions(run).find(session.id)) == 1
    assert await cost(lambda run: PostgresSessions(run).list(user.id, page, NOW)) == 1
    async with pool.transaction() as transaction:
        counted = Counted(transaction)
        await opinions(counted, locking=True).save(user.id, ids[0], Opinion(score=1), NOW)
        assert counted.count == 1
        await films(counted).remember([facts(number, title="New") for number in range(1, size + 9)], after(1))
        assert counted.count == 2
    await pool.close()


async def test_where_titles_cannot_be_compared_none_is_like_another(
    storage: Storage, operator: asyncpg.Connection
) -> None:
    await remember(storage, facts(1, title="Solaris"))
    await operator.execute("DROP EXTENSION pg_trgm CASCADE")
    async with storage.reading() as uow:
        assert await uow.movies.closest(MovieFilter(search="solarsi"), PageRequest()) == Page((), 0, PageRequest())
        assert (await uow.movies.list(MovieFilter(search="solar"), PageRequest())).total == 1


async def test_titles_are_compared_by_an_index_and_the_connection_is_left_as_it_was(
    migrated_url: str, operator: asyncpg.Connection
) -> None:
    statement = closest_statement(frozenset())
    values = {"sought": "the solarsi", "words": ["solarsi"], "longest": "solarsi", "size": 10, "skipped": 0}
    await operator.execute("SET enable_seqscan = off")  # of no films it would rather read all
    plan = await operator.fetch("EXPLAIN " + statement.sql, *statement.arguments(values))
    assert any("Bitmap Index Scan on ix_movies_title_key_trigrams" in row[0] for row in plan)
    storage = PostgresStorage(migrated_url, max_size=1, **PATIENT)
    await remember(storage, facts(1, title="Solaris"), facts(2, title="Solar Storm"))
    setting = Statement("SELECT current_setting('pg_trgm.word_similarity_threshold', true) AS least", reads=True)
    async with storage.reading() as uow:
        assert (await uow.movies.closest(MovieFilter(search="the solarsi"), PageRequest())).total == 2
    assert [row["least"] for row in await storage.pool.rows(setting)] == ["0.6"]
    await storage.close()


async def test_sessions_that_somebody_else_is_at_are_left_for_the_next_time(
    storage: Storage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    sessions = [await sign_in(storage, user, seconds=10) for _ in range(3)]
    async with operator.transaction():
        await operator.execute("SELECT FROM sessions WHERE id = $1 FOR UPDATE", sessions[0].id)
        async with storage.autocommit() as uow, asyncio.timeout(10):
            assert await uow.sessions.end_expired(after(10), 2) == 2
    async with storage.autocommit() as uow:
        assert await uow.sessions.end_expired(after(10), 2) == 1
