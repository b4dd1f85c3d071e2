"""Favourites in Postgres."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from moviehub.adapters.postgres.films import VERSIONED, IdentityMap
from moviehub.adapters.postgres.rows import mark_of
from moviehub.adapters.postgres.statements import (
    Columns,
    Row,
    Runs,
    Statement,
    an_id,
    behind,
    cut,
    of_many,
    possible,
    window,
)
from moviehub.adapters.postgres.tables import favorites, labelled, movies, parameters, ratings
from moviehub.adapters.postgres.together import Together
from moviehub.application.storage import Favorites
from moviehub.domain.favorites import FavoriteNotFound
from moviehub.domain.movies import MarkedMovie
from moviehub.domain.pages import Cursor, Page, PageRequest

_OF_USER = favorites.c.user_id == an_id("user_id")
_AFTER = and_(_OF_USER, behind(favorites.c.created_at, favorites.c.id))
_ORDER = (favorites.c.created_at.desc(), favorites.c.id.desc())


def _listed(page: Subquery) -> Select[*tuple[Any, ...]]:
    return (
        select(*labelled(page, favorites), *VERSIONED, *labelled(ratings))
        .select_from(page)
        .join(movies, movies.c.id == page.c.movie_id)
        .outerjoin(ratings, and_(ratings.c.user_id == page.c.user_id, ratings.c.movie_id == page.c.movie_id))
        .order_by(page.c.created_at.desc(), page.c.id.desc())
    )


def _newest_first(found: Columns) -> Sequence[ColumnElement[Any]]:
    return [found["favorites_created_at"].desc(), found["favorites_id"].desc()]


ADD = Statement(
    insert(favorites).values(parameters(favorites)).on_conflict_do_nothing().returning(favorites.c.id.label("id"))
)
REMOVE = Statement(
    delete(favorites).where(_OF_USER, favorites.c.movie_id == an_id("movie_id")).returning(favorites.c.id.label("id"))
)
_list = _listed(cut(favorites, _OF_USER, *_ORDER)).add_columns(
    select(func.count()).select_from(favorites).where(_OF_USER).scalar_subquery().label("total")
)
_list_after = _listed(cut(favorites, _AFTER, *_ORDER))
LIST, LIST_AFTER = Statement(_list), Statement(_list_after)
LISTS, LISTS_AFTER = of_many(_list, _newest_first), of_many(_list_after, _newest_first)


class PostgresFavorites(Favorites):
    """Favourites, one a person and film by a constraint. If `sharing`, calls of `list` that coincide are one."""

    def __init__(self, run: Runs, films: IdentityMap, *, sharing: bool = False) -> None:
        self._run = run
        self._films = films
        self._list = Together(run, LIST, LISTS if sharing else None)
        self._list_after = Together(run, LIST_AFTER, LISTS_AFTER if sharing else None)

    async def add(self, user_id: int, movie_id: int, at: datetime) -> bool:
        values = {"user_id": possible(user_id), "movie_id": possible(movie_id), "created_at": at}
        return bool(await self._run.rows(ADD, **values))

    async def remove(self, user_id: int, movie_id: int) -> None:
        if not await self._run.rows(REMOVE, user_id=possible(user_id), movie_id=possible(movie_id)):
            raise FavoriteNotFound()

    async def list(self, user_id: int, page: PageRequest) -> Page[MarkedMovie]:
        asked = self._list if page.after is None else self._list_after
        rows = await asked.rows(user_id=possible(user_id), **window(page))
        # No row on a later page means that it is past the end, wherever that is.
        total = None if page.after else rows[0]["total"] if rows else 0
        found = Page.cut(rows, page.size, total, page, _place)
        return await self._films.fill(self._run, found, lambda row, movie: MarkedMovie(movie, mark_of(row)))


def _place(row: Row) -> Cursor:
    return Cursor(row["favorites_created_at"], row["favorites_id"])
