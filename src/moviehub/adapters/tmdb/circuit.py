"""When TMDb is not asked: while it is out, while it told us to wait, and a second time while much goes wrong."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import structlog

from moviehub.domain.errors import Unavailable

log = structlog.get_logger()

State = Literal["closed", "open", "half-open"]

MOST_SECOND_TRIES = 10
QUESTIONS_A_SECOND_TRY = 10
"""For long, one question in so many may be tried a second time."""


class Failure(Unavailable):
    """TMDb as a whole is in trouble: it cannot be reached, is broken, talks nonsense or refuses us."""

    def __init__(self, why: str, *, retry_after: int = 5) -> None:
        super().__init__("The film catalogue cannot be reached now.", retry_after=retry_after)
        self.why = why


class Open(Unavailable):
    """TMDb is not asked now."""


class OverLimit(Failure):
    """TMDb told us to wait."""


class Circuit:
    """A circuit breaker (Michael Nygard, "Release It!", 2nd ed. 2018, chapter 5) around the questions to TMDb.

    Closed, all pass. After `most_failures` in a row it opens, and for `interval` seconds every question is refused at
    once. Then it is half-open: one question, the probe, passes. Its success closes the circuit, its failure opens it
    again. Whoever is told to wait opens it at once for as long as was told.

    Second tries have a budget too (Beyer et al., "Site Reliability Engineering", 2016, chapter 21), so that they never
    double what is asked of a TMDb in trouble.
    """

    def __init__(
        self, *, most_failures: int = 5, interval: float = 5.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_failures = most_failures
        self._interval = interval
        self._monotonic = monotonic
        self._failures = 0
        self._open_until: float | None = None
        # The mark of the questions whose end counts: all since the circuit closed, or the probe, or none. What began
        # before the circuit last opened or closed tells of another time.
        self._counted: object | None = object()
        self._saved = MOST_SECOND_TRIES * QUESTIONS_A_SECOND_TRY  # questions that may pay for second tries

    @property
    def state(self) -> State:
        """As it is now."""
        if self._open_until is None:
            return "closed"
        return "open" if self._monotonic() < self._open_until else "half-open"

    def check(self) -> None:
        """Raise Open if a question would be refused now."""
        if self._open_until is None:
            return
        left = self._open_until - self._monotonic()
        if left > 0 or self._counted is not None:
            raise Open("The film catalogue cannot be reached now.", retry_after=max(1, math.ceil(left)))

    @contextmanager
    def question(self) -> Iterator[None]:
        """Around a question: a Failure that leaves it counts against TMDb, a good end for it, and nothing else counts.

        A question that is given up, because nobody wants its answer any more, makes room for another probe.
        """
        self.check()
        self._saved = min(self._saved + 1, MOST_SECOND_TRIES * QUESTIONS_A_SECOND_TRY)
        if self._counted is None:
            self._counted = object()
        mark = self._counted
        try:
            yield
        except OverLimit as fault:
            self._open(fault.retry_after, fault.why)
            raise
        except Failure as fault:
            if mark is self._counted:
                self._failures += 1
                if self._open_until is not None or self._failures >= self._most_failures:
                    self._open(self._interval, fault.why)
            raise
        except BaseException:
            if mark is self._counted and self._open_until is not None:
                self._counted = None
            raise
        if mark is self._counted:
            self._close()

    def second_try(self) -> bool:
        """Whether a question may be tried a second time; it counts as tried."""
        if self.state == "open" or self._saved < QUESTIONS_A_SECOND_TRY:
            return False
        self._saved -= QUESTIONS_A_SECOND_TRY
        return True

    def _open(self, seconds: float, why: str) -> None:
        if self._open_until is None:
            log.warning("tmdb_circuit_opened", why=why, seconds=seconds)
        self._open_until = max(self._open_until or 0.0, self._monotonic() + seconds)
        self._counted = None

    def _close(self) -> None:
        if self._open_until is not None:
            log.info("tmdb_circuit_closed")
        self._open_until = None
        self._failures = 0
