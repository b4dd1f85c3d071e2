"""The storage in memory: for tests, for a hub without a database, and the measure of what the one on Postgres does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice

from moviehub.adapters.memory.audit import MemoryAudit, tell
from moviehub.adapters.memory.favorites import MemoryFavorites
from moviehub.adapters.memory.movies import MemoryMovies
from moviehub.adapters.memory.ratings import MemoryRatings
from moviehub.adapters.memory.sessions import MemorySessions
from moviehub.adapters.memory.tables import Ids, Tables
from moviehub.adapters.memory.users import MemoryUsers
from moviehub.application.storage import Audit, Favorites, Movies, Ratings, Sessions, Storage, UnitOfWork, Users


@dataclass(slots=True)
class MemoryWork(UnitOfWork):
    """The repositories over one state of the tables."""

    users: Users
    sessions: Sessions
    movies: Movies
    favorites: Favorites
    ratings: Ratings
    audit: Audit


class MemoryStorage(Storage):
    """Keeps everything in dicts until the process ends. One transaction runs at a time, on a copy."""

    def __init__(self) -> None:
        self._committed = Tables()
        self._committed.show(Tables())
        self._ids = Ids()
        self._lock = asyncio.Lock()
        self._reading = self._work(self._committed)

    @asynccontextmanager
    async def transaction(self, by: int | None = None) -> AsyncIterator[UnitOfWork]:
        async with self._lock:
            tables, kept = self._committed.copy(), len(self._committed.audit)
            yield self._work(tables)
            self._committed.show(tables)
        tell(*(each.entry for each in islice(tables.audit.values(), kept, None)))

    def autocommit(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        return self.transaction()

    def reading(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        return nullcontext(self._reading)

    async def ping(self) -> None:
        """Nothing can be wrong."""

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _work(self, tables: Tables) -> MemoryWork:
        return MemoryWork(
            MemoryUsers(tables, self._ids),
            MemorySessions(tables, self._ids),
            MemoryMovies(tables, self._ids),
            MemoryFavorites(tables, self._ids),
            MemoryRatings(tables, self._ids),
            MemoryAudit(tables, self._ids),
        )
