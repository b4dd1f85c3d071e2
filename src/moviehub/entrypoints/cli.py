"""The `moviehub` command: serve, migrate, and what an operator needs now and then."""

import asyncio
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from moviehub import __version__
from moviehub.domain.errors import Invalid, MovieHubError
from moviehub.entrypoints.settings import Settings, SettingsError, unknown_variables

if TYPE_CHECKING:
    # At run time, what plugs in every adapter is imported by what needs it: that takes a second, which --help has not.
    from moviehub.entrypoints.bootstrap import Container
    from moviehub.entrypoints.checks import Finding


class Fault(click.ClickException):
    """Something that stops a command: one line, no traceback."""


class ConfigFault(Fault):
    """A setting that stops a command."""

    exit_code = 78  # EX_CONFIG of sysexits.h


def _read_settings() -> Settings:
    try:
        return Settings.read()
    except SettingsError as fault:
        raise ConfigFault(str(fault)) from None


def _lasting_settings() -> Settings:
    settings = _read_settings()
    if settings.storage == "memory":
        raise ConfigFault("MOVIEHUB_DATABASE_URL is memory://, where nothing lasts: set it to a database.")
    return settings


def _command(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command that ends with one clear line when something that we know goes wrong."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        from moviehub.entrypoints.bootstrap import StartError

        try:
            return function(*args, **kwargs)
        except SettingsError as fault:
            raise ConfigFault(str(fault)) from None
        except Invalid as fault:
            raise Fault(fault.detail) from None
        except (MovieHubError, StartError) as fault:
            raise Fault(str(fault)) from None

    return run


@contextmanager
def _ready(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that runs: a private one is started and migrated, and ended with us."""
    from moviehub.entrypoints.bootstrap import migrate, private_database

    with private_database(settings) as ready:
        if ready is not settings:
            migrate(ready)
        yield ready


def _run(settings: Settings, act: "Callable[[Container], Coroutine[Any, Any, Any]]") -> Any:
    """Do something with a container, and close it."""
    from moviehub.entrypoints import logs
    from moviehub.entrypoints.bootstrap import running, with_secret

    async def main() -> Any:
        async with running(with_secret(settings)) as container:
            return await act(container)

    logs.configure(replace(settings, log_level="error"))  # what goes wrong is told by the command itself
    return asyncio.run(main())


def _new_password() -> str:
    """A password asked for twice on a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _end_on_signals() -> None:
    """Let SIGTERM, Ctrl-C and a terminal that is closed end us in good order, also before there are workers."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup

    def end(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # a second one would cut short what the first began
        sys.exit(0)

    for number in numbers:
        signal.signal(number, end)


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
@click.option("--workers", default=1, envvar="MOVIEHUB_WORKERS", type=click.IntRange(1, 256), help="Worker processes.")
def serve(host: str, port: int, workers: int) -> None:
    """Serve the API. A private Postgres is started and migrated first."""
    _end_on_signals()
    _serve(host, port, workers)


@_command
def _serve(host: str, port: int, workers: int) -> None:
    from moviehub.entrypoints import bootstrap, server

    settings = replace(_read_settings(), workers=workers)
    if workers > 1 and "memory" in (settings.storage, settings.cache):
        name = "MOVIEHUB_DATABASE_URL" if settings.storage == "memory" else "MOVIEHUB_REDIS_URL"
        raise ConfigFault(f"{name} is memory://, which one process alone can see: set it, or serve with --workers 1.")
    bootstrap.plugged_in(settings)  # here, so that what cannot be is told before anything starts
    try:
        address = server.address_of(host, port)
    except (OSError, UnicodeError) as fault:
        reason = getattr(fault, "strerror", None) or "no such host"
        raise Fault(
            f"Cannot listen on port {port} of {host}: {reason}. Choose another with --port or --host."
        ) from None
    for name in unknown_variables():
        click.echo(f"Warning: {name} is no setting of moviehub; deploy/env.example lists those.", err=True)
    with ExitStack() as stack:
        private = settings.database_url.startswith("embedded:")
        settings = stack.enter_context(_ready(settings))
        generated = not settings.secret_key
        settings = bootstrap.with_secret(settings)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moviehub-")))
        click.echo(server.banner(settings, host, port, workers, private, generated), err=True)
        server.serve(settings, address=address, port=port, workers=workers, folder=folder)


@main.command()
@_command
def migrate() -> None:
    """Bring the database to the newest schema and flush the cache. Safe to run from several places at once."""
    from moviehub.entrypoints.bootstrap import migrate as bring_up

    settings = _lasting_settings()
    with _ready(settings) as ready:
        revision = bring_up(ready)
        click.echo(f"The database is at revision {revision}.")
        if settings.cache == "redis":
            try:
                _run(ready, _flush)
                click.echo("The cache is empty.")
            except MovieHubError as fault:
                click.echo(f"Warning: the cache could not be flushed: {fault}", err=True)


async def _examine(container: "Container") -> "list[Finding]":
    from moviehub.entrypoints.checks import checks_of, examine

    return await examine(checks_of(container, thorough=True))


@main.command()
def doctor() -> None:
    """Check settings, database, schema, cache and catalogue. The exit code is 0 unless one that is needed is ill."""
    from moviehub.entrypoints.bootstrap import StartError, plugged_in

    faults = 0

    def say(state: str, what: str, told: str) -> None:
        nonlocal faults
        faults += state == "fault"
        click.echo(f"{state:8} {what:12} {told}")

    try:
        settings = Settings.read()
        plugged_in(settings)
    except SettingsError as fault:
        say("fault", "settings", str(fault))
        sys.exit(ConfigFault.exit_code)
    parts = f"{settings.storage} storage, {settings.cache} cache, {settings.catalogue} catalogue"
    say("ok", "settings", f"{settings.env}: {parts}")
    for name in unknown_variables():
        say("warning", "settings", f"{name} is no setting of moviehub: a typing error?")
    if not settings.secret_key and not settings.database_url.startswith("embedded:"):
        say("warning", "secret", "MOVIEHUB_SECRET_KEY is not set: sessions end when the server does")
    try:
        with _ready(settings) as ready:
            for finding in _run(ready, _examine):
                state = {"ok": "ok", "degraded": "warning", "unavailable": "fault"}[finding.state]
                say(state, finding.part, finding.reason or "answers")
    except (MovieHubError, StartError) as fault:
        say("fault", "database", str(fault))
    sys.exit(1 if faults else 0)


@main.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document."""
    from moviehub.entrypoints.http.app import openapi_document

    settings = Settings(database_url="memory://", secret_key=secrets.token_hex(32))
    click.echo(msgspec.json.format(openapi_document(settings)).decode())


@main.group()
def user() -> None:
    """Make and mend accounts."""


@user.command("create-admin")
@click.option("--username", required=True, help="Name of the new superuser.")
@click.option("--email", required=True, help="E-mail address of the new superuser.")
@_command
def create_admin(username: str, email: str) -> None:
    """Make a superuser. The password is asked for, or read from standard input."""
    from moviehub.entrypoints.use_cases import use_cases

    settings = _lasting_settings()
    password = _new_password()

    async def act(container: "Container") -> None:
        made = await use_cases(container)["register"](
            username=username, email=email, password=password, is_superuser=True
        )
        click.echo(f"Made superuser {made.username} with id {made.id}.")

    with _ready(settings) as ready:
        _run(ready, act)


@user.command("set-password")
@click.option("--username", help="Name of the account.")
@click.option("--email", help="E-mail address of the account, instead of its name.")
@_command
def set_password(username: str | None, email: str | None) -> None:
    """Set an account's password and end its sessions. The password is asked for, or read from standard input."""
    login = username or email
    if login is None or (username and email):
        raise click.UsageError("Name the account with --username or with --email.")
    from moviehub.entrypoints.use_cases import use_cases

    settings = _lasting_settings()
    password = _new_password()

    async def act(container: "Container") -> None:
        await use_cases(container)["set_password"](login=login, password=password)
        click.echo(f"The password of {login} is set, and its sessions are ended.")

    with _ready(settings) as ready:
        _run(ready, act)


@main.group()
def cache() -> None:
    """Look after the cache."""


async def _flush(container: "Container") -> None:
    await container.cache().flush()


@cache.command("flush")
@_command
def flush() -> None:
    """Forget everything that is cached, and nothing else in Redis."""
    settings = _read_settings()
    if settings.cache == "memory":
        raise ConfigFault("MOVIEHUB_REDIS_URL is memory://: each server's cache is its own and ends with it.")
    _run(settings, _flush)
    click.echo("The cache is empty.")


if __name__ == "__main__":
    main()
