"""The database before anything is plugged in: a private one is started, and any is migrated."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from moviehub.adapters.embedded import EmbeddedError, PrivatePostgres, default_data_dir
from moviehub.adapters.postgres import migrations
from moviehub.adapters.postgres.diagnosis import Diagnosis as Diagnosis
from moviehub.domain.errors import MovieHubError
from moviehub.entrypoints.settings import PREFIX, SHORTEST_SECRET, Settings

newest_revision = migrations.head


class StartError(RuntimeError):
    """Something without which nothing can start; one line that says what to do."""


@contextmanager
def private_database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that runs. An embedded one is started here and stopped at the end."""
    if not settings.database_url.startswith("embedded:"):
        yield settings
        return
    folder = settings.folder or default_data_dir()
    try:
        with PrivatePostgres(folder / "postgres") as url:
            yield replace(settings, database_url=url, secret_key=settings.secret_key or _kept_secret(folder))
    except EmbeddedError as fault:
        raise StartError(str(fault)) from None


def _kept_secret(folder: Path) -> str:
    """The secret kept beside the data, made the first time; nobody else can read it."""
    path, half = folder / "secret_key", folder / "secret_key.half"  # renamed when whole: a start may be cut short
    if not path.exists():
        half.touch(0o600)
        half.write_text(secrets.token_urlsafe(48))
        half.rename(path)
    secret = path.read_text().strip()
    if len(secret) < SHORTEST_SECRET:
        raise StartError(f"{path} is too short for a secret: remove it, and another is made; sessions end with it")
    return secret


def with_secret(settings: Settings) -> Settings:
    """The settings with a secret: the one that is set, else one made now for this run."""
    return settings if settings.secret_key else replace(settings, secret_key=secrets.token_urlsafe(48))


def migrate(settings: Settings, tell: Callable[[str], object] = lambda _: None) -> str:
    """Bring the database to the newest schema; the revision it has then. `tell` hears what is begun."""
    try:
        migrations.upgrade(settings.database_url, tell=tell)
    except MovieHubError as fault:
        raise StartError(f"{PREFIX}DATABASE_URL: {str(fault).splitlines()[0]}") from None
    return newest_revision()
