"""Favourites in memory."""

from datetime import datetime

from moviehub.adapters.memory.tables import Ids, Tables, scrolled
from moviehub.application.storage import Favorites
from moviehub.domain.favorites import Favorite, FavoriteNotFound
from moviehub.domain.movies import MarkedMovie, MovieNotFound
from moviehub.domain.pages import Cursor, Page, PageRequest
from moviehub.domain.sessions import BadToken


class MemoryFavorites(Favorites):
    """Favourites in a dict."""

    def __init__(self, tables: Tables, ids: Ids) -> None:
        self._tables = tables
        self._ids = ids

    async def add(self, user_id: int, movie_id: int, at: datetime) -> bool:
        tables, key = self._tables, (user_id, movie_id)
        if key in tables.favorites:
            return False
        if user_id not in tables.users:
            raise BadToken()
        if movie_id not in tables.movies:
            raise MovieNotFound()
        tables.favorites[key] = Favorite(
            id=next(self._ids.favorites), user_id=user_id, movie_id=movie_id, created_at=at
        )
        return True

    async def remove(self, user_id: int, movie_id: int) -> None:
        if (user_id, movie_id) not in self._tables.favorites:
            raise FavoriteNotFound()
        del self._tables.favorites[user_id, movie_id]

    async def list(self, user_id: int, page: PageRequest) -> Page[MarkedMovie]:
        mine = [each for each in self._tables.favorites.values() if each.user_id == user_id]
        mine.sort(key=lambda each: (each.created_at, each.id), reverse=True)
        found = scrolled(mine, page, lambda each: Cursor(each.created_at, each.id))
        return found.map(lambda each: self._tables.marked(user_id, each.movie_id))
