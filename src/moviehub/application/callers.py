"""Who waits for an answer, and how long they have waited for helps: for parts that the hub can do without, and slower.

One that is slow, and answers, so costs a request no more than one that hangs.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from moviehub.domain.errors import Unavailable

T = TypeVar("T")

MOST_HELPED = 0.4
"""Seconds that a caller waits for helps in all, one after the other or side by side."""

LAST_BEGUN = 0.2
"""Seconds after which no command is begun for a caller: the time that one may take is not left."""

SURE = 0.05
"""Seconds after which a wait for what is shared might be too long: a round trip that is under way, and the next one."""

LONG_ENOUGH = "What helps was waited for long enough."


class Caller:
    """Somebody who waits for an answer, perhaps for several pieces of work side by side."""

    __slots__ = ("_helps", "_since", "_waited", "is_late", "until")

    def __init__(self) -> None:
        self.until: float | None = None
        """When they have waited long enough for work, by the loop's clock; None before they wait for any."""
        self.is_late = False
        """Whether a help was not waited for any more, so that what it would have told is unknown."""
        self._waited = 0.0
        self._helps = 0
        self._since = 0.0

    @property
    def waited(self) -> float:
        """Seconds in which they waited for one help or several."""
        return self._waited + (time.monotonic() - self._since if self._helps else 0.0)

    def begin(self) -> None:
        """They wait for one more help."""
        if not self._helps:
            self._since = time.monotonic()
        self._helps += 1

    def end(self) -> None:
        """They wait for one less."""
        self._helps -= 1
        if not self._helps:
            self._waited += time.monotonic() - self._since


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""Who asks; None while nobody waits."""


@contextmanager
def helped() -> Iterator[None]:
    """The time of a command that is given for the caller alone.

    Unavailable, as if the help were away, where too little is left of their time: it is not given up halfway, for that
    would cost its connection.
    """
    caller = CALLER.get()
    if caller is None:
        yield
        return
    if caller.waited >= LAST_BEGUN:
        caller.is_late = True
        raise Unavailable(LONG_ENOUGH)
    caller.begin()
    try:
        yield
    finally:
        caller.end()


async def helped_by(work: Awaitable[T]) -> T:
    """What comes of work that goes on when the caller does not wait for it any more.

    Unavailable when they have waited long enough.
    """
    caller = CALLER.get()
    if caller is None:
        return await work
    waited = caller.waited
    caller.begin()
    try:
        if waited <= SURE:  # as nearly always: a timer would cost more than the wait
            return await work
        async with asyncio.timeout(max(0.0, MOST_HELPED - waited)):
            return await work
    except TimeoutError:
        caller.is_late = True
        raise Unavailable(LONG_ENOUGH) from None
    finally:
        caller.end()
