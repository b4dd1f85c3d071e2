"""The `moviehub` command within the process of the tests, where no process of its own is what is tested."""

import logging
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

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


def shown_on_a_terminal(*words: str, env: Mapping[str, str]) -> tuple[int, str]:
    """How a command ends, in a process of its own, and all that it wrote to the terminal that it runs on."""
    ours, its = pty.openpty()
    command = [sys.executable, "-c", "from moviehub.entrypoints.cli import main; main()", *words]
    with subprocess.Popen(command, stdout=its, stderr=its, env=env) as process:
        os.close(its)
        shown = b""
        with suppress(OSError):  # which a terminal gives when nobody is left on the other side
            while more := os.read(ours, 4096):
                shown += more
        os.close(ours)
    return process.returncode, shown.decode()
