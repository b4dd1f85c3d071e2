"""How far a long command is, told on a terminal in a line that changes, and elsewhere by what is done alone."""

import sys
import time
from types import TracebackType

import click


class Progress:
    """What is being done stands under the last line of a terminal; what was done is a line anywhere."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._step, self._begun_at = "", 0.0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.clear()

    def show(self, doing: str) -> None:
        """Tell who sits before it what is being done."""
        self.clear()
        if self._terminal:
            click.echo(f"{doing} …", nl=False)

    def say(self, line: str) -> None:
        """Tell something that is to stay."""
        self.clear()
        click.echo(line)

    def clear(self) -> None:
        """Nothing is being done any more."""
        if self._terminal:
            click.echo("\r\x1b[K", nl=False)

    def begin(self, step: str) -> None:
        """A step begins, so the one before is done."""
        self.end()
        self._step, self._begun_at = step, time.monotonic()
        self.show(step)

    def end(self) -> None:
        """The last step is done."""
        if self._step:
            self.say(f"{self._step}: {time.monotonic() - self._begun_at:.1f} s")
        self._step = ""
