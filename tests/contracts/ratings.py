"""What every storage of ratings owes; a subclass has a fixture `storage`."""

import asyncio
import random
from contextlib import suppress

import pytest

from moviehub.application.storage import Storage
from moviehub.domain.movies import Mark, MarkedMovie, MovieNotFound
from moviehub.domain.pages import Cursor, NoSuchPage, Page, PageRequest
from moviehub.domain.ratings import Opinion, Rating, RatingNotFound, Review, Score
from moviehub.domain.sessions import BadToken
from moviehub.domain.users import User, UserNotFound
from tests.contracts.storage import (
    IMPOSSIBLE_IDS,
    NOW,
    Broken,
    after,
    detail,
    facts,
    keep,
    rate,
    register,
    remember,
    scrolled,
)

MANY = 10_005


class RatingsContract:
    async def test_a_first_rating_is_new_and_comes_back_with_the_film_and_its_marks(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))
        opinion = Opinion(score=8, review="Two\nlines \N{CLAPPER BOARD}")
        async with storage.transaction() as uow:
            marked, is_new = await uow.ratings.save(user.id, movie.id, opinion, NOW)
        rating = marked.mark.rating
        assert is_new
        assert rating is not None
        assert rating == Rating(
            id=rating.id, user_id=user.id, movie_id=movie.id, opinion=opinion, created_at=NOW, updated_at=NOW
        )
        assert marked == MarkedMovie(movie, Mark(None, rating))
        async with storage.reading() as uow:
            assert await uow.ratings.get(user.id, movie.id) == rating

    async def test_a_second_rating_takes_the_place_of_the_first(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))
        await keep(storage, user, movie)
        await rate(storage, user, movie, 8, "good")
        async with storage.reading() as uow:
            before = await uow.ratings.get(user.id, movie.id)
        async with storage.transaction() as uow:
            marked, is_new = await uow.ratings.save(user.id, movie.id, Opinion(score=2), after(5))
        assert not is_new
        assert marked.mark.favorite is not None
        assert marked.mark.rating == Rating(
            id=before.id,
            user_id=user.id,
            movie_id=movie.id,
            opinion=Opinion(score=2),
            created_at=NOW,
            updated_at=after(5),
        )
        assert (await detail(storage, movie)).score == Score(2, 1)

    async def test_of_many_at_once_one_is_new_and_one_of_them_stays(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))

        async def save(score: int) -> bool:
            async with storage.transaction() as uow:
                return (await uow.ratings.save(user.id, movie.id, Opinion(score=score), NOW))[1]

        assert sum(await asyncio.gather(*(save(number % 10 + 1) for number in range(20)))) == 1
        assert (await detail(storage, movie)).score.count == 1

    async def test_a_film_that_is_not_there_cannot_be_rated(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        for movie_id in IMPOSSIBLE_IDS:
            with pytest.raises(MovieNotFound):
                async with storage.transaction() as uow:
                    await uow.ratings.save(user.id, movie_id, Opinion(score=1), NOW)

    async def test_an_account_that_is_gone_cannot_rate(self, storage: Storage) -> None:
        (movie,) = await remember(storage, facts(1))
        for user_id in IMPOSSIBLE_IDS:
            with pytest.raises(BadToken):
                async with storage.transaction() as uow:
                    await uow.ratings.save(user_id, movie.id, Opinion(score=1), NOW)

    async def test_a_rating_that_is_not_there_is_neither_got_nor_removed(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))
        for key in [(user.id, movie.id), *((user.id, n) for n in IMPOSSIBLE_IDS), *((n, 1) for n in IMPOSSIBLE_IDS)]:
            async with storage.reading() as uow:
                with pytest.raises(RatingNotFound):
                    await uow.ratings.get(*key)
            async with storage.transaction() as uow:
                with pytest.raises(RatingNotFound):
                    await uow.ratings.get(*key)
                with pytest.raises(RatingNotFound):
                    await uow.ratings.remove(*key)

    async def test_a_removed_rating_is_gone(self, storage: Storage) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        (movie,) = await remember(storage, facts(1))
        await rate(storage, ada, movie, 2)
        await rate(storage, bob, movie, 9)
        async with storage.transaction() as uow:
            await uow.ratings.remove(ada.id, movie.id)
        assert (await detail(storage, movie)).score == Score(9, 1)
        async with storage.reading() as uow:
            with pytest.raises(RatingNotFound):
                await uow.ratings.get(ada.id, movie.id)

    @pytest.mark.parametrize("seed", range(2))
    async def test_scores_equal_a_recount_whatever_many_did_at_once_and_whoever_left(
        self, storage: Storage, seed: int
    ) -> None:
        dice = random.Random(seed)
        users = [await register(storage, f"user{number}") for number in range(10)]
        movies = await remember(storage, *map(facts, range(1, 4)))

        async def live(user: User) -> None:
            acts = dice.choices(("rate", "take back", "change their mind", "leave"), (8, 3, 3, 1), k=12)
            for act, movie, score in [(act, dice.choice(movies), dice.randrange(1, 11)) for act in acts]:
                with suppress(RatingNotFound, UserNotFound, BadToken, Broken):
                    async with storage.transaction() as uow:
                        if act == "leave":
                            await uow.users.remove(user.id)
                        elif act == "take back":
                            await uow.ratings.remove(user.id, movie.id)
                        else:
                            review = "so so" if score % 3 == 0 else None
                            await uow.ratings.save(user.id, movie.id, Opinion(score=score, review=review), NOW)
                        if act == "change their mind":
                            raise Broken

        await asyncio.gather(*map(live, users))
        recounted: dict[int, list[int]] = {movie.id: [] for movie in movies}
        reviews = dict.fromkeys(recounted, 0)
        for user in users:
            async with storage.reading() as uow:
                for each in (await uow.ratings.list(user.id, PageRequest())).items:
                    assert each.mark.rating is not None
                    recounted[each.movie.id].append(each.mark.rating.opinion.score)
                    reviews[each.movie.id] += each.mark.rating.opinion.review is not None
        assert sum(map(len, recounted.values())) > 3
        for movie in movies:
            scores = recounted[movie.id]
            expected = Score(sum(scores) / len(scores), len(scores)) if scores else Score()
            assert (await detail(storage, movie)).score == expected
            async with storage.reading() as uow:
                assert (await uow.ratings.reviews(movie.id, PageRequest())).total == reviews[movie.id]

    async def test_the_list_is_of_the_films_a_person_rated_with_their_marks_newest_change_first(
        self, storage: Storage
    ) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        movies = await remember(storage, *(facts(number) for number in range(1, 6)))
        for movie, second in zip(movies, (1, 5, 3, 3, 4), strict=True):
            await rate(storage, ada, movie, 5, at=after(second))
        await rate(storage, ada, movies[0], 6, "changed", at=after(9))
        await rate(storage, bob, movies[1], 1)
        await keep(storage, ada, movies[4])
        await keep(storage, bob, movies[3])
        async with storage.reading() as uow:
            pages = [await uow.ratings.list(ada.id, PageRequest(number, 2)) for number in (1, 2, 3)]
            for number in (4, 10**30):
                with pytest.raises(NoSuchPage):
                    await uow.ratings.list(ada.id, PageRequest(number, 2))
        found = [each for page in pages for each in page.items]
        assert [each.movie for each in found] == [movies[n] for n in (0, 1, 4, 3, 2)]
        assert [each.mark.rating.opinion.score for each in found if each.mark.rating] == [6, 5, 5, 5, 5]
        assert [each.mark.favorite is not None for each in found] == [False, False, True, False, False]
        assert {page.total for page in pages} == {5}

    async def test_the_list_of_somebody_without_ratings_is_empty(self, storage: Storage) -> None:
        for user_id in ((await register(storage, "ada")).id, *IMPOSSIBLE_IDS):
            async with storage.reading() as uow:
                assert await uow.ratings.list(user_id, PageRequest()) == Page((), 0, PageRequest())
                with pytest.raises(NoSuchPage):
                    await uow.ratings.list(user_id, PageRequest(2))

    async def test_reviews_are_everybodys_newest_change_first_without_bare_scores(self, storage: Storage) -> None:
        users = [await register(storage, name) for name in ("ada", "bob", "cid", "dan", "eve")]
        (movie, other) = await remember(storage, facts(1), facts(2))
        for user, second, review in zip(users, (1, 4, 3, 3, 9), ("a", "b", "c", "d", None), strict=True):
            await rate(storage, user, movie, second, review, at=after(second))
        await rate(storage, users[0], other, 1, "elsewhere", at=after(20))
        await rate(storage, users[0], movie, 10, "a, again", at=after(10))
        async with storage.reading() as uow:
            pages = [await uow.ratings.reviews(movie.id, PageRequest(number, 3)) for number in (1, 2)]
            for number in (3, 10**30):
                with pytest.raises(NoSuchPage):
                    await uow.ratings.reviews(movie.id, PageRequest(number, 3))
        assert [each for page in pages for each in page.items] == [
            Review("ada", 10, "a, again", after(10)),
            Review("bob", 4, "b", after(4)),
            Review("dan", 3, "d", after(3)),
            Review("cid", 3, "c", after(3)),
        ]
        assert {page.total for page in pages} == {4}

    async def test_a_film_without_reviews_has_an_empty_page_of_them(self, storage: Storage) -> None:
        user = await register(storage, "ada")
        (movie,) = await remember(storage, facts(1))
        await rate(storage, user, movie, 5)
        async with storage.reading() as uow:
            assert await uow.ratings.reviews(movie.id, PageRequest()) == Page((), 0, PageRequest())
            with pytest.raises(NoSuchPage):
                await uow.ratings.reviews(movie.id, PageRequest(2))

    async def test_a_film_that_is_not_there_has_no_reviews(self, storage: Storage) -> None:
        for movie_id in IMPOSSIBLE_IDS:
            for page in (PageRequest(), PageRequest(2)):
                async with storage.reading() as uow:
                    with pytest.raises(MovieNotFound):
                        await uow.ratings.reviews(movie_id, page)

    async def test_by_cursor_each_rating_and_review_comes_once_in_the_order_of_the_pages(
        self, storage: Storage
    ) -> None:
        users = [await register(storage, f"user{number}") for number in range(7)]
        movies = await remember(storage, *map(facts, range(1, 8)))
        for number, user in enumerate(users):
            await rate(storage, user, movies[0], 5, "so so" if number != 3 else None, at=after(number % 3))
            await rate(storage, users[0], movies[number], 6, "fine", at=after(number % 2))
        async with storage.reading() as uow:
            rated = (await uow.ratings.list(users[0].id, PageRequest(1, 100))).items
            reviews = (await uow.ratings.reviews(movies[0].id, PageRequest(1, 100))).items
            assert (len(rated), len(reviews)) == (7, 6)
            for size in (1, 3, 6, 7, 100):
                assert await scrolled(lambda page: uow.ratings.list(users[0].id, page), size) == [*rated]
                assert await scrolled(lambda page: uow.ratings.reviews(movies[0].id, page), size) == [*reviews]

    async def test_by_cursor_none_is_missed_or_repeated_though_some_come_and_go_before_it(
        self, storage: Storage
    ) -> None:
        users = [await register(storage, f"user{number}") for number in range(6)]
        (movie, *others) = await remember(storage, *map(facts, range(1, 6)))
        for user in users[:5]:
            await rate(storage, user, movie, 5, user.username)
        for other in others:
            await rate(storage, users[0], other, 5)
        async with storage.reading() as uow:
            reviews = await uow.ratings.reviews(movie.id, PageRequest(1, 2))
            rated = await uow.ratings.list(users[0].id, PageRequest(1, 2))
        await rate(storage, users[5], movie, 1, "new", at=after(1))
        await rate(storage, users[4], movie, 2, "changed", at=after(2))
        async with storage.autocommit() as uow:
            await uow.ratings.remove(users[3].id, movie.id)  # the very place
        async with storage.autocommit() as uow:
            await uow.ratings.remove(users[0].id, rated.items[1].movie.id)
        async with storage.reading() as uow:
            more = await uow.ratings.reviews(movie.id, PageRequest(1, 10, reviews.end))
            assert [each.review for each in more.items] == ["user2", "user1", "user0"]
            rest = await uow.ratings.list(users[0].id, PageRequest(1, 10, rated.end))
            assert [each.movie for each in rated.items + rest.items] == [*reversed(others), movie]

    async def test_a_film_that_is_not_there_has_no_reviews_after_a_cursor_and_one_without_has_an_empty_page(
        self, storage: Storage
    ) -> None:
        (movie,) = await remember(storage, facts(1))
        page = PageRequest(1, 10, Cursor(NOW, 1))
        async with storage.reading() as uow:
            assert await uow.ratings.reviews(movie.id, page) == Page((), None, page)
            for movie_id in IMPOSSIBLE_IDS:
                if movie_id != movie.id:
                    with pytest.raises(MovieNotFound):
                        await uow.ratings.reviews(movie_id, page)


class ManyReviewsContract:
    """For those with a fixture `much_reviewed`: film 1 has reviews by `user1` and so on, the last one is the newest."""

    async def test_the_total_of_reviews_stops_at_10_000_and_so_do_the_pages(self, much_reviewed: Storage) -> None:
        async with much_reviewed.reading() as uow:
            first = await uow.ratings.reviews(1, PageRequest(1, 100))
            last = await uow.ratings.reviews(1, PageRequest(100, 100))
            uneven = await uow.ratings.reviews(1, PageRequest(334, 30))
            assert [(page.total, len(page.items)) for page in (first, last, uneven)] == [
                (10_000, 100),
                (10_000, 100),
                (10_000, 10),
            ]
            assert first.items[0].username == f"user{MANY}"
            assert last.end == uneven.end
            more = await uow.ratings.reviews(1, PageRequest(1, 100, last.end))
            assert [each.username for each in more.items] == [f"user{n}" for n in range(MANY - 10_000, 0, -1)]
            assert more.end is None
            assert uneven.items[-1] == last.items[-1]
            for number, size in ((101, 100), (335, 30)):
                with pytest.raises(NoSuchPage):
                    await uow.ratings.reviews(1, PageRequest(number, size))
