"""What people can do with their account, without HTTP."""

import asyncio

import pytest

from moviehub.domain.audit import Event
from moviehub.domain.errors import Invalid
from moviehub.domain.pages import PageRequest
from moviehub.domain.sessions import BadCredentials, BadToken
from moviehub.domain.users import NotYours, Taken, User, UserNotFound, WrongPassword
from moviehub.entrypoints.harness import Harness, harness

PHRASE, ANOTHER = "correct horse battery", "another good phrase"


async def alice_of(hub: Harness, **more: object) -> User:
    user: User = await hub.register(username="alice", email="alice@example.org", password=PHRASE, **more)
    return user


async def test_a_password_is_kept_as_a_hash_alone() -> None:
    async with harness() as hub:
        alice = await alice_of(hub)
        assert PHRASE not in repr(alice)
        assert await hub.container.passwords().verify(PHRASE, alice.password_hash)


async def test_nobody_becomes_staff_by_registering() -> None:
    async with harness() as hub:
        alice = await alice_of(hub, is_staff=True)
        assert (alice.is_staff, alice.is_superuser) == (False, False)
        root = await hub.register(username="root", email="r@example.org", password=PHRASE, is_superuser=True)
        assert (root.is_staff, root.is_superuser) == (True, True)


async def test_a_refused_registration_leaves_nothing() -> None:
    async with harness() as hub:
        await alice_of(hub)
        with pytest.raises(Taken):
            await hub.register(username="bob", email="ALICE@example.org", password=PHRASE)
        await hub.register(username="bob", email="bob@example.org", password=PHRASE)


async def test_an_operator_sets_a_password_and_every_session_ends() -> None:
    async with harness() as hub:
        await alice_of(hub)
        grant = await hub.sign_in(login="alice", password=PHRASE)
        await hub.set_password(login="alice@example.org", password=ANOTHER)
        with pytest.raises(BadToken):
            await hub.authenticate(access=grant.access)
        with pytest.raises(BadCredentials):
            await hub.sign_in(login="alice", password=PHRASE)
        await hub.sign_in(login="alice", password=ANOTHER)


async def test_an_operator_sets_no_bad_password_and_no_strangers() -> None:
    async with harness() as hub:
        await alice_of(hub)
        with pytest.raises(Invalid):
            await hub.set_password(login="alice", password="Alice is me")
        with pytest.raises(UserNotFound):
            await hub.set_password(login="bob", password=ANOTHER)


async def test_a_wrong_password_proves_nothing() -> None:
    async with harness() as hub:
        alice = await alice_of(hub)
        with pytest.raises(Invalid, match="current_password") as caught:
            await hub.change_password(user_id=alice.id, current_password=ANOTHER, new_password="short")
        assert [error.field for error in caught.value.errors] == ["current_password", "new_password"]
        with pytest.raises(WrongPassword, match="password"):
            await hub.delete_account(user_id=alice.id, password=ANOTHER)
        await hub.sign_in(login="alice", password=PHRASE)


async def test_of_five_changes_at_once_with_the_old_password_one_is_made() -> None:
    async with harness() as hub:
        alice = await alice_of(hub)
        changes = [
            hub.change_password(user_id=alice.id, current_password=PHRASE, new_password=f"{ANOTHER} {number}")
            for number in range(5)
        ]
        made = await asyncio.gather(*changes, return_exceptions=True)
        assert sum(isinstance(outcome, Invalid) for outcome in made) == 4
        number = next(number for number, outcome in enumerate(made) if outcome is None)
        await hub.sign_in(login="alice", password=f"{ANOTHER} {number}")


async def test_the_same_password_in_another_normal_form_is_the_same() -> None:
    async with harness() as hub:
        alice = await hub.register(username="alice", email="a@example.org", password="caf\u00e9 au lait")
        await hub.sign_in(login="alice", password="cafe\u0301 au lait")
        await hub.delete_account(user_id=alice.id, password="cafe\u0301 au lait")


async def test_a_deleted_account_takes_its_own_things_along_and_nobody_elses() -> None:
    async with harness() as hub:
        alice = await alice_of(hub)
        bob = await hub.register(username="bob", email="bob@example.org", password=PHRASE)
        grant = await hub.sign_in(login="bob", password=PHRASE)
        await hub.delete_account(user_id=alice.id, password=PHRASE)
        with pytest.raises(BadToken):
            await hub.add_favorite(user_id=alice.id, movie_id=1)
        assert (await hub.authenticate(access=grant.access)).user == bob
        assert (await hub.list_sessions(user_id=bob.id, page=PageRequest())).total == 1


