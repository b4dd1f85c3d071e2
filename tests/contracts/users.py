"""What every storage of accounts owes; a subclass has the fixtures `storage` and `crowd`, one of `the_crowd`."""

import asyncio
from dataclasses import replace
from functools import cache

import pytest

from moviehub.application.storage import Storage
from moviehub.domain.errors import Invalid
from moviehub.domain.pages import NoSuchPage, Page, PageRequest
from moviehub.domain.ratings import RatingNotFound, Score
from moviehub.domain.users import NewUser, Taken, User, UserNotFound
from tests.contracts.storage import (
    IMPOSSIBLE_IDS,
    IMPOSSIBLE_TEXTS,
    NOW,
    after,
    detail,
    facts,
    keep,
    new_user,
    rate,
    register,
    remember,
    sign_in,
)


@cache
def the_crowd() -> list[NewUser]:
    """More accounts than are counted; not made where tests are only collected, for to check so many takes a while."""
    return [new_user(f"user{number}") for number in range(10_020)]


async def found(storage: Storage, search: str) -> list[str]:
    """The names of the accounts that a search finds, in its order."""
    async with storage.reading() as uow:
        page = await uow.users.list(search, PageRequest(1, 100))
    assert page.total == len(page.items)
    return [user.username for user in page.items]


