"""The storage on Postgres: which repositories run on which connection."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from moviehub.adapters.postgres.audit import PostgresAudit, tell
from moviehub.adapters.postgres.counts import Counts
from moviehub.adapters.postgres.diagnosis import Diagnosis, diagnose
from moviehub.adapters.postgres.favorites import PostgresFavorites
from moviehub.adapters.postgres.films import IdentityMap
from moviehub.adapters.postgres.movies import PostgresMovies
from moviehub.adapters.postgres.pool import Autocommit, Pool
from moviehub.adapters.postgres.ratings import PostgresRatings
from moviehub.adapters.postgres.sessions import PostgresSessions, signed_in
from moviehub.adapters.postgres.signposts import Signposts
from moviehub.adapters.postgres.statements import Runs, Statement
from moviehub.adapters.postgres.users import PostgresUsers
from moviehub.application.batch import Batch
from moviehub.application.storage import Audit, Favorites, Movies, Ratings, Sessions, Storage, UnitOfWork, Users
from moviehub.application.tracing import Spans, untraced
from moviehub.domain.audit import Entry

PROOF = 1.0
"""Seconds for which an answer proves that the database answers."""

PING = Statement("SELECT 1", reads=True)
IS_MIGRATED = Statement("SELECT to_regclass('alembic_version') IS NOT NULL AS is_migrated", reads=True)
REVISION = Statement("SELECT version_num FROM alembic_version", reads=True)


@dataclass(slots=True, kw_only=True)
class PostgresWork(UnitOfWork):
    """The repositories over one transaction or, for reads alone, over the pool."""

    users: Users
    sessions: Sessions
    movies: Movies
    favorites: Favorites
    ratings: Ratings
    audit: Audit


class PostgresStorage(Storage):
    """Keeps everything in the database at `url`, over at most `max_size` connections.

    It connects when first used, so a database that is down keeps no process from starting. The time-outs, in seconds,
    are for a connection when all are lent, for a new one, and for a statement. Without `statement_cache` it works
    behind a pooler that hands out connections by the transaction. As many `workers` as there are open so many
    connections each. A statement that takes `slow_query_ms` milliseconds is logged by its name, unless that is 0. How
    many films or entries a list has in all may be `count_ttl` seconds old, if they are `count_from` or more; so may be
    where a page far from the first begins.
    """

    def __init__(
        self,
        url: str,
        *,
        min_size: int = 1,
        max_size: int = 10,
        wait_timeout: float = 0.5,
        connect_timeout: float = 0.8,
        command_timeout: float = 1.5,
        statement_cache: bool = True,
        workers: int = 1,
        slow_query_ms: int = 0,
        spans: Spans = untraced,
        count_ttl: float = 2.0,
        count_from: int = 1_000,
    ) -> None:
        self.pool = Pool(
            url,
            min_size=min(min_size, max_size),
            max_size=max_size,
            wait_timeout=wait_timeout,
            connect_timeout=connect_timeout,
            command_timeout=command_timeout,
            statement_cache=statement_cache,
            workers=workers,
            slow_query_ms=slow_query_ms,
            spans=spans,
        )
        self._films = IdentityMap()
        self._counts = Counts(count_ttl, count_from)
        self._signposts = Signposts(count_ttl)
        self._reading = self.reads(self.pool)
        each = Autocommit(self.pool)
        self._autocommit = PostgresWork(
            users=PostgresUsers(each, locking=False),
            sessions=PostgresSessions(each),
            movies=self._movies(each),
            favorites=PostgresFavorites(each, self._films),
            ratings=PostgresRatings(each, self._films, locking=False, together=True),
            audit=PostgresAudit(each, tell, self._counts),
        )

    @asynccontextmanager
    async def transaction(self, by: int | None = None) -> AsyncIterator[UnitOfWork]:
        entries: list[Entry] = []
        async with self.pool.transaction(on_commit=lambda: tell(*entries)) as run:
            yield PostgresWork(
                users=PostgresUsers(run, locking=True),
                sessions=PostgresSessions(run),
                movies=self._movies(run),
                favorites=PostgresFavorites(run, self._films),
                ratings=PostgresRatings(run, self._films, locking=True),
                audit=PostgresAudit(run, entries.append, self._counts),
            )

    def autocommit(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        return nullcontext(self._autocommit)

    def reading(self, by: int | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        return nullcontext(self._reading)  # no connection is held: each statement takes one for itself

    def reads(self, run: Runs) -> PostgresWork:
        """The repositories for reads alone. Films and opinions are read by `run`, all else in this database."""
        pool = self.pool
        return PostgresWork(
            users=PostgresUsers(pool, locking=False),
            sessions=PostgresSessions(pool, Batch(lambda session_ids: signed_in(pool, session_ids))),
            movies=self._movies(run, sharing=True),
            favorites=PostgresFavorites(run, self._films, sharing=True),
            ratings=PostgresRatings(run, self._films, locking=False, sharing=True),
            audit=PostgresAudit(pool, tell, self._counts),
        )

    def _movies(self, run: Runs, *, sharing: bool = False) -> PostgresMovies:
        return PostgresMovies(run, self._films, self._counts, self._signposts, sharing=sharing)

    async def ping(self) -> None:
        """Raise Unavailable if the database does not answer, and did not a moment ago."""
        if not self.pool.answered_within(PROOF):  # under load, to ask again is to wait behind all others
            await self.pool.rows(PING)

    async def revision(self) -> str | None:
        """The newest migration that the database has seen, if any."""
        (row,) = await self.pool.rows(IS_MIGRATED)
        if not row["is_migrated"]:
            return None
        return next((row["version_num"] for row in await self.pool.rows(REVISION)), None)

    async def diagnosis(self) -> Diagnosis:
        """What an operator wants to know of the server and of this database."""
        return await diagnose(self.pool)

    async def close(self) -> None:
        """Let go of every connection."""
        await self.pool.close()
