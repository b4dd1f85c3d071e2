"""The database's schema over time: brings it to the newest revision, back, and tells where it stands."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import asyncpg

from moviehub.adapters.postgres.errors import FAILURES, translated
from moviehub.domain.errors import Unavailable

if TYPE_CHECKING:
    # At run time, what migrates is imported when it does: it takes a third of a second, which a server has no use for.
    from alembic.config import Config
    from sqlalchemy import Connection

LONGEST_CONNECT = 10

_FOLDER = Path(__file__).parent
_alone = Lock()


def upgrade(url: str, revision: str = "head", *, tell: Callable[[str], object] = lambda _: None) -> None:
    """Bring the database up to `revision`. Of several at once one works and the others wait for it.

    `tell` hears the name of each migration when it begins.
    """
    from alembic import command

    def act(config: "Config") -> None:
        config.attributes["tell"] = tell
        command.upgrade(config, revision)

    _migrate(url, act)


def downgrade(url: str, revision: str) -> None:
    """Bring the database back to `revision`; `base` is before the first."""
    from alembic import command

    _migrate(url, lambda config: command.downgrade(config, revision))


def head() -> str:
    """The newest revision that this code knows: each is in a file whose name begins with it."""
    return max(file.name for file in _FOLDER.glob("versions/[0-9]*.py")).partition("_")[0]


async def current(url: str) -> str | None:
    """The revision of the database, or None before the first."""
    try:
        connection = await asyncpg.connect(url, timeout=LONGEST_CONNECT)
        try:
            if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
                return None
            revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
            return revision
        finally:
            await connection.close()
    except FAILURES as failure:
        raise translated(failure) from failure


async def connected(url: str, act: "Callable[[Connection], None]") -> None:
    """Do `act` on a connection of SQLAlchemy's; asyncpg alone reads the URL, as it does for the storage."""
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(url, timeout=LONGEST_CONNECT),
        poolclass=NullPool,
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(act)
    finally:
        await engine.dispose()


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _migrate(url: str, act: "Callable[[Config], None]") -> None:
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    def on(connection: "Connection") -> None:
        config = _config()
        config.attributes["connection"] = connection
        act(config)

    try:
        # In a thread of its own, so that it can be called whether or not this one has an event loop running; one at a
        # time, since Alembic keeps what it works on in globals.
        with _alone, ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, connected(url, on)).result()
    except FAILURES as failure:
        raise translated(failure) from failure
    except (SQLAlchemyError, CommandError) as failure:
        raise Unavailable(f"The database could not be migrated: {failure}") from failure
