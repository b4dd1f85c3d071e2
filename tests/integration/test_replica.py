"""Reads go to a real streaming replica, and nobody sees less than was promised: late, held back, stopped or hung."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from moviehub.adapters.memory.cache import MemoryCache
from moviehub.adapters.postgres.films import READ
from moviehub.adapters.postgres.migrations import upgrade
from moviehub.adapters.postgres.replica import HASTE, Either, Watch
from moviehub.adapters.postgres.replicated import ReplicatedStorage
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.adapters.redis.cache import RedisCache
from moviehub.adapters.redis.connection import Connection
from moviehub.adapters.system.clock import SystemClock
from moviehub.application.callers import CALLER, MOST_HELPED, Caller, helped_by
from moviehub.application.ports import Cache
from moviehub.application.storage import Storage
from moviehub.domain.errors import Unavailable
from moviehub.domain.movies import Mark, Movie
from moviehub.domain.pages import PageRequest
from moviehub.domain.ratings import Opinion, Score
from moviehub.domain.users import User
from moviehub.entrypoints.bootstrap import running
from moviehub.entrypoints.checks import Finding, checks_of, examine
from moviehub.entrypoints.cli.examination import examination
from moviehub.entrypoints.settings import UNLIMITED, Settings
from tests import promises
from tests.api import api_over, problem
from tests.contracts.favorites import FavoritesContract
from tests.contracts.ratings import RatingsContract
from tests.contracts.storage import NOW, StorageContract, after, facts, register, remember, sign_in
from tests.replica import Pair
from tests.servers import PATIENCE

CLOCK = SystemClock()
LONG = 60.0
EMPTY = "TRUNCATE users, sessions, movies, favorites, ratings RESTART IDENTITY CASCADE"
SLOW: dict[str, Any] = {"wait_timeout": 20.0, "connect_timeout": 20.0, "command_timeout": 20.0}

Open = Callable[..., ReplicatedStorage]
OpenCache = Callable[..., RedisCache]


@pytest.fixture(scope="module")
def _pair() -> Iterator[Pair]:
    pair = Pair()
    try:
        asyncio.run(pair.primary.run("CREATE DATABASE live"))
        upgrade(pair.primary.url("live"))
        asyncio.run(pair.primary.run("CREATE DATABASE prompt TEMPLATE live"))
        asyncio.run(pair.primary.run("ALTER DATABASE prompt SET synchronous_commit = remote_apply"))
        pair.copy()
        yield pair
    finally:
        pair.close()


@pytest.fixture
async def pair(_pair: Pair) -> Pair:
    """Both servers run and agree, and hold nothing."""
    _pair.primary.start()
    _pair.replica.start()
    await _pair.primary.run(EMPTY, "live")
    await _pair.caught_up()
    return _pair


@pytest.fixture
async def shared(valkey_url: str) -> AsyncIterator[OpenCache]:
    """Opens caches, each as of a process of its own."""
    connections: list[Connection] = []

    def shared(url: str = valkey_url) -> RedisCache:
        connections.append(Connection(url))
        return RedisCache(connections[-1], prefix="test:", clock=CLOCK)

    yield shared
    for connection in connections:
        await connection.close()


@pytest.fixture
async def opened(_pair: Pair, shared: OpenCache) -> AsyncIterator[Open]:
    """Opens storages, each as of a process of its own, that have found the replica fresh."""
    storages: list[ReplicatedStorage] = []

    def opened(database: str = "live", *, cache: Cache | None = None, **more: Any) -> ReplicatedStorage:
        patience = more.pop("patience", SLOW)
        primary = PostgresStorage(_pair.primary.url(database), **patience)
        replica = PostgresStorage(_pair.replica.url(database), **patience)
        usual = {"longest_lag": LONG, "sticky": LONG, "every": 0.02}
        storages.append(ReplicatedStorage(primary, replica, cache or MemoryCache(CLOCK), CLOCK, **usual | more))
        return storages[-1]

    yield opened
    for storage in storages:
        await storage.close()


@pytest.fixture
async def storage(_pair: Pair, opened: Open) -> Storage:
    """A storage, for the contracts, whose replica shows what is committed."""
    await _pair.primary.run(EMPTY, "prompt")
    storage = opened("prompt")
    await storage.ping_replica()
    return storage


async def score(storage: Storage, movie: Movie, *, by: User | None = None) -> Score:
    async with storage.reading(by=by.id if by else None) as uow:
        return (await uow.movies.detail(movie.id)).score


async def rate(storage: Storage, user: User, movie: Movie, points: int) -> None:
    async with storage.autocommit(by=user.id) as uow:
        await uow.ratings.save(user.id, movie.id, Opinion(score=points), NOW)


async def until(ask: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await ask():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def is_told(storage: ReplicatedStorage, why: str) -> bool:
    """Whether the storage has found out that this is why the replica is not fresh."""
    try:
        await storage.ping_replica()
    except Unavailable as fault:
        return why in str(fault)
    return False


async def rate_and_break(storage: Storage, user: User, movie: Movie, points: int) -> None:
    async with storage.autocommit(by=user.id) as uow:
        await uow.ratings.save(user.id, movie.id, Opinion(score=points), NOW)
        raise Unavailable


async def reads_replica(pair: Pair, storage: Storage, user: User, movie: Movie) -> bool:
    """Whether a stranger is shown the film as the replica has it."""
    async with pair.held_back():
        before = await score(storage, movie)
        await rate(storage, user, movie, 2 if before.average == 1 else 1)
        return await score(storage, movie) == before


async def two_processes(opened: Open, *caches: Cache) -> tuple[ReplicatedStorage, ReplicatedStorage, User, Movie]:
    """Storages with these caches that have found the replica fresh, somebody, and a film."""
    ours, theirs = (opened(cache=cache) for cache in caches)
    user = await register(ours, "ada")
    (movie,) = await remember(ours, facts(1))
    await ours.ping_replica()
    await theirs.ping_replica()
    return ours, theirs, user, movie


class TestReplicatedStorage(StorageContract):
    """The contracts of what people write, where each commit waits until the replica shows it: so it can be seen there.

    That of films is proved by the primary, for it is all about what statements find.
    """


class TestReplicatedFavorites(FavoritesContract):
    pass


class TestReplicatedRatings(RatingsContract):
    pass


async def test_strangers_and_who_wrote_nothing_read_from_the_replica(pair: Pair, opened: Open) -> None:
    storage = opened()
    ada, bob = await register(storage, "ada"), await register(storage, "bob")
    (movie,) = await remember(storage, facts(1))
    await storage.ping_replica()
    async with pair.held_back():
        await rate(storage, ada, movie, 9)
        assert await score(storage, movie) == Score()
        assert await score(storage, movie, by=bob) == Score()
    await pair.caught_up()
    assert await score(storage, movie) == Score(9, 1)
    assert await score(storage, movie, by=bob) == Score(9, 1)


@promises.replica_late
async def test_ones_own_work_is_seen_at_once_and_in_every_process(pair: Pair, opened: Open, shared: OpenCache) -> None:
    ours, theirs = opened(cache=shared()), opened(cache=shared())
    ada = await register(ours, "ada")
    movie, other = await remember(ours, facts(1), facts(2))
    await ours.ping_replica()
    await theirs.ping_replica()
    async with pair.held_back():
        await rate(ours, ada, movie, 9)
        async with ours.transaction(by=ada.id) as uow:
            await uow.favorites.add(ada.id, other.id, NOW)
        for storage in (ours, theirs):
            assert await score(storage, movie, by=ada) == Score(9, 1)
            async with storage.reading(by=ada.id) as uow:
                assert (await uow.movies.marks(ada.id, [movie.id]))[movie.id] != Mark()
                assert (await uow.favorites.list(ada.id, PageRequest())).total == 1
                assert (await uow.ratings.list(ada.id, PageRequest())).total == 1
            assert await score(storage, movie) == Score()


async def test_ones_own_work_is_seen_in_the_same_process_whatever_the_cache_forgets(pair: Pair, opened: Open) -> None:
    cache = MemoryCache(CLOCK)
    storage = opened(cache=cache)
    ada = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await storage.ping_replica()
    async with pair.held_back():
        await rate(storage, ada, movie, 9)
        await cache.flush()
        assert await score(storage, movie, by=ada) == Score(9, 1)


async def test_a_write_of_which_nobody_knows_whether_it_was_done_counts(pair: Pair, opened: Open) -> None:
    storage = opened()
    ada = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await storage.ping_replica()
    async with pair.held_back():
        with pytest.raises(Unavailable):
            await rate_and_break(storage, ada, movie, 9)
        assert await score(storage, movie, by=ada) == Score(9, 1)
        assert await score(storage, movie) == Score()


@promises.replica_late
async def test_however_long_the_replica_is_behind_nobody_is_further_behind_than_that_and_writers_never(
    pair: Pair, opened: Open
) -> None:
    storage = opened(longest_lag=0.6, sticky=1.0)
    ada = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await storage.ping_replica()
    async with pair.held_back():
        with capture_logs() as logs:
            await rate(storage, ada, movie, 9)
            assert await score(storage, movie) == Score()
            wrote_at, late = time.monotonic(), 0.0
            while (since := time.monotonic() - wrote_at) < 1.4:
                assert await score(storage, movie, by=ada) == Score(9, 1)
                asked_after = time.monotonic() - wrote_at
                if await score(storage, movie) == Score():
                    late = asked_after
        assert since > 1.0 > late > 0
    assert [(entry["event"], entry["why"]) for entry in logs] == [("replica_not_fresh", "it is behind")]
    await until(lambda: reads_replica(pair, storage, ada, movie))


async def test_a_replica_that_follows_at_some_distance_is_read(pair: Pair, opened: Open) -> None:
    storage = opened(longest_lag=1.5)
    ada = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await storage.ping_replica()
    async with pair.delayed(0.2):
        with capture_logs() as logs:
            began = time.monotonic()
            while time.monotonic() - began < 1.8:  # it never is where the primary is
                await rate(storage, ada, movie, int(time.monotonic() * 1000) % 10 + 1)
    assert logs == []


async def test_a_film_is_found_before_the_replica_has_it(pair: Pair, opened: Open) -> None:
    storage = opened()
    (old,) = await remember(storage, facts(1))
    await storage.ping_replica()
    async with pair.held_back():
        (movie,) = await remember(storage, facts(2))
        async with storage.reading() as uow:
            assert await uow.movies.get(movie.id) == movie
            assert await uow.movies.find_by_tmdb(2) == movie
            assert (await uow.ratings.reviews(movie.id, PageRequest())).total == 0
            found = await asyncio.gather(uow.movies.detail(old.id), uow.movies.detail(movie.id))
        assert [each.movie for each in found] == [old, movie]


async def test_no_film_is_missed_that_one_server_listed_and_the_other_lacks(pair: Pair, opened: Open) -> None:
    storage = opened()
    primary, replica = (PostgresStorage(server.url("live"), **SLOW) for server in (pair.primary, pair.replica))
    watch = Watch(primary.pool, replica.pool, LONG)
    (old,) = await remember(storage, facts(1))
    await pair.caught_up()
    await watch.look()
    async with pair.held_back():
        (new,) = await remember(storage, facts(2))
        found = await Either(primary.pool, replica.pool, watch).rows(READ, movie_ids=[old.id, new.id])
        assert {row["movies_id"] for row in found} == {old.id, new.id}
        assert len(await replica.pool.rows(READ, movie_ids=[old.id, new.id])) == 1
    for each in (primary, replica):
        await each.close()


@promises.replica_late
async def test_accounts_and_sessions_are_never_late(pair: Pair, opened: Open) -> None:
    storage = opened()
    ada = await register(storage, "ada")
    session = await sign_in(storage, ada)
    await storage.ping_replica()
    async with pair.held_back():
        async with storage.autocommit() as uow:
            await uow.sessions.end(session.id, after(1))
        async with storage.reading() as uow:
            found = await uow.sessions.find(session.id)
            assert found is not None
            assert found.session.ended_at == after(1)
            bob = await register(storage, "bob")
            assert await uow.users.find_by_login("bob") == bob


@promises.replica_away
async def test_no_read_fails_while_the_replica_goes_away_and_comes_back(pair: Pair, opened: Open) -> None:
    storage = opened()
    ada = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await storage.ping_replica()
    assert await reads_replica(pair, storage, ada, movie)
    ended = asyncio.Event()

    async def read() -> None:
        while not ended.is_set():
            assert await score(storage, movie) != Score()

    with capture_logs() as logs:
        readers = [asyncio.create_task(read()) for _ in range(4)]
        await asyncio.to_thread(pair.replica.stop)
        await until(lambda: asyncio.sleep(0, bool(logs)))
        await rate(storage, ada, movie, 7)
        assert await score(storage, movie) == Score(7, 1)
        await asyncio.to_thread(pair.replica.start)
        await until(lambda: asyncio.sleep(0, len(logs) == 2))
        ended.set()
        await asyncio.gather(*readers)
    assert [entry["event"] for entry in logs] == ["replica_not_fresh", "replica_is_fresh_again"]
    assert logs[0]["why"] == "it gives no answer"
    assert await reads_replica(pair, storage, ada, movie)


@promises.replica_away
async def test_a_replica_that_hangs_is_given_up_in_time(pair: Pair, opened: Open) -> None:
    storage = opened(patience=HASTE)
    (movie,) = await remember(storage, facts(1))
    await pair.caught_up()
    await storage.ping_replica()
    assert await score(storage, movie) == Score()
    pair.replica.send(signal.SIGSTOP)
    try:
        for times in (1, 20):  # it is waited for once
            started = time.monotonic()
            for _ in range(times):
                assert await score(storage, movie) == Score()
            assert time.monotonic() - started < 1.5
    finally:
        pair.replica.send(signal.SIGCONT)


async def test_a_primary_that_hangs_is_not_waited_for_by_strangers_and_nobody_else_is_shown_what_is_old(
    pair: Pair, opened: Open
) -> None:
    storage = opened(longest_lag=0.1, patience=HASTE)
    ada = await register(storage, "ada")
    (movie,) = await remember(storage, facts(1))
    await pair.caught_up()
    await storage.ping_replica()
    pair.primary.send(signal.SIGSTOP)
    try:
        await until(lambda: is_told(storage, "there is no primary"))
        started = time.monotonic()
        for _ in range(20):
            assert await score(storage, movie) == Score()
        assert time.monotonic() - started < 1.5
        with pytest.raises(Unavailable):
            await score(storage, movie, by=ada)
    finally:
        pair.primary.send(signal.SIGCONT)


async def test_a_replica_that_is_behind_stands_in_for_a_primary_that_has_just_failed(pair: Pair, opened: Open) -> None:
    storage = opened(longest_lag=0.5, every=LONG)  # so that nothing but the read itself finds out
    (movie,) = await remember(storage, facts(1))
    await pair.caught_up()
    await storage.ping_replica()
    await asyncio.to_thread(pair.primary.stop)
    stopped_at = time.monotonic()
    while time.monotonic() - stopped_at < 0.7:
        assert await score(storage, movie) == Score()


async def test_while_the_cache_is_out_whoever_may_have_written_elsewhere_reads_from_the_primary(
    pair: Pair, opened: Open, shared: OpenCache
) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    ours, theirs, ada, movie = await two_processes(opened, shared(nowhere), shared(nowhere))
    async with pair.held_back():
        await rate(ours, ada, movie, 9)
        for storage in (ours, theirs):
            assert await score(storage, movie, by=ada) == Score(9, 1)
            assert await score(storage, movie) == Score()


@promises.replica_late
async def test_who_has_waited_for_the_cache_for_long_enough_reads_from_the_primary(
    pair: Pair, opened: Open, shared: OpenCache
) -> None:
    ours, theirs, ada, movie = await two_processes(opened, shared(), shared())
    async with pair.held_back():
        await rate(ours, ada, movie, 9)
        CALLER.set(Caller())
        await helped_by(asyncio.sleep(MOST_HELPED))
        assert await score(theirs, movie, by=ada) == Score(9, 1)


@pytest.mark.parametrize(("url", "why"), [("primary", "it is no replica"), ("other", "it is of another database")])
async def test_what_does_not_replicate_the_primary_is_not_read(
    pair: Pair, migrated_url: str, url: str, why: str
) -> None:
    address = pair.primary.url("live")
    replica = PostgresStorage(address if url == "primary" else migrated_url, **SLOW)
    storage = ReplicatedStorage(PostgresStorage(address, **SLOW), replica, MemoryCache(CLOCK), CLOCK, every=0.01)
    (movie,) = await remember(storage, facts(1))
    with pytest.raises(Unavailable, match=why):
        await storage.ping_replica()
    assert await score(storage, movie) == Score()
    await storage.close()


async def test_a_replica_that_was_promoted_is_not_read(pair: Pair, opened: Open) -> None:
    storage = opened()
    (movie,) = await remember(storage, facts(1))
    await pair.caught_up()
    await storage.ping_replica()
    try:
        await pair.replica.run("SELECT pg_promote()")
        await pair.replica.run("UPDATE movies SET title = 'what others write'", "live")
        await until(lambda: is_told(storage, "it is no replica"))
        async with storage.reading() as uow:
            assert await uow.movies.get(movie.id) == movie
    finally:
        await asyncio.to_thread(pair.copy)


def settings(pair: Pair, valkey_url: str) -> Settings:
    return Settings(
        database_url=pair.primary.url("live"),
        database_replica_url=pair.replica.url("live"),
        redis_url=valkey_url,
        tmdb_url="demo://",
        secret_key="k" * 32,
        bcrypt_cost=4,
        public_max_age=0,
        **UNLIMITED,
    )


@promises.replica_away
async def test_without_the_primary_strangers_read_on_and_the_rest_is_503(pair: Pair, valkey_url: str) -> None:
    async with running(settings(pair, valkey_url)) as container, api_over(container) as api:
        token = await api.joined("ada")
        (movie,) = await remember(container.storage(), facts(1))
        await pair.caught_up()
        assert [finding.state for finding in await examine(checks_of(container))] == ["ok"] * 5
        path, listed = f"/api/movies/{movie.id}/", "/api/movies/"
        for answer in (await api.get(path), await api.get(listed), await api.get(path, token=token)):
            assert answer.status_code == 200, answer.text
        await asyncio.to_thread(pair.primary.stop)
        started = time.monotonic()
        while time.monotonic() - started < 2.5:  # longer than the replica counts as fresh
            assert (await api.get(path)).json()["title"] == movie.facts.title
            assert (await api.get(listed)).json()["count"] == 1
            assert (await api.get(path + "reviews/")).status_code == 200
        assert (await api.get("/api/movies/999/")).status_code == 404
        problem(await api.get(path, token=token), 503, "unavailable")
        problem(await api.post(path + "rate/", {"rating": 5}, token=token), 503, "unavailable")
        account = {"username": "bob", "email": "bob@example.org", "password": "one small orange cat"}
        problem(await api.post("/api/auth/users/", account), 503, "unavailable")
        await asyncio.to_thread(pair.primary.start)

        async def rated() -> bool:
            return (await api.post(path + "rate/", {"rating": 5}, token=token)).status_code == 201

        await until(rated)
        assert (await api.get(path, token=token)).json()["user_rating"]["rating"] == 5


async def test_a_replica_that_is_away_is_a_degraded_part(pair: Pair, valkey_url: str) -> None:
    pair.replica.stop()
    async with running(settings(pair, valkey_url)) as container:
        found = {finding.part: finding for finding in await examine(checks_of(container))}
    assert (found["replica"].state, found["replica"].reason) == ("degraded", "it gives no answer")
    assert {finding.state for part, finding in found.items() if part != "replica"} == {"ok"}


async def test_doctor_warns_of_a_replica_that_is_behind(pair: Pair, valkey_url: str) -> None:
    found: dict[bool, Finding] = {}
    async with pair.held_back():
        await pair.primary.run("COMMENT ON DATABASE live IS 'late'", "live")
        async with running(settings(pair, valkey_url)) as container:
            found[True] = {each.part: each async for each in examination(container)}["replica"]
    await pair.caught_up()
    async with running(settings(pair, valkey_url)) as container:
        found[False] = {each.part: each async for each in examination(container)}["replica"]
    assert found[False].state == "ok"
    assert found[True].state == "degraded"
    assert found[True].reason.startswith("it is behind: all reads go to the primary meanwhile")


async def test_who_has_no_replica_pays_for_none(migrated_url: str) -> None:
    async with running(Settings(database_url=migrated_url, secret_key="k" * 32)) as container:
        assert type(container.storage()) is PostgresStorage
        assert "replica" not in [check.part for check in checks_of(container)]
