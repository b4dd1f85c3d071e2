"""The `moviehub` command: serve, migrate, and what an operator needs now and then."""

import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from moviehub import __version__
from moviehub.domain.errors import MovieHubError
from moviehub.entrypoints.cli.doctor import doctor
from moviehub.entrypoints.cli.progress import Progress
from moviehub.entrypoints.cli.running import (
    ConfigFault,
    cannot_listen,
    command,
    end_on_signals,
    lasting_settings,
    read_settings,
    ready,
    run,
    run_until_told,
    warn_of_unknown_variables,
)
from moviehub.entrypoints.cli.users import user
from moviehub.entrypoints.settings import Settings

if TYPE_CHECKING:
    from moviehub.entrypoints.bootstrap import Container


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True})
@click.version_option(__version__, message="moviehub %(version)s")
def main() -> None:
    """A movie catalogue, accounts, favourites and ratings over HTTP.

    Settings are MOVIEHUB_… variables; deploy/env.example explains each. Without any, `moviehub serve` uses a private
    Postgres and a demo catalogue.
    """


@main.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=8000, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    show_default="1, or MOVIEHUB_WORKERS",
    help="Worker processes.",
)
def serve(host: str, port: int, workers: int | None) -> None:
    """Serve the API. A private Postgres is started and migrated first."""
    end_on_signals()  # also before there are workers
    _serve(host, port, workers)


@command
def _serve(host: str, port: int, workers: int | None) -> None:
    from moviehub.entrypoints import reports, server
    from moviehub.entrypoints.bootstrap import plugged_in
    from moviehub.entrypoints.bootstrap.database import with_secret

    settings = read_settings()
    workers = workers or settings.workers
    settings = replace(settings, workers=workers)
    if workers > 1 and "memory" in (settings.storage, settings.cache):
        name = "MOVIEHUB_DATABASE_URL" if settings.storage == "memory" else "MOVIEHUB_REDIS_URL"
        raise ConfigFault(f"{name} is memory://, which one process alone can see: set it, or serve with --workers 1.")
    plugged_in(settings)  # here, so that what cannot be is told before anything starts
    reports.check()
    try:
        address = server.address_of(host, port)
    except (OSError, UnicodeError) as fault:
        raise cannot_listen(host, port, "--port", fault) from None
    warn_of_unknown_variables()
    with ExitStack() as stack:
        private = settings.database_url.startswith("embedded:")
        settings = stack.enter_context(ready(settings))
        generated = not settings.secret_key
        settings = with_secret(settings)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moviehub-")))
        click.echo(server.banner(settings, host, port, workers, private, generated), err=True)
        server.serve(settings, address=address, port=port, workers=workers, folder=folder)


@main.command()
@click.option("--host", default="127.0.0.1", help="Address of the metrics.")
@click.option("--metrics-port", default=0, type=click.IntRange(0, 65535), help="Port of the metrics; 0 for none.")
@click.option("--once", is_flag=True, help="Do each job one time and end; the exit code is 1 if one failed.")
def worker(host: str, metrics_port: int, once: bool) -> None:
    """Keep lists warm and films fresh, and end old sessions. Of several workers, one works and the others wait."""
    end_on_signals()
    _work(host, metrics_port, once)


@command
def _work(host: str, metrics_port: int, once: bool) -> None:
    from moviehub.entrypoints import logs, reports
    from moviehub.entrypoints.bootstrap import plugged_in
    from moviehub.entrypoints.bootstrap.database import with_secret
    from moviehub.entrypoints.worker import Metrics, work

    settings = lasting_settings()
    plugged_in(settings)
    reports.check()
    warn_of_unknown_variables()
    logs.configure(settings)
    metrics = Metrics()
    with ExitStack() as stack:
        if metrics_port:
            try:
                stack.enter_context(metrics.served(host, metrics_port))
            except (OSError, UnicodeError) as fault:
                raise cannot_listen(host, metrics_port, "--metrics-port", fault) from None
        settings = with_secret(stack.enter_context(ready(settings)))
        if run_until_told(lambda: work(settings, metrics, once=once)) is False:
            sys.exit(1)


@main.command()
@command
def migrate() -> None:
    """Bring the database to the newest schema and flush the cache. Safe to run from several places at once."""
    from moviehub.entrypoints.bootstrap.database import migrate as bring_up

    settings = lasting_settings()
    with ready(settings) as started, Progress() as progress:
        progress.show("looking at the database")
        revision = bring_up(started, progress.begin)
        progress.end()
        progress.say(f"The database is at revision {revision}.")
        if settings.cache == "redis":
            try:
                _flush(started, progress)
            except MovieHubError as fault:
                progress.clear()
                click.echo(f"Warning: the cache could not be flushed: {fault}", err=True)


main.add_command(doctor)


@main.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document."""
    from moviehub.entrypoints.http.app import openapi_document

    click.echo(msgspec.json.format(openapi_document()).decode())


main.add_command(user)


@main.group()
def cache() -> None:
    """Look after the cache."""


def _flush(settings: Settings, progress: Progress) -> None:
    def tell(forgotten: int) -> None:
        progress.show(f"emptying the cache: {forgotten:,} forgotten")

    async def flush(container: "Container") -> None:
        await container.cache().flush(tell)

    tell(0)
    run(settings, flush)
    progress.say("The cache is empty.")


@cache.command("flush")
@command
def flush() -> None:
    """Forget everything that is cached, and nothing else in Redis."""
    settings = read_settings()
    if settings.cache == "memory":
        raise ConfigFault("MOVIEHUB_REDIS_URL is memory://: each server's cache is its own and ends with it.")
    with Progress() as progress:
        _flush(settings, progress)
