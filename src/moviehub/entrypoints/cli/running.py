"""What every command stands on: settings, a database that runs, an end in good order, and faults told in one line."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from moviehub.domain.errors import Invalid, MovieHubError
from moviehub.entrypoints.settings import Settings, SettingsError, unknown_variables

if TYPE_CHECKING:
    # At run time, what plugs in every adapter is imported by what needs it: that takes a second, which --help has not.
    from moviehub.entrypoints.bootstrap import Container

T = TypeVar("T")


class Fault(click.ClickException):
    """Something that stops a command: one line, no traceback."""


class ConfigFault(Fault):
    """A setting that stops a command."""

    exit_code = 78  # EX_CONFIG of sysexits.h


def cannot_listen(host: str, port: int, option: str, fault: OSError | UnicodeError) -> Fault:
    """A port that cannot be had, and the option that names another."""
    reason = getattr(fault, "strerror", None) or "no such host"
    return Fault(f"Cannot listen on port {port} of {host}: {reason}. Choose another with {option} or --host.")


def read_settings() -> Settings:
    """The settings of the environment."""
    try:
        return Settings.read()
    except SettingsError as fault:
        raise ConfigFault(str(fault)) from None


def lasting_settings() -> Settings:
    """The same, of a hub whose data outlives a process."""
    settings = read_settings()
    if settings.storage == "memory":
        raise ConfigFault("MOVIEHUB_DATABASE_URL is memory://, where nothing lasts: set it to a database.")
    return settings


def warn_of_unknown_variables() -> None:
    """A line for each variable that looks like a setting."""
    for name in unknown_variables():
        click.echo(f"Warning: {name} is no setting of moviehub; deploy/env.example lists those.", err=True)


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command that ends with one clear line when something that we know goes wrong."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        gc.disable()  # as in server.py: nothing that is imported is garbage
        from moviehub.entrypoints.bootstrap.database import StartError

        gc.enable()
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
def ready(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that runs: a private one is started and migrated, and ended with us."""
    from moviehub.entrypoints.bootstrap.database import migrate, private_database

    with private_database(settings) as started:
        if started is not settings:
            migrate(started)
        yield started


def run(settings: Settings, act: "Callable[[Container], Coroutine[Any, Any, Any]]") -> Any:
    """Do something with a container, and close it."""
    from moviehub.entrypoints import logs
    from moviehub.entrypoints.bootstrap import running
    from moviehub.entrypoints.bootstrap.database import with_secret

    async def main() -> Any:
        async with running(with_secret(settings)) as container:
            return await act(container)

    logs.configure(replace(settings, log_level="error"))  # what goes wrong is told by the command itself
    return asyncio.run(main())


def run_until_told(work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
    """Do something that may last; None if a signal ended it, which cancels it."""

    async def main() -> T | None:
        working, loop = asyncio.create_task(work()), asyncio.get_running_loop()
        end_on_signals(lambda: loop.call_soon_threadsafe(working.cancel))
        await asyncio.wait([working])
        return None if working.cancelled() else working.result()

    try:
        return asyncio.run(main())
    finally:
        end_on_signals()


def end_on_signals(end: Callable[[], object] = lambda: sys.exit(0)) -> None:
    """Let SIGTERM, Ctrl-C and a terminal that is closed end us in good order."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup

    def hear(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # a second one would cut short what the first began
        end()

    for number in numbers:
        signal.signal(number, hear)
