"""Whatever people do, the storages in memory and on Postgres answer alike: values, errors and orders."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from structlog.testing import capture_logs

from moviehub.adapters.memory.storage import MemoryStorage
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.application.storage import Storage, UnitOfWork
from moviehub.domain.audit import Entry, Event
from moviehub.domain.errors import MovieHubError
from moviehub.domain.movies import MovieFacts, MovieFilter, MovieNotFound
from moviehub.domain.pages import Cursor, Page, PageRequest
from moviehub.domain.ratings import Opinion
from moviehub.domain.sessions import BadToken
from moviehub.domain.users import NewUser
from tests.contracts.storage import NOW
from tests.strategies import addresses, events, facts, filters, names, numbers, orderings, pages, searches, texts, waits

Act = Callable[[UnitOfWork, int], Awaitable[object]]  # done to the first storage, memory, or the second

ABSENT = 2**40
KINDS = {"user_id": "User", "actor_id": "User", "movie_id": "Movie"}


async def read_on(ask: Callable[[PageRequest], Awaitable[Page[Any]]], page: PageRequest) -> list[Page[Any]]:
    """A page, and all that comes after it by cursor."""
    found = [await ask(page)]
    while found[-1].end is not None:
        found.append(await ask(PageRequest(1, page.size, found[-1].end)))
    return found


class Agreement(RuleBasedStateMachine):
    """Does the same to both storages and compares. Ids are paired as they turn up, since each has its own."""

    def __init__(self, runner: asyncio.Runner, postgres: PostgresStorage) -> None:
        super().__init__()
        self.runner = runner
        self.storages: tuple[Storage, Storage] = (MemoryStorage(), postgres)
        self.now = NOW
        self.told: dict[int, MovieFacts] = {}
        self.pairs: tuple[dict[tuple[str, int], int], dict[tuple[str, int], int]] = ({}, {})
        self.known: dict[str, list[tuple[int, int]]] = {"User": [], "Movie": [], "Session": []}

    def do(self, act: Act, *, reading: bool = False) -> None:
        async def outcome(side: int) -> object:
            storage = self.storages[side]
            try:
                async with storage.reading() if reading else storage.transaction() as uow:
                    return await act(uow, side)
            except MovieHubError as error:
                return error

        self.alike(*(self.runner.run(outcome(side)) for side in (0, 1)))

    def alike(self, ours: Any, theirs: Any) -> None:
        assert type(ours) is type(theirs) or {type(ours), type(theirs)} == {BadToken, MovieNotFound}, (ours, theirs)
        if type(ours) is not type(theirs):
            return  # both are gone, and the database chooses which it misses first
        if isinstance(ours, MovieHubError):
            assert (str(ours), vars(ours)) == (str(theirs), vars(theirs))
        elif isinstance(ours, Cursor):
            assert ours.key == theirs.key  # of what the id is depends on the list
        elif is_dataclass(ours):
            for field in fields(ours):
                pair = getattr(ours, field.name), getattr(theirs, field.name)
                if (field.name == "id" or field.name in KINDS) and pair != (None, None):
                    self.paired(KINDS.get(field.name, type(ours).__name__), *pair)
                else:
                    self.alike(*pair)
        elif isinstance(ours, tuple | list):
            for pair in zip(ours, theirs, strict=True):
                self.alike(*pair)
        elif isinstance(ours, dict):
            assert len(ours) == len(theirs), (ours, theirs)
            for key, value in ours.items():
                self.alike(value, theirs[self.pairs[0]["Movie", key]])
        else:
            assert ours == theirs

    def paired(self, kind: str, ours: int, theirs: int) -> None:
        if ours == theirs == ABSENT:
            return
        assert self.pairs[0].setdefault((kind, ours), theirs) == theirs
        assert self.pairs[1].setdefault((kind, theirs), ours) == ours
        if kind in self.known and (ours, theirs) not in self.known[kind]:
            self.known[kind].append((ours, theirs))

    def id(self, kind: str, number: int, side: int) -> int:
        """The id of something that was there once, or now and then of nothing."""
        known = self.known[kind]
        return known[number % len(known)][side] if number and known else ABSENT

    @initialize(told=st.lists(facts, min_size=5, max_size=9))
    def begin(self, told: list[MovieFacts]) -> None:
        for name in ("ada", "bob"):
            self.register(name, f"{name}@example.org", None)
            self.sign_in(len(self.known["User"]), 60)
        self.remember(told, False)

    @rule(wait=waits)
    def time_passes(self, wait: float) -> None:
        self.now += timedelta(seconds=wait)

    @rule(name=names, address=addresses, bio=texts)
    def register(self, name: str, address: str, bio: str | None) -> None:
        address = name if "@" in name else address
        user = NewUser(username=name, email=address, password_hash="plain:secret", bio=bio)
        self.do(lambda uow, _: uow.users.add(user, self.now))

    @rule(user=numbers, address=addresses, bio=texts, breaks=st.booleans())
    def change_profile(self, user: int, address: str, bio: str | None, breaks: bool) -> None:
        async def act(uow: UnitOfWork, side: int) -> object:
            changed = (await uow.users.get(self.id("User", user, side))).with_profile(self.now, email=address, bio=bio)
            await uow.users.save(changed)
            if breaks:
                raise MovieNotFound()
            return changed

        self.do(act)

    @rule(user=st.integers(0, 3))
    def forget(self, user: int) -> None:
        self.do(lambda uow, side: uow.users.remove(self.id("User", user, side)))

    @rule(user=numbers, seconds=st.sampled_from([1, 60, 10**6]))
    def sign_in(self, user: int, seconds: int) -> None:
        values: Any = {
            "at": self.now,
            "expires_at": self.now + timedelta(seconds=seconds),
            "client": "",
            "address": "a",
        }
        self.do(lambda uow, side: uow.sessions.add(self.id("User", user, side), **values))

    @rule(session=numbers, counter=st.integers(0, 2))
    def refresh(self, session: int, counter: int) -> None:
        values: Any = {"at": self.now, "expires_at": self.now + timedelta(seconds=60)}
        self.do(lambda uow, side: uow.sessions.rotate(self.id("Session", session, side), counter, **values))

    @rule(session=numbers, user=st.none() | numbers)
    def sign_out(self, session: int, user: int | None) -> None:
        self.do(
            lambda uow, side: uow.sessions.end(
                self.id("Session", session, side),
                self.now,
                user_id=None if user is None else self.id("User", user, side),
            )
        )

    @rule(user=numbers, but=st.none() | numbers)
    def sign_out_everywhere(self, user: int, but: int | None) -> None:
        self.do(
            lambda uow, side: uow.sessions.end_all(
                self.id("User", user, side), self.now, but=None if but is None else self.id("Session", but, side)
            )
        )

    @rule(user=numbers, actor=st.none() | numbers, event=events, detail=texts, breaks=st.booleans())
    def write_down(self, user: int, actor: int | None, event: Event, detail: str | None, breaks: bool) -> None:
        async def act(uow: UnitOfWork, side: int) -> None:
            user_id, actor_id = (None if each is None else self.id("User", each, side) for each in (user, actor))
            entry = Entry(at=self.now, event=event, user_id=user_id, actor_id=actor_id, detail=detail or "")
            await uow.audit.add(entry)
            if breaks:
                raise BadToken()

        with capture_logs() as lines:
            self.do(act)
        assert len(lines) == (0 if breaks else 2)  # one of each storage

    @rule(told=st.lists(facts, max_size=8), breaks=st.sampled_from([False, False, False, True]))
    def remember(self, told: list[MovieFacts], breaks: bool) -> None:
        async def act(uow: UnitOfWork, _: int) -> object:
            movies = await uow.movies.remember(told, self.now)
            if breaks:
                raise BadToken()
            return movies

        self.told = {one.tmdb_id: one for one in [*self.told.values(), *told]}
        self.do(act)

    @rule(picks=st.lists(numbers, min_size=1, max_size=3), change=st.sampled_from([{}, {}, {"title": "Other"}]))
    def remember_again(self, picks: list[int], change: dict[str, Any]) -> None:
        told = list(self.told.values())
        self.remember([replace(told[pick % len(told)], **change) for pick in picks], False)

    @rule(movie=numbers)
    def the_catalogue_drops(self, movie: int) -> None:
        self.do(lambda uow, side: uow.movies.drop(self.id("Movie", movie, side), self.now))

    @rule(hours=st.sampled_from([0, 1, 13]), most=st.integers(1, 4), picks=st.none() | st.lists(numbers, max_size=4))
    def look_for_the_outdated(self, hours: int, most: int, picks: list[int] | None) -> None:
        before = self.now - timedelta(hours=hours)
        self.do(lambda uow, _: uow.movies.outdated(before, most, tmdb_ids=picks), reading=True)

    @rule(most=st.integers(1, 3))
    def end_what_is_over(self, most: int) -> None:
        self.do(lambda uow, _: uow.sessions.end_expired(self.now, most))

    @rule(user=numbers, movie=numbers, keeps=st.booleans())
    def keep_or_drop(self, user: int, movie: int, keeps: bool) -> None:
        async def act(uow: UnitOfWork, side: int) -> object:
            key = self.id("User", user, side), self.id("Movie", movie, side)
            if keeps:
                return await uow.favorites.add(*key, self.now)
            await uow.favorites.remove(*key)
            return None

        self.do(act)

    @rule(user=st.integers(1, 2), movies=st.lists(numbers, min_size=3, max_size=6), wait=waits)
    def keep_and_rate_many(self, user: int, movies: list[int], wait: float) -> None:
        for number in movies:
            self.keep_or_drop(user, number, True)
            self.rate(user, number, number + 1, "fine", "s")
            self.time_passes(wait)

    @rule(user=numbers, movie=numbers, score=st.integers(1, 10), review=texts, how=st.sampled_from("sssrrd"))
    def rate(self, user: int, movie: int, score: int, review: str | None, how: str) -> None:
        async def act(uow: UnitOfWork, side: int) -> object:
            key = self.id("User", user, side), self.id("Movie", movie, side)
            if how == "d":
                await uow.ratings.remove(*key)
                return None
            opinion = Opinion(score=score, review=review)
            if how == "r":
                opinion = (await uow.ratings.get(*key)).revised(self.now, score=score).opinion
            return await uow.ratings.save(*key, opinion, self.now)

        self.do(act)

    @rule(wanted=filters, page=pages, left_out=numbers)
    def list_movies(self, wanted: MovieFilter, page: PageRequest, left_out: int) -> None:
        self.do(
            lambda uow, side: read_on(
                partial(uow.movies.list, replace(wanted, except_id=self.id("Movie", left_out, side))), page
            ),
            reading=True,
        )

    @rule(user=numbers, movie=numbers, page=pages)
    def look_at_lists(self, user: int, movie: int, page: PageRequest) -> None:
        self.do(lambda uow, side: read_on(partial(uow.favorites.list, self.id("User", user, side)), page), reading=True)
        self.do(lambda uow, side: read_on(partial(uow.ratings.list, self.id("User", user, side)), page), reading=True)
        self.do(lambda uow, side: uow.sessions.list(self.id("User", user, side), page, self.now), reading=True)
        self.do(
            lambda uow, side: read_on(partial(uow.ratings.reviews, self.id("Movie", movie, side)), page), reading=True
        )

    @rule(search=searches, page=pages, user=st.none() | numbers, event=st.none() | events)
    def govern(self, search: str, page: PageRequest, user: int | None, event: Event | None) -> None:
        self.do(lambda uow, _: uow.users.list(search, page), reading=True)
        self.do(
            lambda uow, side: uow.audit.list(
                page, user_id=None if user is None else self.id("User", user, side), event=event
            ),
            reading=True,
        )

    @rule(user=numbers, movie=numbers, session=numbers, name=names | addresses)
    def look_closely(self, user: int, movie: int, session: int, name: str) -> None:
        def key(side: int) -> tuple[int, int]:
            return self.id("User", user, side), self.id("Movie", movie, side)

        self.do(lambda uow, side: uow.users.get(key(side)[0]), reading=True)
        self.do(lambda uow, side: uow.movies.detail(key(side)[1]), reading=True)
        self.do(lambda uow, side: uow.ratings.get(*key(side)), reading=True)
        self.do(lambda uow, side: uow.sessions.find(self.id("Session", session, side)), reading=True)
        self.do(lambda uow, _: uow.users.find_by_login(name), reading=True)
        self.do(lambda uow, _: uow.movies.find_by_tmdb(movie), reading=True)
        self.do(
            lambda uow, side: uow.movies.marks(key(side)[0], [pair[side] for pair in self.known["Movie"]]), reading=True
        )

    def teardown(self) -> None:
        for ordering in orderings:
            self.list_movies(MovieFilter(ordering=ordering), PageRequest(1, 100), 0)
        self.govern("", PageRequest(1, 100), None, None)
        for number in range(max(map(len, self.known.values())) + 1):
            self.look_at_lists(number, number, PageRequest(1, 2))
            self.look_at_lists(number, number, PageRequest(2, 2))
            self.look_closely(number, number, number, "ada")


@contextmanager
def postgres(runner: asyncio.Runner, url: str) -> Iterator[Callable[[], PostgresStorage]]:
    """A storage on Postgres that can be emptied."""
    storage = PostgresStorage(url, max_size=2, count_ttl=0, wait_timeout=20, connect_timeout=20, command_timeout=20)
    operator = runner.run(asyncpg.connect(url))
    runner.run(operator.execute("DROP TRIGGER append_only ON audit"))

    def emptied() -> PostgresStorage:
        for table in ("favorites", "ratings", "sessions", "users", "movies", "audit"):
            runner.run(operator.execute(f"DELETE FROM {table}"))
        return storage

    try:
        yield emptied
    finally:
        runner.run(operator.close())
        runner.run(storage.close())


def test_both_storages_answer_alike_whatever_people_do(migrated_url: str) -> None:
    with asyncio.Runner() as runner, postgres(runner, migrated_url) as emptied:
        run_state_machine_as_test(
            lambda: Agreement(runner, emptied()),  # type: ignore[arg-type]  # it only calls what it is given
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
