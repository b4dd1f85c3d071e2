"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

from moviehub.application.ports import Clock

START = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


class MemoryClock(Clock):
    """Tells `at`, which a test sets or advances."""

    def __init__(self, start: datetime = START) -> None:
        self.at = start

    def now(self) -> datetime:
        return self.at

    def advance(self, by: timedelta | None = None, *, seconds: float = 0) -> None:
        """Let time pass."""
        self.at += (by or timedelta()) + timedelta(seconds=seconds)
