"""Ratings and reviews in memory."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from moviehub.adapters.memory.tables import Ids, Tables, scrolled
from moviehub.application.storage import Ratings
from moviehub.domain.movies import MarkedMovie, MovieNotFound
from moviehub.domain.pages import MOST_COUNTED, Cursor, Page, PageRequest
from moviehub.domain.ratings import Opinion, Rating, RatingNotFound, Review
from moviehub.domain.sessions import BadToken


class MemoryRatings(Ratings):
    """Ratings in a dict."""

    def __init__(self, tables: Tables, ids: Ids) -> None:
        self._tables = tables
        self._ids = ids

    async def save(self, user_id: int, movie_id: int, opinion: Opinion, at: datetime) -> tuple[MarkedMovie, bool]:
        tables, key = self._tables, (user_id, movie_id)
        if user_id not in tables.users:
            raise BadToken()
        if movie_id not in tables.movies:
            raise MovieNotFound()
        before = tables.ratings.get(key)
        if before is None:
            tables.ratings[key] = Rating(
                id=next(self._ids.ratings),
                user_id=user_id,
                movie_id=movie_id,
                opinion=opinion,
                created_at=at,
                updated_at=at,
            )
        else:
            tables.ratings[key] = replace(before, opinion=opinion, updated_at=at)
        return tables.marked(user_id, movie_id), before is None

    async def get(self, user_id: int, movie_id: int) -> Rating:
        if (user_id, movie_id) not in self._tables.ratings:
            raise RatingNotFound()
        return self._tables.ratings[user_id, movie_id]

    async def remove(self, user_id: int, movie_id: int) -> None:
        await self.get(user_id, movie_id)
        del self._tables.ratings[user_id, movie_id]

    async def list(self, user_id: int, page: PageRequest) -> Page[MarkedMovie]:
        mine = _latest_first(each for each in self._tables.ratings.values() if each.user_id == user_id)
        return scrolled(mine, page, _place).map(lambda each: self._tables.marked(user_id, each.movie_id))

    async def reviews(self, movie_id: int, page: PageRequest) -> Page[Review]:
        if movie_id not in self._tables.movies:
            raise MovieNotFound()
        reviewed = _latest_first(
            each
            for each in self._tables.ratings.values()
            if each.movie_id == movie_id and each.opinion.review is not None
        )
        return scrolled(reviewed, page, _place, most=MOST_COUNTED).map(self._review)

    def _review(self, rating: Rating) -> Review:
        opinion = rating.opinion
        username = self._tables.users[rating.user_id].username
        return Review(username, opinion.score, opinion.review or "", rating.updated_at)


def _place(rating: Rating) -> Cursor:
    return Cursor(rating.updated_at, rating.id)


def _latest_first(ratings: Iterable[Rating]) -> list[Rating]:
    return sorted(ratings, key=lambda each: (each.updated_at, each.id), reverse=True)
