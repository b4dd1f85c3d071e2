"""What people can do with favourites, ratings and reviews, without HTTP."""

import asyncio

import pytest

from moviehub.domain.errors import Invalid
from moviehub.domain.favorites import FavoriteNotFound
from moviehub.domain.movies import MovieNotFound
from moviehub.domain.pages import NoSuchPage, PageRequest
from moviehub.domain.ratings import RatingNotFound
from moviehub.domain.sessions import BadToken
from moviehub.entrypoints.harness import Harness, harness
from tests.api import film


async def hub_with_one(hub: Harness) -> dict[str, int]:
    """The ids of one person and one film."""
    (movie,) = await hub.knows(film(1))
    user = await hub.register(username="alice", email="alice@example.org", password="correct horse")
    return {"user_id": user.id, "movie_id": movie.id}


async def test_a_favorite_is_there_once() -> None:
    async with harness() as hub:
        both = await hub_with_one(hub)
        added = await asyncio.gather(*(hub.add_favorite(**both) for _ in range(10)))
        assert sorted(added) == [False] * 9 + [True]
        await hub.remove_favorite(**both)
        with pytest.raises(FavoriteNotFound):
            await hub.remove_favorite(**both)
        with pytest.raises(MovieNotFound):
            await hub.add_favorite(user_id=both["user_id"], movie_id=77)
        with pytest.raises(BadToken):
            await hub.add_favorite(user_id=77, movie_id=both["movie_id"])


async def test_the_first_rating_is_new_and_the_next_is_not() -> None:
    async with harness() as hub:
        both = await hub_with_one(hub)
        first, new = await hub.rate_movie(**both, score=3, review="So so")
        hub.clock.advance(seconds=1)
        second, again = await hub.rate_movie(**both, score=4)
        assert (new, again) == (True, False)
        assert second.mark.rating.id == first.mark.rating.id
        assert (second.mark.rating.opinion.score, second.mark.rating.opinion.review) == (4, None)
        assert second.mark.rating.created_at == first.mark.rating.created_at
        assert second.mark.rating.updated_at == hub.clock.now()


async def test_a_bad_opinion_changes_nothing() -> None:
    async with harness() as hub:
        both = await hub_with_one(hub)
        await hub.rate_movie(**both, score=3, review="So so")
        for score, review in ((0, "x"), (11, None), (True, None), (5, "x" * 5_001), (5, "\0")):
            with pytest.raises(Invalid):
                await hub.rate_movie(**both, score=score, review=review)
            with pytest.raises(Invalid):
                await hub.revise_rating(**both, score=score, review=review)
        (kept,) = (await hub.list_ratings(user_id=both["user_id"], page=PageRequest())).items
        assert (kept.mark.rating.opinion.score, kept.mark.rating.opinion.review) == (3, "So so")


async def test_a_rating_is_revised_in_what_is_named() -> None:
    async with harness() as hub:
        both = await hub_with_one(hub)
        with pytest.raises(RatingNotFound):
            await hub.revise_rating(**both, score=5)
        await hub.rate_movie(**both, score=3, review="So so")
        marked = await hub.revise_rating(**both, score=5)
        assert (marked.mark.rating.opinion.score, marked.mark.rating.opinion.review) == (5, "So so")
        marked = await hub.revise_rating(**both, review=None)
        assert (marked.mark.rating.opinion.score, marked.mark.rating.opinion.review) == (5, None)


async def test_a_rating_counts_at_once_and_until_it_is_taken_back() -> None:
    async with harness() as hub:
        both = await hub_with_one(hub)
        await hub.rate_movie(**both, score=7)
        assert (await hub.get_movie(movie_id=both["movie_id"])).detail.score.average == 7
        await hub.remove_rating(**both)
        assert (await hub.get_movie(movie_id=both["movie_id"])).detail.score.count == 0
        with pytest.raises(RatingNotFound):
            await hub.remove_rating(**both)


async def test_reviews_are_ratings_with_words() -> None:
    async with harness() as hub:
        both = await hub_with_one(hub)
        await hub.rate_movie(**both, score=7, review="")
        assert (await hub.list_reviews(movie_id=both["movie_id"], page=PageRequest())).total == 0
        await hub.rate_movie(**both, score=7, review="Good")
        (review,) = (await hub.list_reviews(movie_id=both["movie_id"], page=PageRequest())).items
        assert (review.username, review.score, review.review) == ("alice", 7, "Good")
        with pytest.raises(MovieNotFound):
            await hub.list_reviews(movie_id=77, page=PageRequest())
        with pytest.raises(NoSuchPage):
            await hub.list_reviews(movie_id=both["movie_id"], page=PageRequest(2))


async def test_a_page_past_the_end_of_ones_own_lists_is_not_there() -> None:
    async with harness() as hub:
        both = await hub_with_one(hub)
        for listed in (hub.list_favorites, hub.list_ratings):
            assert (await listed(user_id=both["user_id"], page=PageRequest())).items == ()
            with pytest.raises(NoSuchPage):
                await listed(user_id=both["user_id"], page=PageRequest(2))
