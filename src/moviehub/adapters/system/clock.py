"""The clock of the machine."""

import time
from datetime import UTC, datetime

from moviehub.application.ports import Clock


class SystemClock(Clock):
    """Tells the machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def seconds(self) -> float:
        return time.time()
