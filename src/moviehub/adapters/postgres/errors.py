"""What a failure of the driver or the database means in the words of the domain."""

from collections.abc import Callable, Mapping

import asyncpg
from asyncpg.exceptions import ClientConfigurationError, InternalClientError

from moviehub.domain.errors import Invalid, MovieHubError, Unavailable
from moviehub.domain.movies import MovieNotFound
from moviehub.domain.sessions import BadToken
from moviehub.domain.users import Taken

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, InternalClientError, OSError, TimeoutError)
"""All that asyncpg raises."""

DEAD = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    ConnectionError,
)
"""Failures of one connection that say nothing about the next one."""

OTHERS_FIRST = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""40001 and 40P01: others were at the same rows, and the server has undone the whole transaction to let them pass."""

ONLY_READS = (asyncpg.ReadOnlySQLTransactionError,)
"""25006: a standby, or a server that is full; nothing was done."""

OUTDATED = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
"""A migration has changed what a statement returns that the connection has prepared; so will others have done."""

CONSTRAINTS: Mapping[str, Callable[[], MovieHubError]] = {
    "uq_users_username_key": lambda: Taken("username"),
    "uq_users_email_key": lambda: Taken("email"),
    "fk_sessions_user_id": BadToken,
    "fk_favorites_user_id": BadToken,
    "fk_favorites_movie_id": MovieNotFound,
    "fk_ratings_user_id": BadToken,
    "fk_ratings_movie_id": MovieNotFound,
    "fk_scores_movie_id": MovieNotFound,
}

INVALID = {
    "22": "a value cannot be stored",
    "23": "the value contradicts what is stored",
    "54": "a value is too long to be stored",
}
"""Classes of SQLSTATE in which the value is at fault. In all others it is the database or its state."""


UNKNOWN = ("42P01", "42703")
"""A table or a column that is not there."""


def translated(failure: BaseException) -> MovieHubError:
    """The domain's error for what asyncpg raised."""
    if isinstance(failure, asyncpg.PostgresError):
        known = CONSTRAINTS.get(getattr(failure, "constraint_name", None) or "")
        if known is not None:
            return known()
        if failure.sqlstate in UNKNOWN:
            return Unavailable("The database has not the tables of this version: run moviehub migrate.")
        reason = INVALID.get((failure.sqlstate or "")[:2])
        if reason is not None:
            return Invalid(detail=reason)
    elif isinstance(failure, ClientConfigurationError):
        return Unavailable("The URL of the database has a parameter that cannot be.")
    elif isinstance(failure, asyncpg.InterfaceError) and isinstance(failure, ValueError):  # it could not be encoded
        return Invalid(detail=INVALID["22"])
    return Unavailable("The database cannot answer now.")
