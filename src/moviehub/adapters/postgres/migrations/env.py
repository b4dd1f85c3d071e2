"""What Alembic runs to migrate: on the connection that `upgrade` made, or on one of its own from the command line."""

import asyncio
import os
from pathlib import Path
from typing import Any

from alembic import context
from sqlalchemy import Connection, text

from moviehub.adapters.postgres.migrations import connected
from moviehub.adapters.postgres.tables import metadata

LOCK = 0x6D6F766965687562  # "moviehub": a number that no other program locks


def is_compared(_: Any, name: str | None, kind: str, *__: Any) -> bool:
    """Whether a thing in the database should stand in the tables; trigram indexes are not on every server."""
    return not (kind == "index" and name is not None and name.endswith("_trigrams"))


def tell_next(done: str | None) -> None:
    """Tell which migration begins when this one is done, if any does."""
    script, tell = context.script, context.config.attributes.get("tell", lambda _: None)
    done_last = script.get_revision(done) if done else None
    for revision in done_last.nextrev if done_last else script.get_bases():
        tell(Path(script.get_revision(revision).path).stem.replace("_", " "))


def migrate(connection: Connection) -> None:
    """Run the migrations that were asked for, all in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=is_compared,
        on_version_apply=lambda step, **_: tell_next(step.up_revision_id) if step.is_upgrade else None,
    )
    with context.begin_transaction():
        # Taken before the revision is read: whoever waits here finds the work done.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # While a migration waits for a table, everybody else who wants it waits behind: better it is tried again later.
        # It is long enough for the server to end a vacuum that is in the way.
        connection.execute(text("SET LOCAL lock_timeout = '3s'"))
        tell_next(context.get_context().get_current_revision())
        context.run_migrations()
    connection.commit()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    asyncio.run(connected(os.environ["MOVIEHUB_DATABASE_URL"], migrate))
