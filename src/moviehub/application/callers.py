"""Who waits for an answer, and how long they have waited for what the hub can do without."""

import asyncio
from contextvars import ContextVar
from types import TracebackType

from moviehub.domain.errors import Unavailable

MOST_HELPED = 0.45
"""Seconds that a caller waits for helps in all, one after the other or side by side."""

LAST_BEGUN = 0.25
"""Seconds after which no command is begun for a caller: the time that one may take is not left."""

LONG_ENOUGH = "What helps was waited for long enough."


class Caller:
    """Somebody who waits for an answer, perhaps for several pieces of work side by side."""

    __slots__ = ("_helpers", "_since", "_waited", "until")

    def __init__(self) -> None:
        self.until: float | None = None
        """When they have waited long enough for work, by the loop's clock; None before they wait for any."""
        self._waited = 0.0
        self._helpers = 0
        self._since = 0.0

    def waited(self, now: float) -> float:
        """Seconds in which they waited for a help or more, until `now` by the loop's clock."""
        return self._waited + (now - self._since if self._helpers else 0.0)

    def begin(self, now: float) -> None:
        """They wait for one more help."""
        if not self._helpers:
            self._since = now
        self._helpers += 1

    def end(self, now: float) -> None:
        """They wait for one less."""
        self._helpers -= 1
        if not self._helpers:
            self._waited += now - self._since


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""Who asks; None while nobody waits."""


class helped:  # noqa: N801
    """The time in which the caller waits for a help: for a part that the hub can do without, and slower.

    Unavailable, as if the part were away, once they have waited long enough for helps in all: so one that is slow, and
    answers, costs a request no more than one that hangs. What is `shared` goes on without them; what is not is begun
    only if there is time for all of it, for a command that is given up costs its connection.
    """

    __slots__ = ("_caller", "_loop", "_shared", "_timeout")

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared

    async def __aenter__(self) -> None:
        caller = self._caller = CALLER.get()
        if caller is None:
            return
        loop = self._loop = asyncio.get_running_loop()
        now = loop.time()
        waited = caller.waited(now)
        if waited >= (MOST_HELPED if self._shared else LAST_BEGUN):
            raise Unavailable(LONG_ENOUGH)
        # The first needs no timer, which would cost more than what most callers wait.
        self._timeout = asyncio.timeout(MOST_HELPED - waited) if waited and self._shared else None
        if self._timeout is not None:
            await self._timeout.__aenter__()
        caller.begin(now)

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        caller = self._caller
        if caller is None:
            return
        caller.end(self._loop.time())
        if self._timeout is not None:
            try:
                await self._timeout.__aexit__(kind, fault, trace)
            except TimeoutError:
                raise Unavailable(LONG_ENOUGH) from None
