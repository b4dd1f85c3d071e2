"""What people can do with their sessions, without HTTP."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from moviehub.adapters.memory.passwords import MemoryPasswords
from moviehub.application import sessions as module
from moviehub.application.sessions import Grant
from moviehub.domain.audit import Event
from moviehub.domain.pages import PageRequest
from moviehub.domain.sessions import BadCredentials, BadToken, SessionNotFound
from moviehub.entrypoints.harness import Harness, harness
from tests import promises

PHRASE, ANOTHER = "correct horse battery", "another good phrase"


async def signed_in(hub: Harness) -> Grant:
    await hub.register(username="alice", email="alice@example.org", password=PHRASE)
    grant: Grant = await hub.sign_in(login="alice", password=PHRASE)
    return grant


class OldPasswords(MemoryPasswords):
    """Finds every hash out of date."""

    def is_current(self, password_hash: str) -> bool:
        return False

    async def verify(self, password: str, password_hash: str | None) -> bool:
        return await MemoryPasswords().verify(password, password_hash)


async def test_a_hash_that_is_out_of_date_is_renewed_at_log_in() -> None:
    async with harness() as hub:
        old = (await signed_in(hub)).user
        await replace(hub.sign_in, passwords=OldPasswords())(login="alice", password=PHRASE)
        async with hub.container.storage().reading() as uow:
            new = await uow.users.get(old.id)
        assert new.password_hash != old.password_hash
        assert new.updated_at == old.updated_at  # nothing that anybody sees has changed
        await hub.sign_in(login="alice", password=PHRASE)


@pytest.mark.parametrize("change", ["another password", "deactivated", "deleted"])
async def test_an_account_that_changed_while_we_were_hashing_opens_no_session(change: str) -> None:
    async with harness() as hub:
        root = await hub.register(username="root", email="root@example.org", password=PHRASE, is_superuser=True)
        alice = (await signed_in(hub)).user

        class Slow(MemoryPasswords):
            async def verify(self, password: str, password_hash: str | None) -> bool:
                right = await super().verify(password, password_hash)
                match change:
                    case "another password":
                        await hub.set_password(login="alice", password=ANOTHER)
                    case "deactivated":
                        await hub.govern_user(actor_id=root.id, user_id=alice.id, is_active=False)
                    case "deleted":
                        await hub.delete_account(user_id=alice.id, password=PHRASE)
                return right

        with pytest.raises(BadCredentials):
            await replace(hub.sign_in, passwords=Slow())(login="alice", password=PHRASE, address="192.0.2.1")
        assert (await hub.list_sessions(user_id=alice.id, page=PageRequest())).total == 0
        (failed,) = (await hub.list_audit(page=PageRequest(), event=Event.FAILED_SIGN_IN)).items
        assert (failed.entry.user_id, failed.entry.detail) == (alice.id, "the account changed meanwhile")


async def test_an_account_that_is_switched_off_lets_nobody_in() -> None:
    async with harness() as hub:
        grant = await signed_in(hub)
        async with hub.container.storage().transaction() as uow:
            await uow.users.save(replace(await uow.users.get(grant.user.id), is_active=False))
        with pytest.raises(BadCredentials):
            await hub.sign_in(login="alice", password=PHRASE)
        for refused in (
            hub.authenticate(access=grant.access),
            hub.refresh_session(refresh=grant.refresh),
            hub.verify_token(token=grant.access),
            hub.verify_token(token=grant.refresh),
        ):
            with pytest.raises(BadToken):
                await refused


async def test_ten_who_refresh_at_once_get_one_and_the_same_successor() -> None:
    async with harness() as hub:
        grant = await signed_in(hub)
        hub.clock.advance(seconds=5)
        grants = await asyncio.gather(*(hub.refresh_session(refresh=grant.refresh) for _ in range(10)))
        assert len({each.refresh for each in grants}) == 1
        for each in grants:
            assert (await hub.authenticate(access=each.access)).user.username == "alice"


async def test_reuse_ends_the_session_though_the_answer_is_a_refusal() -> None:
    async with harness() as hub:
        first = await signed_in(hub)
        second = await hub.refresh_session(refresh=first.refresh)
        hub.clock.advance(seconds=11)
        with pytest.raises(BadToken):
            await hub.refresh_session(refresh=first.refresh)
        with pytest.raises(BadToken):
            await hub.authenticate(access=second.access)
        assert (await hub.list_sessions(user_id=first.user.id, page=PageRequest())).total == 0


async def test_reuse_is_on_the_trail_though_the_answer_is_a_refusal() -> None:
    async with harness() as hub:
        first = await signed_in(hub)
        await hub.refresh_session(refresh=first.refresh)
        hub.clock.advance(seconds=11)
        for _ in range(2):  # the second time there is no session left to end
            with pytest.raises(BadToken):
                await hub.refresh_session(refresh=first.refresh, address="192.0.2.1")
        (entry,) = (await hub.list_audit(page=PageRequest(), event=Event.REFRESH_REUSE)).items
        assert (entry.entry.user_id, entry.entry.address) == (first.user.id, "192.0.2.1")


async def test_a_failed_sign_in_is_on_the_trail_with_what_was_wrong() -> None:
    async with harness() as hub:
        root = await hub.register(username="root", email="root@example.org", password=PHRASE, is_superuser=True)
        alice = (await signed_in(hub)).user
        await hub.govern_user(actor_id=root.id, user_id=alice.id, is_active=False)
        for login, password in (("nobody", PHRASE), ("x\0", PHRASE), ("root", ANOTHER), ("alice", PHRASE)):
            with pytest.raises(BadCredentials):
                await hub.sign_in(login=login, password=password, address="192.0.2.1")
        failed = (await hub.list_audit(page=PageRequest(), event=Event.FAILED_SIGN_IN)).items
        assert [(each.entry.user_id, each.entry.detail) for each in reversed(failed)] == [
            (None, "no such account"),
            (None, "no such account"),
            (root.id, "wrong password"),
            (alice.id, "the account is deactivated"),
        ]
        assert {(each.entry.actor_id, each.entry.address) for each in failed} == {(None, "192.0.2.1")}


@pytest.mark.parametrize("known", [True, False], ids=["whose account was kept", "who was lost altogether"])
async def test_when_a_storage_is_restored_old_tokens_open_no_session_of_somebody_else(known: bool) -> None:
    async with harness() as before, harness() as after:  # with one key, and each counting its ids from 1
        for hub in (before, after) if known else (before,):
            await hub.register(username="alice", email="alice@example.org", password=PHRASE)
        old = await before.sign_in(login="alice", password=PHRASE)
        before.clock.advance(seconds=5)
        newer = await before.refresh_session(refresh=old.refresh)
        after.clock.advance(seconds=5 if known else 120)  # where ids tell, no time need pass
        await after.register(username="mallory", email="mallory@example.org", password=PHRASE)
        theirs = await after.sign_in(login="mallory", password=PHRASE)
        for grant in (old, newer):
            for attempt in (
                after.authenticate(access=grant.access),
                after.refresh_session(refresh=grant.refresh),
                after.verify_token(token=grant.access),
                after.verify_token(token=grant.refresh),
            ):
                with pytest.raises(BadToken):
                    await attempt
            if known:
                await after.revoke_token(refresh=grant.refresh)
        assert (await after.authenticate(access=theirs.access)).user.username == "mallory"
        await after.refresh_session(refresh=theirs.refresh)


async def test_a_token_is_good_though_the_clock_of_who_wrote_it_was_a_little_behind() -> None:
    async with harness() as hub:
        grant = await signed_in(hub)
        hub.clock.advance(seconds=-9)
        behind = await hub.refresh_session(refresh=grant.refresh)
        for again in (0, 9):
            hub.clock.advance(seconds=again)
            await hub.authenticate(access=behind.access)
        await hub.refresh_session(refresh=behind.refresh)


@promises.refresh_reuse
async def test_reuse_of_one_session_ends_no_other() -> None:
    async with harness() as hub:
        first = await signed_in(hub)
        other = await hub.sign_in(login="alice", password=PHRASE)
        await hub.refresh_session(refresh=first.refresh)
        hub.clock.advance(seconds=11)
        with pytest.raises(BadToken):
            await hub.refresh_session(refresh=first.refresh)
        await hub.authenticate(access=other.access)


async def test_a_session_ends_after_ninety_days_however_often_it_is_used() -> None:
    async with harness() as hub:
        grant = await signed_in(hub)
        for _ in range(89):
            hub.clock.advance(timedelta(days=1))
            grant = await hub.refresh_session(refresh=grant.refresh)
        hub.clock.advance(timedelta(days=1))
        with pytest.raises(BadToken):
            await hub.refresh_session(refresh=grant.refresh)
        with pytest.raises(BadToken):
            await hub.authenticate(access=grant.access)


async def test_an_expired_session_is_not_listed_and_cannot_be_ended() -> None:
    async with harness() as hub:
        grant = await signed_in(hub)
        session = (await hub.authenticate(access=grant.access)).session
        hub.clock.advance(timedelta(days=30))
        assert (await hub.list_sessions(user_id=grant.user.id, page=PageRequest())).items == ()
        with pytest.raises(SessionNotFound):
            await hub.end_session(user_id=grant.user.id, session_id=session.id)


async def test_what_a_program_calls_itself_is_cut() -> None:
    async with harness() as hub:
        await signed_in(hub)
        grant = await hub.sign_in(login="alice", password=PHRASE, client="x" * 1_000, address="192.0.2.1")
        session = (await hub.authenticate(access=grant.access)).session
        assert (session.client, session.address) == ("x" * 200, "192.0.2.1")


async def test_every_session_whose_time_is_over_is_ended_as_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDED_AT_ONCE", 2)
    async with harness() as hub:
        begun = hub.clock.now()
        user_id = (await signed_in(hub)).user.id
        for _ in range(4):
            await hub.sign_in(login="alice", password=PHRASE)
        hub.clock.advance(timedelta(days=1))
        await hub.sign_in(login="alice", password=PHRASE)
        assert await hub.end_expired_sessions() == 0
        hub.clock.advance(timedelta(days=29))
        assert await hub.end_expired_sessions() == 5
        assert await hub.end_expired_sessions() == 0
        assert (await hub.list_sessions(user_id=user_id, page=PageRequest())).total == 1
        async with hub.container.storage().reading() as uow:
            over = await uow.sessions.find(1)
        assert over.session.ended_at == begun + timedelta(days=30)
