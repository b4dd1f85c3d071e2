"""Favourites in Postgres."""

from datetime import datetime

from sqlalchemy import and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from moviehub.adapters.postgres.rows import marked_of
from moviehub.adapters.postgres.statements import Runs, Statement, an_id, cut, possible, skipped
from moviehub.adapters.postgres.tables import favorites, labelled, movies, parameters, ratings
from moviehub.application.storage import Favorites
from moviehub.domain.favorites import FavoriteNotFound
from moviehub.domain.movies import MarkedMovie
from moviehub.domain.pages import Page, PageRequest

_OF_USER = favorites.c.user_id == an_id("user_id")
_page = cut(favorites, _OF_USER, favorites.c.created_at.desc(), favorites.c.id.desc())

ADD = Statement(
    insert(favorites).values(parameters(favorites)).on_conflict_do_nothing().returning(favorites.c.id.label("id"))
)
REMOVE = Statement(
    delete(favorites).where(_OF_USER, favorites.c.movie_id == an_id("movie_id")).returning(favorites.c.id.label("id"))
)
LIST = Statement(
    select(
        *labelled(_page, favorites),
        *labelled(movies),
        *labelled(ratings),
        select(func.count()).select_from(favorites).where(_OF_USER).scalar_subquery().label("total"),
    )
    .select_from(_page)
    .join(movies, movies.c.id == _page.c.movie_id)
    .outerjoin(ratings, and_(ratings.c.user_id == _page.c.user_id, ratings.c.movie_id == _page.c.movie_id))
    .order_by(_page.c.created_at.desc(), _page.c.id.desc())
)


class PostgresFavorites(Favorites):
    """Favourites, one a person and film by a constraint."""

    def __init__(self, run: Runs) -> None:
        self._run = run

    async def add(self, user_id: int, movie_id: int, at: datetime) -> bool:
        values = {"user_id": possible(user_id), "movie_id": possible(movie_id), "created_at": at}
        return bool(await self._run.rows(ADD, **values))

    async def remove(self, user_id: int, movie_id: int) -> None:
        if not await self._run.rows(REMOVE, user_id=possible(user_id), movie_id=possible(movie_id)):
            raise FavoriteNotFound()

    async def list(self, user_id: int, page: PageRequest) -> Page[MarkedMovie]:
        values = {"user_id": possible(user_id), "size": page.size, "skipped": skipped(page)}
        rows = await self._run.rows(LIST, **values)
        # No row on a later page means that it is past the end, wherever that is.
        return Page(tuple(map(marked_of, rows)), rows[0]["total"] if rows else 0, page)
