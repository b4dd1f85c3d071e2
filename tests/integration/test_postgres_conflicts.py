"""Several who want the same rows at once: what the server undoes for that is done again, and nothing is done twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from dependency_injector.providers import Singleton

from moviehub.adapters.memory.passwords import MemoryPasswords
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.application.storage import Storage
from moviehub.domain.errors import MovieHubError, Unavailable
from moviehub.domain.movies import MarkedMovie, Movie, MovieNotFound
from moviehub.domain.ratings import Opinion, Score
from moviehub.domain.users import User
from moviehub.entrypoints.bootstrap import Container
from moviehub.entrypoints.settings import UNLIMITED, Settings
from moviehub.entrypoints.use_cases import use_cases
from tests import promises
from tests.contracts.storage import NOW, after, facts, rate, register, remember, sign_in
from tests.integration.test_postgres_faults import blocked, read_name, write_name

PASSWORD = "correct horse battery"
PEOPLE = 4
MOST_WAITING = 60


@pytest.fixture
async def storage(migrated_url: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(migrated_url, wait_timeout=60, connect_timeout=20, command_timeout=20)
    yield storage
    await storage.close()


@pytest.fixture
def cases(migrated_url: str, storage: PostgresStorage) -> dict[str, Any]:
    """Every use case over this storage, with passwords that cost nothing."""
    container = Container(settings=Settings(database_url=migrated_url, secret_key="k" * 32, **UNLIMITED))
    container.storage.override(Singleton(lambda: storage))
    container.passwords.override(Singleton(MemoryPasswords))
    return use_cases(container)


async def rate_alone(storage: Storage, user: User, movie: Movie, score: int) -> tuple[MarkedMovie, bool]:
    async with storage.autocommit() as uow:
        return await uow.ratings.save(user.id, movie.id, Opinion(score=score), NOW)


async def refuse(operator: asyncpg.Connection, code: str, times: int) -> None:
    """Let `meet()` end a statement so often with this SQLSTATE; who rolls back is counted all the same."""
    await operator.execute(
        f"""
        CREATE SEQUENCE tries;
        CREATE FUNCTION meet() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('tries') <= {times} THEN RAISE EXCEPTION 'others first' USING ERRCODE = '{code}'; END IF;
            RETURN true;
        END $$;
        CREATE FUNCTION met() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM meet(); RETURN NEW; END $$;
        """
    )


async def tries(operator: asyncpg.Connection) -> int:
    number: int = await operator.fetchval("SELECT last_value FROM tries")
    return number


async def deadlocks(storage: PostgresStorage, operator: asyncpg.Connection) -> int:
    """How many there were: a server process tells of them before it ends."""
    await storage.close()
    async with asyncio.timeout(20):
        while await operator.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'moviehub'"
        ):
            pass
    met: int = await operator.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return met


@promises.postgres_conflict
async def test_a_write_that_a_deadlock_undid_is_done_again_and_kept_once(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await operator.execute("SET deadlock_timeout = '1h'")  # so that ours is the one that the server undoes
    theirs = operator.transaction()
    await theirs.start()
    await operator.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", user.id)
    rating = asyncio.create_task(rate_alone(storage, user, movie, 7))  # has its row, and waits for the person's
    await blocked(operator)
    await operator.execute(  # waits for our row, until that is undone
        "INSERT INTO ratings (user_id, movie_id, rating, created_at, updated_at) VALUES ($1, $2, 1, now(), now())",
        *(user.id, movie.id),
    )
    await theirs.rollback()
    _, created = await rating
    assert created
    kept = await operator.fetch("SELECT id, rating FROM ratings")
    assert [tuple(row) for row in kept] == [(3, 7)]  # 1 was undone, and 2 was the operator's
    assert await deadlocks(storage, operator) == 1


@promises.postgres_conflict
async def test_a_write_that_could_not_be_serialized_is_done_again(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    name = await operator.fetchval("SELECT current_database()")
    await operator.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    session = await sign_in(storage, await register(storage, "ada"))

    async def end() -> bool:
        async with storage.autocommit() as uow:
            return await uow.sessions.end(session.id, after(1))

    async with operator.transaction():
        await operator.execute("UPDATE sessions SET counter = 7")
        ending = asyncio.create_task(end())
        await blocked(operator)
    assert await ending
    assert await operator.fetchval("SELECT counter FROM sessions WHERE ended_at IS NOT NULL") == 7


@promises.postgres_conflict
@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_what_others_come_before_is_tried_three_times_and_no_more(
    storage: PostgresStorage, operator: asyncpg.Connection, code: str
) -> None:
    user = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await refuse(operator, code, times=5)
    await operator.execute("CREATE TRIGGER met BEFORE INSERT ON ratings FOR EACH ROW EXECUTE FUNCTION met()")
    with pytest.raises(Unavailable):
        await rate_alone(storage, user, movie, 7)
    assert await tries(operator) == 3
    assert (await rate_alone(storage, user, movie, 7))[1]
    assert await tries(operator) == 6


@promises.postgres_conflict
async def test_a_read_that_others_come_before_is_done_again(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    await refuse(operator, "40001", times=2)
    await operator.execute("ALTER TABLE users RENAME TO people")
    await operator.execute("CREATE VIEW users AS SELECT * FROM people WHERE meet()")
    assert await read_name(storage, user) == ""
    assert await tries(operator) == 3


@promises.postgres_conflict
async def test_a_statement_among_others_is_not_done_again_and_nothing_of_them_is_kept(
    storage: PostgresStorage, operator: asyncpg.Connection
) -> None:
    user = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await refuse(operator, "40P01", times=1)
    await operator.execute("CREATE TRIGGER met BEFORE INSERT ON ratings FOR EACH ROW EXECUTE FUNCTION met()")
    with pytest.raises(Unavailable):
        await rate(storage, user, movie, 7)
    assert await tries(operator) == 1
    assert await operator.fetchval("SELECT count(*) FROM ratings") == 0
    await write_name(storage, user, "kept")
    assert await read_name(storage, user) == "kept"


async def test_who_goes_away_between_two_tries_leaves_every_connection_behind(
    migrated_url: str, operator: asyncpg.Connection
) -> None:
    storage = PostgresStorage(migrated_url, max_size=1, wait_timeout=20, connect_timeout=20, command_timeout=20)
    user = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await refuse(operator, "40001", times=10**6)
    await operator.execute("CREATE TRIGGER met BEFORE INSERT ON ratings FOR EACH ROW EXECUTE FUNCTION met()")
    for milliseconds in range(12):
        with pytest.raises((TimeoutError, Unavailable)):
            async with asyncio.timeout(milliseconds / 400):
                await rate_alone(storage, user, movie, 7)
    await storage.ping()
    await storage.close()


async def test_deleting_an_account_while_its_sessions_are_ended_is_no_deadlock(
    storage: PostgresStorage, cases: dict[str, Any], operator: asyncpg.Connection
) -> None:
    user = await cases["register"](username="ada", email="ada@example.org", password=PASSWORD)
    for number in (30, 20, 10):  # where they lie is not the order of their ids
        await operator.execute(
            "INSERT INTO sessions (id, user_id, counter, created_at, last_used_at, expires_at, client, address)"
            " OVERRIDING SYSTEM VALUE VALUES ($1, $2, 0, now(), now(), now() + interval '1 day', '', '')",
            *(number, user.id),
        )
    async with operator.transaction():
        await operator.execute("SELECT FROM sessions WHERE id = 20 FOR UPDATE")
        ending = asyncio.create_task(cases["end_other_sessions"](user_id=user.id, session_id=0))
        first = await blocked(operator)  # has 10
        deleting = asyncio.create_task(cases["delete_account"](user_id=user.id, password=PASSWORD))
        await blocked(operator, but=first)
    await asyncio.gather(ending, deleting)
    assert await operator.fetchval("SELECT count(*) FROM sessions") == 0
    assert await deadlocks(storage, operator) == 0


@promises.postgres_conflict
async def test_people_who_do_everything_at_once_never_deadlock(
    storage: PostgresStorage, cases: dict[str, Any], operator: asyncpg.Connection
) -> None:
    names = [f"person{number}" for number in range(PEOPLE)]
    users = [
        await cases["register"](username=name, email=f"{name}@example.org", password=PASSWORD, is_superuser=True)
        for name in names
    ]
    films = await remember(storage, *(facts(number) for number in range(1, 4)))
    grants = [await cases["sign_in"](login=name, password=PASSWORD) for name in names for _ in range(5)]
    chance = random.Random(7)
    at_once = asyncio.Semaphore(MOST_WAITING)

    def act() -> Coroutine[Any, Any, Any]:
        user, other = (chance.choice(users) for _ in range(2))
        film, grant, score = chance.choice(films), chance.choice(grants), chance.randint(1, 10)
        told = [facts(number, popularity=float(chance.randint(1, 9))) for number in chance.sample(range(1, 20), 9)]
        of_film = {"user_id": user.id, "movie_id": film.id}
        acts: list[tuple[str, dict[str, Any]]] = [
            ("sign_in", {"login": user.username, "password": PASSWORD}),
            ("refresh_session", {"refresh": grant.refresh}),
            ("revoke_token", {"refresh": grant.refresh}),
            ("end_other_sessions", {"user_id": user.id, "session_id": chance.randint(1, 20)}),
            ("update_profile", {"user_id": user.id, "bio": str(score)}),
            ("update_profile", {"user_id": user.id, "email": f"{user.username}{score}@example.org"}),
            ("change_password", {"user_id": user.id, "current_password": PASSWORD, "new_password": PASSWORD}),
            ("set_password", {"login": user.username, "password": PASSWORD}),
            ("govern_user", {"actor_id": user.id, "user_id": other.id, "is_active": chance.random() < 0.9}),
            ("rate_movie", {**of_film, "score": score}),
            ("revise_rating", {**of_film, "score": score}),
            ("remove_rating", of_film),
            ("add_favorite", of_film),
            ("remove_favorite", of_film),
            ("remember", {"told": told}),
        ]
        name, values = chance.choice(acts)
        if chance.random() < 0.01:
            name, values = "delete_account", {"user_id": user.id, "password": PASSWORD}
        return remember(storage, *told) if name == "remember" else cases[name](**values)

    async def one(doing: Coroutine[Any, Any, Any]) -> str:
        async with at_once:
            try:
                await doing
            except MovieHubError as refusal:
                return type(refusal).__name__
            return "done"

    outcomes = await asyncio.gather(*(one(act()) for _ in range(600)))
    assert "Unavailable" not in outcomes
    assert outcomes.count("done") > 200
    left, right = [
        (await cases["register"](username=name, email=f"{name}@x.org", password=PASSWORD)).id
        for name in ("left", "right")
    ]
    pairs = [(left, right), (right, left)] * 10
    outcomes = await asyncio.gather(*(one(cases["govern_user"](actor_id=a, user_id=b)) for a, b in pairs))
    assert "Unavailable" not in outcomes
    assert await deadlocks(storage, operator) == 0


async def test_of_ratings_that_are_kept_together_each_has_its_own_outcome(storage: PostgresStorage) -> None:
    people = [await register(storage, f"rater{number}") for number in range(PEOPLE)]
    (movie, other) = await remember(storage, facts(1), facts(2))
    nowhere = replace(movie, id=other.id + 1_000)
    wanted = [(user, each, score) for score in (3, 8) for user in people for each in (movie, nowhere, other)]
    outcomes = await asyncio.gather(*(rate_alone(storage, *one) for one in wanted), return_exceptions=True)
    for (user, each, score), outcome in zip(wanted, outcomes, strict=True):
        if each is nowhere:
            assert isinstance(outcome, MovieNotFound)
        else:
            assert not isinstance(outcome, BaseException)
            marked, created = outcome
            assert marked.mark.rating is not None
            assert (marked.mark.rating.opinion.score, marked.mark.rating.user_id) == (score, user.id)
            assert (marked.movie.id, created) == (each.id, score == 3)
    async with storage.reading() as uow:
        for each in (movie, other):
            assert (await uow.movies.detail(each.id)).score == Score(8.0, PEOPLE)


async def test_ratings_that_come_at_once_wait_for_the_disk_together(
    storage: PostgresStorage, migrated_url: str
) -> None:
    people = [await register(storage, f"rater{number}") for number in range(20)]
    (movie,) = await remember(storage, facts(1))
    before = await commits(migrated_url)
    await asyncio.gather(*(rate_alone(storage, user, movie, 7) for user in people))
    assert 1 <= await commits(migrated_url) - before <= 2
    async with storage.reading() as uow:
        assert (await uow.movies.detail(movie.id)).score == Score(7.0, 20)


async def commits(url: str) -> int:
    """How many transactions have written a rating: each has a number of its own, which its rows show."""
    connection = await asyncpg.connect(url)
    try:
        count: int = await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM ratings")
    finally:
        await connection.close()
    return count
