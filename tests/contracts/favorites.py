"""What every storage of favourites owes; a subclass has a fixture `storage`."""

import asyncio
from datetime import UTC, datetime

import pytest

from moviehub.application.storage import Storage
from moviehub.domain.favorites import Favorite, FavoriteNotFound
from moviehub.domain.movies import Mark, MarkedMovie, MovieNotFound
from moviehub.domain.pages import Cursor, NoSuchPage, Page, PageRequest
from moviehub.domain.sessions import BadToken
from tests.contracts.storage import IMPOSSIBLE_IDS, NOW, after, facts, keep, rate, register, remember, scrolled


class FavoritesContract:
    async def test_a_favourite_added_twice_is_one(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))
        async with storage.transaction() as uow:
            assert await uow.favorites.add(user.id, movie.id, NOW)
        async with storage.transaction() as uow:
            assert not await uow.favorites.add(user.id, movie.id, after(1))
        async with storage.reading() as uow:
            page = await uow.favorites.list(user.id, PageRequest())
        favorite = page.items[0].mark.favorite
        assert favorite is not None
        assert favorite == Favorite(id=favorite.id, user_id=user.id, movie_id=movie.id, created_at=NOW)
        assert page == Page((MarkedMovie(movie, Mark(favorite)),), 1, PageRequest())

    async def test_of_many_at_once_who_add_it_one_is_first(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))

        async def add() -> bool:
            async with storage.transaction() as uow:
                return await uow.favorites.add(user.id, movie.id, NOW)

        assert sum(await asyncio.gather(*(add() for _ in range(20)))) == 1

    async def test_a_film_that_is_not_there_is_no_favourite(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        for movie_id in IMPOSSIBLE_IDS:
            with pytest.raises(MovieNotFound):
                async with storage.transaction() as uow:
                    await uow.favorites.add(user.id, movie_id, NOW)

    async def test_an_account_that_is_gone_has_no_favourites(self, storage: Storage) -> None:
        (movie,) = await remember(storage, facts(1))
        for user_id in IMPOSSIBLE_IDS:
            with pytest.raises(BadToken):
                async with storage.transaction() as uow:
                    await uow.favorites.add(user_id, movie.id, NOW)

    async def test_a_removed_favourite_is_gone(self, storage: Storage) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        (movie,) = await remember(storage, facts(1))
        await keep(storage, ada, movie)
        await keep(storage, bob, movie)
        async with storage.transaction() as uow:
            await uow.favorites.remove(ada.id, movie.id)
            with pytest.raises(FavoriteNotFound):
                await uow.favorites.remove(ada.id, movie.id)
        async with storage.reading() as uow:
            assert (await uow.favorites.list(ada.id, PageRequest())).total == 0
            assert (await uow.favorites.list(bob.id, PageRequest())).total == 1

    async def test_what_is_no_favourite_is_not_removed(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))
        async with storage.transaction() as uow:
            for number in IMPOSSIBLE_IDS:
                with pytest.raises(FavoriteNotFound):
                    await uow.favorites.remove(user.id, number)
                with pytest.raises(FavoriteNotFound):
                    await uow.favorites.remove(number, movie.id)

    async def test_the_list_is_of_the_persons_favourites_with_their_marks_newest_first(self, storage: Storage) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        movies = await remember(storage, *(facts(number) for number in range(1, 6)))
        for movie, second in zip(movies, (3, 1, 2, 2, 9), strict=True):
            await keep(storage, ada, movie, at=after(second))
        await keep(storage, bob, movies[0])
        await rate(storage, ada, movies[2], 9, "wow")
        await rate(storage, bob, movies[2], 1)
        async with storage.reading() as uow:
            pages = [await uow.favorites.list(ada.id, PageRequest(number, 2)) for number in (1, 2, 3)]
            rating = await uow.ratings.get(ada.id, movies[2].id)
        found = [each for page in pages for each in page.items]
        assert [each.movie for each in found] == [movies[n] for n in (4, 0, 3, 2, 1)]
        assert [each.mark.rating for each in found] == [None, None, None, rating, None]
        assert [each.mark.favorite.created_at for each in found if each.mark.favorite] == [
            after(second) for second in (9, 3, 2, 2, 1)
        ]
        assert {page.total for page in pages} == {5}

    async def test_a_page_past_the_end_is_refused_and_page_1_of_nothing_is_empty(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        async with storage.reading() as uow:
            for user_id in (user.id, *IMPOSSIBLE_IDS):
                assert await uow.favorites.list(user_id, PageRequest()) == Page((), 0, PageRequest())
                with pytest.raises(NoSuchPage):
                    await uow.favorites.list(user_id, PageRequest(2))
        (movie,) = await remember(storage, facts(1))
        await keep(storage, user, movie)
        async with storage.reading() as uow:
            for number in (2, 10**30):
                with pytest.raises(NoSuchPage):
                    await uow.favorites.list(user.id, PageRequest(number, 1))

    async def test_by_cursor_each_favourite_comes_once_in_the_order_of_the_pages(self, storage: Storage) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        movies = await remember(storage, *map(facts, range(1, 13)))
        for number, movie in enumerate(movies):
            await keep(storage, ada, movie, at=after(number % 3))
            await keep(storage, bob, movie)
        async with storage.reading() as uow:
            whole = (await uow.favorites.list(ada.id, PageRequest(1, 100))).items
            for size in (1, 5, 6, 12, 100):
                assert await scrolled(lambda page: uow.favorites.list(ada.id, page), size) == [*whole]

    async def test_by_cursor_none_is_missed_or_repeated_though_some_come_and_go_before_it(
        self, storage: Storage
    ) -> None:
        ada = await register(storage, "ada")
        movies = await remember(storage, *map(facts, range(1, 11)))
        for movie in movies[:8]:
            await keep(storage, ada, movie)
        async with storage.reading() as uow:
            first = await uow.favorites.list(ada.id, PageRequest(1, 3))
        await keep(storage, ada, movies[8], at=after(1))
        async with storage.autocommit() as uow:
            await uow.favorites.remove(ada.id, first.items[0].movie.id)
        async with storage.autocommit() as uow:
            await uow.favorites.remove(ada.id, first.items[2].movie.id)  # the very place
        async with storage.reading() as uow:
            second = await uow.favorites.list(ada.id, PageRequest(1, 3, first.end))
            third = await uow.favorites.list(ada.id, PageRequest(1, 3, second.end))
        assert [each.movie for page in (first, second, third) for each in page.items] == [*reversed(movies[:8])]
        assert third.end is None

    async def test_after_any_place_there_is_all_or_nothing_or_what_follows(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))
        await keep(storage, ada, movie)
        for key, number, found in (
            (datetime.min, 1, 0),
            (datetime.max, 2**63 - 1, 1),
            (NOW, 2**63 - 1, 1),
            (NOW, 1, 0),
            (after(-1), 2**63 - 1, 0),
        ):
            place = Cursor(key.replace(tzinfo=UTC), number)
            async with storage.reading() as uow:
                page = await uow.favorites.list(ada.id, PageRequest(1, 10, place))
            assert (len(page.items), page.total, page.pages, page.end) == (found, None, None, None)