async def test_a_profile_that_did_not_change_in_the_database_did_not_change() -> None:
    async with harness() as hub:
        alice = await alice_of(hub, bio="Hello")
        with pytest.raises(Invalid, match="email"):
            await hub.update_profile(user_id=alice.id, bio="Bye", email="nowhere")
        changed = await hub.update_profile(user_id=alice.id, first_name="Ada")
        assert (changed.bio, changed.first_name, changed.password_hash) == ("Hello", "Ada", alice.password_hash)


async def superuser_of(hub: Harness, name: str) -> User:
    user: User = await hub.register(username=name, email=f"{name}@example.org", password=PHRASE, is_superuser=True)
    return user


async def events_of(hub: Harness) -> list[Event]:
    """What is on the trail, oldest first."""
    page = await hub.list_audit(page=PageRequest(1, 100))
    return [recorded.entry.event for recorded in reversed(page.items)]


async def test_of_two_superusers_who_keep_each_other_out_at_once_one_is_left() -> None:
    async with harness() as hub:
        one, other = await superuser_of(hub, "one"), await superuser_of(hub, "other")
        made = await asyncio.gather(
            hub.govern_user(actor_id=one.id, user_id=other.id, is_active=False),
            hub.govern_user(actor_id=other.id, user_id=one.id, is_active=False),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, NotYours) for outcome in made) == 1
        left = [await hub.get_user(user_id=user.id) for user in (one, other)]
        assert sorted(user.is_active for user in left) == [False, True]
        assert (await events_of(hub)).count(Event.DEACTIVATION) == 1


async def test_rights_to_govern_are_those_that_are_stored_now() -> None:
    async with harness() as hub:
        root, alice = await superuser_of(hub, "root"), await alice_of(hub)
        bob = await hub.register(username="bob", email="bob@example.org", password=PHRASE)
        await hub.govern_user(actor_id=root.id, user_id=alice.id, is_staff=True)
        await hub.govern_user(actor_id=alice.id, user_id=bob.id, is_active=False)
        await hub.govern_user(actor_id=root.id, user_id=alice.id, is_staff=False)
        with pytest.raises(NotYours):
            await hub.govern_user(actor_id=alice.id, user_id=bob.id, is_active=True)
        assert not (await hub.get_user(user_id=bob.id)).is_active


async def test_who_is_made_staff_and_kept_out_in_one_go_is_both_on_the_trail() -> None:
    async with harness() as hub:
        root, alice = await superuser_of(hub, "root"), await alice_of(hub)
        changed = await hub.govern_user(actor_id=root.id, user_id=alice.id, is_active=False, is_staff=True)
        assert (changed.is_active, changed.is_staff) == (False, True)
        assert (await events_of(hub))[-2:] == [Event.DEACTIVATION, Event.ROLE_CHANGE]


async def test_what_was_refused_is_not_on_the_trail() -> None:
    async with harness() as hub:
        alice, bob = await alice_of(hub), await hub.register(username="bob", email="b@example.org", password=PHRASE)
        with pytest.raises(Taken):
            await hub.register(username="bob", email="c@example.org", password=PHRASE)
        with pytest.raises(Taken):
            await hub.update_profile(user_id=alice.id, email=bob.email)
        with pytest.raises(NotYours):
            await hub.govern_user(actor_id=alice.id, user_id=bob.id, is_active=False)
        await hub.update_profile(user_id=alice.id, email=alice.email, bio="Hello")  # nor that nothing became new
        assert await events_of(hub) == [Event.REGISTRATION, Event.REGISTRATION]


async def test_an_operator_who_sets_a_password_is_on_the_trail_as_nobody_of_the_hub() -> None:
    async with harness() as hub:
        alice = await alice_of(hub)
        await hub.set_password(login="alice", password=ANOTHER)
        (newest, _) = (await hub.list_audit(page=PageRequest(), user_id=alice.id)).items
        assert (newest.entry.event, newest.entry.actor_id) == (Event.PASSWORD_CHANGE, None)
        assert newest.entry.detail == "by an operator"
