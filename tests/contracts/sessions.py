"""What every storage of sessions owes; a subclass has a fixture `storage`."""

import asyncio
from dataclasses import replace

import pytest

from moviehub.application.storage import Storage
from moviehub.domain.errors import Invalid
from moviehub.domain.pages import NoSuchPage, Page, PageRequest
from moviehub.domain.sessions import BadToken, Session, SignedIn
from tests.contracts.storage import IMPOSSIBLE_IDS, IMPOSSIBLE_TEXTS, NOW, after, register, sign_in


class SessionsContract:
    async def test_a_session_begins_with_counter_0(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        async with storage.transaction() as uow:
            session = await uow.sessions.add(
                user.id, at=NOW, expires_at=after(60), client="a browser", address="2001:db8::1"
            )
        assert session == Session(
            id=session.id,
            user_id=user.id,
            counter=0,
            created_at=NOW,
            last_used_at=NOW,
            expires_at=after(60),
            ended_at=None,
            client="a browser",
            address="2001:db8::1",
        )

    async def test_no_session_begins_for_an_account_that_is_gone(self, storage: Storage) -> None:
        for user_id in IMPOSSIBLE_IDS:
            with pytest.raises(BadToken):
                async with storage.transaction() as uow:
                    await uow.sessions.add(user_id, at=NOW, expires_at=after(60), client="", address="")

    async def test_text_that_cannot_be_stored_is_invalid(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        for text in IMPOSSIBLE_TEXTS:
            with pytest.raises(Invalid):
                async with storage.transaction() as uow:
                    await uow.sessions.add(user.id, at=NOW, expires_at=after(60), client=text, address="")

    async def test_a_session_is_found_with_its_account_live_or_not(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        live, ended = await sign_in(storage, user), await sign_in(storage, user)
        async with storage.transaction() as uow:
            await uow.sessions.end(ended.id, after(1))
        async with storage.reading() as uow:
            assert await uow.sessions.find(live.id) == SignedIn(live, user)
            assert await uow.sessions.find(ended.id) == SignedIn(replace(ended, ended_at=after(1)), user)
        async with storage.transaction() as uow:
            assert await uow.sessions.find(live.id) == SignedIn(live, user)

    async def test_a_session_that_is_not_there_is_not_found(self, storage: Storage) -> None:
        for session_id in IMPOSSIBLE_IDS:
            async with storage.reading() as uow:
                assert await uow.sessions.find(session_id) is None
            async with storage.transaction() as uow:
                assert await uow.sessions.find(session_id) is None

    async def test_a_rotation_counts_on_from_where_the_session_stands(self, storage: Storage) -> None:
        session = await sign_in(storage, await register(storage, "ada"))
        async with storage.transaction() as uow:
            rotated = await uow.sessions.rotate(session.id, 0, at=after(5), expires_at=after(65))
            assert rotated == replace(session, counter=1, last_used_at=after(5), expires_at=after(65))
            assert await uow.sessions.rotate(session.id, 0, at=after(6), expires_at=after(66)) is None
            assert await uow.sessions.rotate(session.id, 2, at=after(6), expires_at=after(66)) is None
        async with storage.reading() as uow:
            found = await uow.sessions.find(session.id)
        assert found is not None
        assert found.session == rotated

    async def test_a_session_that_has_ended_or_is_not_there_is_not_rotated(self, storage: Storage) -> None:
        session = await sign_in(storage, await register(storage, "ada"))
        async with storage.transaction() as uow:
            await uow.sessions.end(session.id, after(1))
            for session_id in (session.id, *IMPOSSIBLE_IDS):
                assert await uow.sessions.rotate(session_id, 0, at=after(2), expires_at=after(60)) is None

    async def test_of_many_rotations_at_once_one_succeeds(self, storage: Storage) -> None:
        session = await sign_in(storage, await register(storage, "ada"))

        async def rotate() -> Session | None:
            async with storage.transaction() as uow:
                return await uow.sessions.rotate(session.id, 0, at=after(5), expires_at=after(65))

        outcomes = await asyncio.gather(*(rotate() for _ in range(20)))
        assert [outcome.counter for outcome in outcomes if outcome] == [1]

    async def test_the_list_is_of_the_persons_live_sessions_latest_used_first(self, storage: Storage) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        first = await sign_in(storage, ada, at=after(0))
        tied = await sign_in(storage, ada, at=after(0))
        latest = await sign_in(storage, ada, at=after(9))
        ended = await sign_in(storage, ada, at=after(10))
        await sign_in(storage, ada, at=after(-100), seconds=50)  # over long ago
        await sign_in(storage, ada, at=after(-100), seconds=110)  # over at the very instant
        await sign_in(storage, bob, at=after(11))
        async with storage.transaction() as uow:
            await uow.sessions.end(ended.id, after(10))
        page = PageRequest(1, 2)
        async with storage.reading() as uow:
            assert await uow.sessions.list(ada.id, page, after(10)) == Page((latest, tied), 3, page)
            page = PageRequest(2, 2)
            assert await uow.sessions.list(ada.id, page, after(10)) == Page((first,), 3, page)
            for number in (3, 10**30):
                with pytest.raises(NoSuchPage):
                    await uow.sessions.list(ada.id, PageRequest(number, 2), after(10))

    async def test_the_list_of_somebody_without_sessions_is_empty(self, storage: Storage) -> None:
        for user_id in ((await register(storage, "ada")).id, *IMPOSSIBLE_IDS):
            async with storage.reading() as uow:
                assert await uow.sessions.list(user_id, PageRequest(), NOW) == Page((), 0, PageRequest())

    async def test_ending_tells_whether_the_session_was_live(self, storage: Storage) -> None:
        session = await sign_in(storage, await register(storage, "ada"))
        async with storage.transaction() as uow:
            assert await uow.sessions.end(session.id, after(1))
            assert not await uow.sessions.end(session.id, after(2))
            for session_id in IMPOSSIBLE_IDS:
                assert not await uow.sessions.end(session_id, after(2))
        async with storage.reading() as uow:
            found = await uow.sessions.find(session.id)
        assert found is not None
        assert found.session.ended_at == after(1)

    async def test_a_session_that_ran_out_ends_without_having_been_live(self, storage: Storage) -> None:
        session = await sign_in(storage, await register(storage, "ada"), seconds=60)
        async with storage.transaction() as uow:
            assert not await uow.sessions.end(session.id, after(60))
            assert await uow.sessions.rotate(session.id, 0, at=after(61), expires_at=after(99)) is None

    async def test_a_session_of_somebody_else_is_not_ended_for_a_person(self, storage: Storage) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        session = await sign_in(storage, ada)
        async with storage.transaction() as uow:
            for user_id in (bob.id, *IMPOSSIBLE_IDS):
                assert not await uow.sessions.end(session.id, after(1), user_id=user_id)
            assert await uow.sessions.end(session.id, after(1), user_id=ada.id)

    async def test_every_session_of_a_person_ends_perhaps_all_but_one(self, storage: Storage) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        sessions = [await sign_in(storage, user) for user in (ada, ada, ada, bob)]
        ids = [session.id for session in sessions]

        async def ends() -> list[object]:
            async with storage.reading() as uow:
                return [found.session.ended_at for each in ids if (found := await uow.sessions.find(each))]

        async with storage.transaction() as uow:
            await uow.sessions.end(ids[0], after(1))
            await uow.sessions.end_all(ada.id, after(2), but=ids[1])
        assert await ends() == [after(1), None, after(2), None]
        async with storage.transaction() as uow:
            await uow.sessions.end_all(ada.id, after(3))
            for user_id in IMPOSSIBLE_IDS:
                await uow.sessions.end_all(user_id, after(3))
        assert await ends() == [after(1), after(3), after(2), None]

    async def test_sessions_whose_time_is_over_end_as_of_then_a_few_at_a_time(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        seconds = (50, 10, 60, 61, 20, 30)
        sessions = [await sign_in(storage, ada, seconds=each) for each in seconds]

        async def ends() -> list[object]:
            async with storage.reading() as uow:
                return [found.session.ended_at for each in sessions if (found := await uow.sessions.find(each.id))]

        async with storage.autocommit() as uow:
            await uow.sessions.end(sessions[-1].id, after(1))
        for done in (2, 2, 0):
            async with storage.autocommit() as uow:
                assert await uow.sessions.end_expired(after(60), 2) == done
            if done:
                assert (await ends())[1] == after(10), "the longest over goes first"
        assert await ends() == [after(50), after(10), after(60), None, after(20), after(1)]

    async def test_of_many_who_end_expired_sessions_at_once_each_is_ended_by_one(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        for _ in range(12):
            await sign_in(storage, ada, seconds=10)

        async def end() -> int:
            async with storage.autocommit() as uow:
                return await uow.sessions.end_expired(after(10), 12)

        assert sum(await asyncio.gather(*(end() for _ in range(5)))) == 12
