"""What people can do with their favourites."""

from dataclasses import dataclass

from moviehub.application.ports import Clock
from moviehub.application.storage import Storage
from moviehub.domain.movies import MarkedMovie
from moviehub.domain.pages import Page, PageRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AddFavorite:
    """A film among the person's favourites; True if it was not there before."""

    storage: Storage
    clock: Clock

    async def __call__(self, *, user_id: int, movie_id: int) -> bool:
        async with self.storage.autocommit(by=user_id) as uow:
            return await uow.favorites.add(user_id, movie_id, self.clock.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveFavorite:
    """A film no longer among the favourites."""

    storage: Storage

    async def __call__(self, *, user_id: int, movie_id: int) -> None:
        async with self.storage.autocommit(by=user_id) as uow:
            await uow.favorites.remove(user_id, movie_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFavorites:
    """A page of the person's favourites, newest first."""

    storage: Storage

    async def __call__(self, *, user_id: int, page: PageRequest) -> Page[MarkedMovie]:
        async with self.storage.reading(by=user_id) as uow:
            return await uow.favorites.list(user_id, page)
