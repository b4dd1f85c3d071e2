"""Pages that several ask for at once come from one statement, and each gets what they would have got alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from moviehub.adapters.postgres import favorites, ratings
from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.adapters.postgres.storage import PostgresStorage
from moviehub.adapters.postgres.together import MOST_TOGETHER, Together
from moviehub.application.storage import UnitOfWork
from moviehub.domain.errors import Invalid, Unavailable
from moviehub.domain.movies import ORDERINGS, MovieFilter
from moviehub.domain.pages import Page, PageRequest
from moviehub.domain.ratings import Opinion
from tests.contracts.storage import NOW, facts, register

FILMS, PEOPLE = 60, 4
Ask = Callable[[UnitOfWork], Awaitable[Page[Any]]]


class Counted(Runs):
    """Runs statements on another, and tells which."""

    def __init__(self, run: Runs) -> None:
        self.run = run
        self.told: list[Statement] = []

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        self.told.append(statement)
        return await self.run.rows(statement, **values)


@pytest.fixture
async def storage(migrated_url: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(migrated_url, wait_timeout=20.0, connect_timeout=20.0, command_timeout=20.0)
    yield storage
    await storage.close()


async def filled(storage: PostgresStorage) -> list[int]:
    """The ids of four people, each with favourites, ratings and reviews among sixty films, some without a date."""
    people = [(await register(storage, f"person{number}")).id for number in range(PEOPLE)]
    told = [
        facts(
            number,
            title=f"Film {number % 7}",
            popularity=float(number % 5),
            vote_average=float(number % 3),
            release_date=date(1990, 1, 1) + timedelta(days=number % 11) if number % 4 else None,
        )
        for number in range(1, FILMS + 1)
    ]
    async with storage.transaction() as uow:
        movies = await uow.movies.remember(told, NOW)
        for place, user_id in enumerate(people):
            for movie in movies[place :: place + 2]:
                await uow.favorites.add(user_id, movie.id, NOW + timedelta(seconds=movie.id % 6))
                opinion = Opinion(score=1 + movie.id % 10, review="words" if movie.id % 2 else None)
                await uow.ratings.save(user_id, movie.id, opinion, NOW + timedelta(seconds=movie.id % 5))
    return people


def asks(people: Sequence[int]) -> list[Ask]:
    """Every kind of page that is read together, of several callers."""
    pages = [PageRequest(1, 7), PageRequest(2, 7), PageRequest(3, 10), PageRequest(1, 100)]
    found: list[Ask] = []
    for name in ORDERINGS:
        for wanted in (MovieFilter(ordering=name), MovieFilter(ordering=f"-{name}")):
            found += [lambda uow, wanted=wanted, page=page: uow.movies.list(wanted, page) for page in pages]  # type: ignore[misc]
    for person in people:
        for page in pages[:2]:
            found += [
                lambda uow, person=person, page=page: uow.favorites.list(person, page),  # type: ignore[misc]
                lambda uow, person=person, page=page: uow.ratings.list(person, page),  # type: ignore[misc]
                lambda uow, person=person, page=page: uow.ratings.reviews(person, page),  # type: ignore[misc]
            ]
    return found


async def outcome(ask: Ask, uow: UnitOfWork) -> Page[Any] | str:
    try:
        return await ask(uow)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"


async def test_whoever_asks_with_others_gets_the_page_that_they_would_get_alone(storage: PostgresStorage) -> None:
    wanted = asks(await filled(storage))
    async with storage.reading() as uow:
        alone = [await outcome(each, uow) for each in wanted]
        assert await asyncio.gather(*(outcome(each, uow) for each in wanted)) == alone
    assert sum(isinstance(each, Page) and len(each.items) > 1 for each in alone) > len(alone) * 2 / 3


async def test_whoever_reads_on_with_others_gets_what_follows(storage: PostgresStorage) -> None:
    await filled(storage)
    async with storage.reading() as uow:
        for name in ORDERINGS:
            for wanted in (MovieFilter(ordering=name), MovieFilter(ordering=f"-{name}")):
                whole = (await uow.movies.list(wanted, PageRequest(1, 100))).items
                ends = [(await uow.movies.list(wanted, PageRequest(1, size))).end for size in range(1, 59, 7)]
                pages = await asyncio.gather(*(uow.movies.list(wanted, PageRequest(1, 5, end)) for end in ends))
                assert [page.items for page in pages] == [whole[size : size + 5] for size in range(1, 59, 7)]


async def test_many_who_ask_at_once_cost_a_statement_or_two(storage: PostgresStorage) -> None:
    people = await filled(storage)
    run = Counted(storage.pool)
    lists = Together(run, favorites.LIST, favorites.LISTS)
    await asyncio.gather(*(lists.rows(user_id=person, size=size, skipped=0) for person in people for size in (3, 9)))
    assert run.told == [favorites.LISTS]
    await lists.rows(user_id=people[0], size=3, skipped=0)
    assert run.told == [favorites.LISTS, favorites.LIST], "whoever is alone needs no lists"


async def test_very_many_are_answered_by_several_statements(storage: PostgresStorage) -> None:
    people = await filled(storage)
    run = Counted(storage.pool)
    lists = Together(run, ratings.LIST, ratings.LISTS)
    found = await asyncio.gather(
        *(lists.rows(user_id=people[0], size=size, skipped=0) for size in range(MOST_TOGETHER + 1))
    )
    assert [len(rows) for rows in found] == [min(size, FILMS // 2) for size in range(MOST_TOGETHER + 1)]
    assert run.told == [ratings.LISTS, ratings.LIST]


async def test_what_one_asks_wrongly_is_told_to_them_alone(storage: PostgresStorage) -> None:
    people = await filled(storage)
    lists = Together(storage.pool, favorites.LIST, favorites.LISTS)
    asked = [lists.rows(user_id=people[0], size=size, skipped=0) for size in (3, -1, 4)]
    good, bad, other = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(bad, Invalid)
    assert [len(each) for each in (good, other) if not isinstance(each, BaseException)] == [3, 4]


async def test_that_the_database_is_out_is_told_to_all(storage: PostgresStorage) -> None:
    people = await filled(storage)
    await storage.close()
    lists = Together(storage.pool, favorites.LIST, favorites.LISTS)
    asked = [lists.rows(user_id=people[0], size=size, skipped=0) for size in (3, 4, 5)]
    assert {type(each) for each in await asyncio.gather(*asked, return_exceptions=True)} == {Unavailable}
