"""What every storage owes as a whole, and how the other contracts put people and films into one."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import pytest

from moviehub.application.storage import Storage
from moviehub.domain.audit import Entry, Event
from moviehub.domain.errors import Invalid
from moviehub.domain.movies import Movie, MovieDetail, MovieFacts
from moviehub.domain.pages import Page, PageRequest
from moviehub.domain.ratings import Opinion, Score
from moviehub.domain.sessions import Session
from moviehub.domain.users import NewUser, User

T = TypeVar("T")

NOW = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
IMPOSSIBLE_IDS = (0, -1, 2**31, 2**63 - 1, 2**63, 10**30)
IMPOSSIBLE_TEXTS = ("nul\0", "lone\ud800", "\udfff")


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def new_user(name: str, **more: Any) -> NewUser:
    return NewUser(**{"username": name, "email": f"{name}@example.org", "password_hash": "plain:secret", **more})


async def register(storage: Storage, name: str, **more: Any) -> User:
    async with storage.transaction() as uow:
        return await uow.users.add(new_user(name, **more), NOW)


def facts(tmdb_id: int, **more: Any) -> MovieFacts:
    return MovieFacts(
        **{
            "tmdb_id": tmdb_id,
            "title": f"Film {tmdb_id}",
            "overview": "Two lines,\nand a \N{CLAPPER BOARD}.",
            "release_date": date(1999, 12, 31),
            "poster_path": "/p.jpg",
            "backdrop_path": None,
            "popularity": 10.5,
            "vote_average": 7.25,
            "vote_count": 12,
            "original_language": "en",
            "genre_ids": (18, 35),
            **more,
        }
    )


async def remember(storage: Storage, *told: MovieFacts, at: datetime = NOW) -> tuple[Movie, ...]:
    async with storage.transaction() as uow:
        return await uow.movies.remember(told, at)


async def rate(
    storage: Storage, user: User, movie: Movie, score: int, review: str | None = None, *, at: datetime = NOW
) -> None:
    async with storage.transaction() as uow:
        await uow.ratings.save(user.id, movie.id, Opinion(score=score, review=review), at)


async def keep(storage: Storage, user: User, movie: Movie, *, at: datetime = NOW) -> None:
    async with storage.transaction() as uow:
        await uow.favorites.add(user.id, movie.id, at)


async def sign_in(storage: Storage, user: User, *, at: datetime = NOW, seconds: float = 3600) -> Session:
    async with storage.transaction() as uow:
        expires_at = at + timedelta(seconds=seconds)
        return await uow.sessions.add(user.id, at=at, expires_at=expires_at, client="a browser", address="192.0.2.1")


async def detail(storage: Storage, movie: Movie) -> MovieDetail:
    async with storage.reading() as uow:
        return await uow.movies.detail(movie.id)


async def scrolled(ask: Callable[[PageRequest], Awaitable[Page[T]]], size: int) -> list[T]:
    """All that is found by cursor, page after page."""
    page = await ask(PageRequest(1, size))
    found = [*page.items]
    while page.end is not None:
        assert len(page.items) == size
        page = await ask(PageRequest(1, size, page.end))
        assert page.total is None
        assert page.items
        found += page.items
    return found


class Broken(Exception):
    """What a test breaks a transaction with."""


class StorageContract:
    async def test_everything_done_inside_is_kept_on_a_clean_exit(self, storage: Storage) -> None:
        async with storage.transaction() as uow:
            user = await uow.users.add(new_user("ada"), NOW)
            (movie,) = await uow.movies.remember([facts(1)], NOW)
            await uow.favorites.add(user.id, movie.id, NOW)
            await uow.ratings.save(user.id, movie.id, Opinion(score=8), NOW)
            session = await uow.sessions.add(user.id, at=NOW, expires_at=after(60), client="", address="")
        async with storage.reading() as uow:
            assert await uow.users.get(user.id) == user
            assert await uow.movies.get(movie.id) == movie
            assert (await uow.favorites.list(user.id, PageRequest())).total == 1
            assert (await uow.ratings.get(user.id, movie.id)).opinion == Opinion(score=8)
            found = await uow.sessions.find(session.id)
            assert found is not None
            assert found.session == session

    async def test_on_any_error_nothing_is_kept(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))
        session = await sign_in(storage, ada)

        async def change_and_break() -> None:
            async with storage.transaction() as uow:
                await uow.users.add(new_user("bob"), NOW)
                await uow.users.save(ada.with_profile(after(1), bio="changed"))
                await uow.movies.remember([facts(2), facts(1, title="Changed")], after(1))
                await uow.favorites.add(ada.id, movie.id, NOW)
                await uow.ratings.save(ada.id, movie.id, Opinion(score=1), NOW)
                await uow.sessions.end(session.id, after(1))
                raise Broken

        with pytest.raises(Broken):
            await change_and_break()
        async with storage.reading() as uow:
            assert await uow.users.get(ada.id) == ada
            assert await uow.users.find_by_login("bob") is None
            assert await uow.movies.get(movie.id) == movie
            assert await uow.movies.find_by_tmdb(2) is None
            assert await uow.favorites.list(ada.id, PageRequest()) == Page((), 0, PageRequest())
            assert await uow.ratings.list(ada.id, PageRequest()) == Page((), 0, PageRequest())
            found = await uow.sessions.find(session.id)
            assert found is not None
            assert found.session == session

    async def test_a_name_given_up_by_a_broken_transaction_is_free(self, storage: Storage) -> None:
        async def register_and_break() -> None:
            async with storage.transaction() as uow:
                await uow.users.add(new_user("ada"), NOW)
                raise Broken

        with pytest.raises(Broken):
            await register_and_break()
        assert (await register(storage, "ada")).username == "ada"

    async def test_a_cancelled_transaction_keeps_nothing_and_lets_others_go_on(self, storage: Storage) -> None:
        added = asyncio.Event()

        async def hang() -> None:
            async with storage.transaction() as uow:
                await uow.users.add(new_user("ada"), NOW)
                added.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hang())
        await added.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await register(storage, "ada")).username == "ada"

    async def test_what_is_not_committed_is_seen_inside_alone(self, storage: Storage) -> None:
        async with storage.transaction() as uow:
            user = await uow.users.add(new_user("ada"), NOW)
            assert await uow.users.get(user.id) == user
            async with storage.reading() as other:
                assert await other.users.find_by_login("ada") is None
        async with storage.reading() as other:
            assert await other.users.find_by_login("ada") == user

    async def test_each_read_sees_everything_committed_before_it(self, storage: Storage) -> None:
        async with storage.reading() as uow:
            assert await uow.users.find_by_login("ada") is None
            user = await register(storage, "ada")
            assert await uow.users.find_by_login("ada") == user
            (movie,) = await remember(storage, facts(1))
            assert (await uow.movies.detail(movie.id)).score == Score()
            await rate(storage, user, movie, 9)
            assert (await uow.movies.detail(movie.id)).score == Score(9, 1)

    async def test_reading_is_for_reads_alone(self, storage: Storage) -> None:
        async with storage.reading() as uow:
            with pytest.raises(TypeError):
                await uow.users.add(new_user("ada"), NOW)
            with pytest.raises(TypeError):
                await uow.movies.remember([facts(1)], NOW)
            with pytest.raises(TypeError):
                await uow.audit.add(Entry(at=NOW, event=Event.CACHE_FLUSH))

    async def test_work_of_one_call_is_kept(self, storage: Storage) -> None:
        async with storage.autocommit() as uow:
            user = await uow.users.add(new_user("ada"), NOW)
        async with storage.autocommit() as uow:
            (movie,) = await uow.movies.remember([facts(1)], NOW)
        async with storage.autocommit() as uow:
            assert await uow.favorites.add(user.id, movie.id, NOW)
        async with storage.autocommit() as uow:
            marked, is_new = await uow.ratings.save(user.id, movie.id, Opinion(score=3), NOW)
        async with storage.reading() as uow:
            assert is_new
            assert await uow.movies.marks(user.id, [movie.id]) == {movie.id: marked.mark}

    async def test_of_a_call_that_fails_nothing_is_kept(self, storage: Storage) -> None:
        with pytest.raises(Invalid):
            async with storage.autocommit() as uow:
                await uow.movies.remember([facts(1), facts(2, title="nul\0")], NOW)
        async with storage.reading() as uow:
            assert await uow.movies.find_by_tmdb(1) is None

    async def test_of_many_single_calls_at_once_none_is_lost(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        told = [facts(number) for number in range(1, 21)]

        async def tell_and_keep(number: int) -> None:
            async with storage.autocommit() as uow:
                movies = await uow.movies.remember([*told[number:], *told[:number]], NOW)
            async with storage.autocommit() as uow:
                await uow.favorites.add(user.id, movies[0].id, NOW)

        await asyncio.gather(*(tell_and_keep(number) for number in range(20)))
        async with storage.reading() as uow:
            assert (await uow.favorites.list(user.id, PageRequest())).total == 20

    async def test_many_at_once_who_revise_one_rating_lose_no_revision(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))
        await rate(storage, user, movie, 1)

        async def revise() -> None:
            async with storage.transaction() as uow:
                rating = await uow.ratings.get(user.id, movie.id)
                await uow.ratings.save(user.id, movie.id, Opinion(score=rating.opinion.score + 1), NOW)

        await asyncio.gather(*(revise() for _ in range(8)))
        assert (await detail(storage, movie)).score == Score(9, 1)

    async def test_many_at_once_who_change_one_account_lose_no_change(self, storage: Storage) -> None:
        user = await register(storage, "ada")

        async def change() -> None:
            async with storage.transaction() as uow:
                fresh = await uow.users.get(user.id)
                await uow.users.save(fresh.with_profile(NOW, bio=(fresh.bio or "") + "x"))

        await asyncio.gather(*(change() for _ in range(8)))
        async with storage.reading() as uow:
            assert (await uow.users.get(user.id)).bio == "x" * 8