class UsersContract:
    async def test_a_new_account_is_kept_as_it_was_given(self, storage: Storage) -> None:
        given = new_user(
            "ada",
            first_name="Ada",
            last_name="Løvelace",
            bio="Two\nlines \N{CLAPPER BOARD}",
            profile_picture="https://example.org/a.png",
            is_staff=True,
            is_superuser=True,
        )
        async with storage.transaction() as uow:
            user = await uow.users.add(given, NOW)
        assert user == User(
            id=user.id,
            username="ada",
            email="ada@example.org",
            password_hash="plain:secret",
            first_name="Ada",
            last_name="Løvelace",
            bio="Two\nlines \N{CLAPPER BOARD}",
            profile_picture="https://example.org/a.png",
            is_active=True,
            is_staff=True,
            is_superuser=True,
            created_at=NOW,
            updated_at=NOW,
        )
        async with storage.reading() as uow:
            assert await uow.users.get(user.id) == user

    async def test_what_is_unset_stays_unset(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        assert (user.bio, user.profile_picture, user.first_name, user.is_staff) == (None, None, "", False)

    @pytest.mark.parametrize(
        ("username", "email", "fields"),
        [
            ("ADA", "new@example.org", ["username"]),
            ("\N{FULLWIDTH LATIN SMALL LETTER A}da", "new@example.org", ["username"]),
            ("new", "Ada@Example.ORG", ["email"]),
            ("Ada", "ADA@example.org", ["username", "email"]),
            ("ada", "bob@example.org", ["username", "email"]),
        ],
    )
    async def test_a_taken_name_or_address_is_refused_without_regard_to_case_and_each_is_named(
        self, storage: Storage, username: str, email: str, fields: list[str]
    ) -> None:
        await register(storage, "ada")
        await register(storage, "bob")
        with pytest.raises(Taken) as refused:
            await register(storage, username, email=email)
        assert [error.field for error in refused.value.errors] == fields

    async def test_of_many_at_once_with_one_name_one_gets_it(self, storage: Storage) -> None:
        outcomes = await asyncio.gather(*(register(storage, "ada") for _ in range(20)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Taken)] == [User]

    async def test_an_account_that_is_not_there_is_not_got(self, storage: Storage) -> None:
        for user_id in IMPOSSIBLE_IDS:
            async with storage.reading() as uow:
                with pytest.raises(UserNotFound):
                    await uow.users.get(user_id)
            async with storage.transaction() as uow:
                with pytest.raises(UserNotFound):
                    await uow.users.get(user_id)

    async def test_an_account_is_found_by_name_and_by_address_without_regard_to_case(self, storage: Storage) -> None:
        user = await register(storage, "Ada")
        async with storage.reading() as uow:
            for name in ("Ada", "ada", "ADA", "Ada@example.org", "ADA@EXAMPLE.ORG"):
                assert await uow.users.find_by_login(name) == user
            for name in ("ad", "", "ada@", "nobody", "%", *IMPOSSIBLE_TEXTS):
                assert await uow.users.find_by_login(name) is None

    async def test_a_username_goes_before_an_address(self, storage: Storage) -> None:
        # No new account can take such a name; one from before that rule may have it.
        own = await register(storage, "ada@example.org", email="ada@example.org")
        async with storage.transaction() as uow:
            await uow.users.save(replace(own, email="elsewhere@example.org"))
        await register(storage, "bob", email="ada@example.org")
        async with storage.reading() as uow:
            found = await uow.users.find_by_login("ADA@example.org")
        assert found is not None
        assert found.id == own.id

    async def test_accounts_are_listed_whole_newest_first_page_by_page(self, storage: Storage) -> None:
        users = [await register(storage, name, bio="x") for name in ("ada", "cleo", "bob")]
        async with storage.transaction() as uow:
            await uow.users.save(users[0].with_profile(after(9), bio="changed later"))
            users[0] = await uow.users.get(users[0].id)
        async with storage.reading() as uow:
            pages = [await uow.users.list("", PageRequest(number, 2)) for number in (1, 2)]
            assert [(page.total, page.items) for page in pages] == [(3, (users[2], users[1])), (3, (users[0],))]
            assert (await uow.users.list("e", PageRequest(2, 2))).items == (users[0],)
            for search in ("", "e", "nobody"):
                with pytest.raises(NoSuchPage):
                    await uow.users.list(search, PageRequest(3, 2))

    async def test_a_list_of_nobody_is_one_empty_page(self, storage: Storage) -> None:
        async with storage.reading() as uow:
            for search in ("", "ada"):
                assert await uow.users.list(search, PageRequest()) == Page((), 0, PageRequest())

    @pytest.mark.parametrize(
        ("search", "names"),
        [
            ("LOVE", ["Lovelace", "eve"]),
            ("lacy", []),
            ("velac", ["Lovelace"]),
            ("@HOME.example", ["eve"]),
            ("strasse", ["straße"]),
            ("STRAẞE", ["straße"]),
            ("Ｌace", ["Lovelace"]),
            ("e", ["a.b", "a_b", "straße", "Lovelace", "eve"]),
            ("a_b", ["a_b"]),
            ("_", ["a_b"]),
            ("a.b", ["a.b"]),
            ("%", ["a.b"]),
            ("l%e", []),
            ("5%o", ["a.b"]),
            ("\\", []),
            ("a\\_b", []),
            ("5\\%", []),
            (" ", []),
            ("'", []),
        ],
    )
    async def test_a_search_finds_parts_of_names_and_addresses_letter_by_letter_without_regard_to_case(
        self, storage: Storage, search: str, names: list[str]
    ) -> None:
        for name, email in (
            ("eve", "Love@home.example"),
            ("Lovelace", "x@example.org"),
            ("straße", "y@example.org"),
            ("a_b", "z@example.org"),
            ("a.b", "5%off@example.org"),
        ):
            await register(storage, name, email=email)
        assert await found(storage, search) == names

    async def test_a_search_for_what_no_account_can_have_finds_nothing(self, storage: Storage) -> None:
        await register(storage, "ada")
        for text in (*IMPOSSIBLE_TEXTS, "\0", "ada\0", "x" * 10_000):
            assert await found(storage, text) == []

    async def test_the_total_of_accounts_stops_at_10_000_and_so_do_the_pages(self, crowd: Storage) -> None:
        names = [user.username for user in the_crowd()]
        for search in ("", "ser"):
            async with crowd.reading() as uow:
                first = await uow.users.list(search, PageRequest(1, 100))
                uneven = await uow.users.list(search, PageRequest(334, 30))
                for number, size in ((101, 100), (335, 30), (10**30, 1)):
                    with pytest.raises(NoSuchPage):
                        await uow.users.list(search, PageRequest(number, size))
            assert (first.total, [user.username for user in first.items]) == (10_000, names[:-101:-1])
            assert (uneven.total, [user.username for user in uneven.items]) == (10_000, names[29:19:-1])

    async def test_a_changed_account_is_kept(self, storage: Storage) -> None:
        user = await register(storage, "ada", bio="old")
        changed = replace(
            user,
            email="New@example.org",
            password_hash="plain:other",
            first_name="A",
            last_name="B",
            bio=None,
            profile_picture="https://example.org/b.png",
            is_active=False,
            is_staff=True,
            is_superuser=True,
            updated_at=after(5),
        )
        async with storage.transaction() as uow:
            await uow.users.save(changed)
        async with storage.reading() as uow:
            assert await uow.users.get(user.id) == changed
            assert await uow.users.find_by_login("new@EXAMPLE.org") == changed
            assert await uow.users.find_by_login("ada@example.org") is None

    async def test_a_change_to_an_address_of_somebody_else_is_refused(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        await register(storage, "bob")
        with pytest.raises(Taken) as refused:
            async with storage.transaction() as uow:
                await uow.users.save(replace(ada, email="BOB@example.org"))
        assert [error.field for error in refused.value.errors] == ["email"]

    async def test_an_account_may_change_the_case_of_its_own_address(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        async with storage.transaction() as uow:
            await uow.users.save(replace(ada, email="ADA@example.org"))
        async with storage.reading() as uow:
            assert (await uow.users.get(ada.id)).email == "ADA@example.org"

    async def test_a_gone_account_is_not_saved(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        async with storage.transaction() as uow:
            await uow.users.remove(ada.id)
        for gone in (ada, replace(ada, id=2**63), replace(ada, id=0)):
            with pytest.raises(UserNotFound):
                async with storage.transaction() as uow:
                    await uow.users.save(gone)

    async def test_text_that_cannot_be_stored_is_invalid(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        for text in IMPOSSIBLE_TEXTS:
            with pytest.raises(Invalid):
                async with storage.transaction() as uow:
                    await uow.users.save(replace(ada, first_name=text))

    async def test_a_forgotten_account_takes_its_favourites_ratings_and_sessions_along(self, storage: Storage) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        (movie,) = await remember(storage, facts(1))
        for user in (ada, bob):
            await keep(storage, user, movie)
            await rate(storage, user, movie, 4, "fine")
        sessions = [await sign_in(storage, ada), await sign_in(storage, bob)]
        async with storage.transaction() as uow:
            await uow.users.remove(ada.id)
        assert (await detail(storage, movie)).score == Score(4, 1)
        async with storage.reading() as uow:
            with pytest.raises(UserNotFound):
                await uow.users.get(ada.id)
            assert await uow.users.find_by_login("ada") is None
            assert await uow.users.find_by_login("ada@example.org") is None
            with pytest.raises(RatingNotFound):
                await uow.ratings.get(ada.id, movie.id)
            assert await uow.favorites.list(ada.id, PageRequest()) == Page((), 0, PageRequest())
            assert (await uow.favorites.list(bob.id, PageRequest())).total == 1
            assert (await uow.ratings.reviews(movie.id, PageRequest())).total == 1
            assert [await uow.sessions.find(each.id) is None for each in sessions] == [True, False]

    async def test_a_gone_account_frees_its_names(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        async with storage.transaction() as uow:
            await uow.users.remove(ada.id)
        assert (await register(storage, "ada")).id != ada.id

    async def test_an_account_that_is_not_there_is_not_removed(self, storage: Storage) -> None:
        for user_id in IMPOSSIBLE_IDS:
            async with storage.transaction() as uow:
                with pytest.raises(UserNotFound):
                    await uow.users.remove(user_id)
