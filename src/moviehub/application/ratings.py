"""What people can do with their ratings and reviews."""

from dataclasses import dataclass
from typing import Any

from moviehub.application.kept import about_movie
from moviehub.application.ports import Clock, News
from moviehub.application.storage import Storage
from moviehub.domain.movies import MarkedMovie
from moviehub.domain.pages import Page, PageRequest
from moviehub.domain.ratings import Opinion, Review


@dataclass(frozen=True, slots=True, kw_only=True)
class RateMovie:
    """The person's rating set, score and review both; with the film, and True if it is their first of it."""

    storage: Storage
    clock: Clock
    news: News

    async def __call__(
        self, *, user_id: int, movie_id: int, score: int, review: str | None = None
    ) -> tuple[MarkedMovie, bool]:
        opinion = Opinion(score=score, review=review)
        async with self.storage.autocommit(by=user_id) as uow:
            rated = await uow.ratings.save(user_id, movie_id, opinion, self.clock.now())
        await self.news.tell(about_movie(movie_id))
        return rated


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviseRating:
    """An existing rating with what is named changed: `score`, `review`, or both."""

    storage: Storage
    clock: Clock
    news: News

    async def __call__(self, *, user_id: int, movie_id: int, **changes: Any) -> MarkedMovie:
        now = self.clock.now()
        async with self.storage.transaction(by=user_id) as uow:
            rating = (await uow.ratings.get(user_id, movie_id)).revised(now, **changes)
            marked, _ = await uow.ratings.save(user_id, movie_id, rating.opinion, now)
        await self.news.tell(about_movie(movie_id))
        return marked


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRating:
    """A rating taken back."""

    storage: Storage
    news: News

    async def __call__(self, *, user_id: int, movie_id: int) -> None:
        async with self.storage.autocommit(by=user_id) as uow:
            await uow.ratings.remove(user_id, movie_id)
        await self.news.tell(about_movie(movie_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRatings:
    """A page of the films that the person rated, newest change first."""

    storage: Storage

    async def __call__(self, *, user_id: int, page: PageRequest) -> Page[MarkedMovie]:
        async with self.storage.reading(by=user_id) as uow:
            return await uow.ratings.list(user_id, page)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReviews:
    """A page of everybody's reviews of a film, newest change first."""

    storage: Storage

    async def __call__(self, *, movie_id: int, page: PageRequest) -> Page[Review]:
        async with self.storage.reading() as uow:
            return await uow.ratings.reviews(movie_id, page)
