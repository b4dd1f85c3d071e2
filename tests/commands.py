"""The `moviehub` command within the process of the tests, where no process of its own is what is tested."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from click.testing import CliRunner, Result

from moviehub.entrypoints.cli import main


@contextmanager
def logs_as_before() -> Iterator[None]:
    """A command sets up logging for its process, which here is ours: let it be as it was, at the end."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        yield
    finally:
        logging.root.handlers[:], logging.root.level = handlers, level
        structlog.reset_defaults()


@contextmanager
def signals_as_before() -> Iterator[None]:
    """A command says what ends its process, which here is ours: let a Ctrl-C end the tests again."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:  # in another thread than the first, nobody may set one
                signal.signal(number, handler)


def invoked(*words: str, told: str, env: dict[str, str | None]) -> Result:
    """Run a command to its end, with `told` on its standard input."""
    with logs_as_before(), signals_as_before():
        return CliRunner().invoke(main, words, input=told, env=env)
