"""How many rows a long list has, remembered for a moment."""

import time
from collections.abc import Hashable

MOST_REMEMBERED = 1_000


class Counts:
    """How many rows some filters were found to match, for `ttl` seconds: counting costs ten times what a page does.

    Fewer than `least` are counted anew each time, so that a small hub always tells the truth of this moment.
    """

    def __init__(self, ttl: float, least: int) -> None:
        self._ttl = ttl
        self._least = least
        self._known: dict[Hashable, tuple[float, int]] = {}

    def find(self, key: Hashable) -> int | None:
        """The number, if it was counted a moment ago."""
        counted_at, total = self._known.get(key, (float("-inf"), 0))
        return total if time.monotonic() - counted_at < self._ttl else None

    def keep(self, key: Hashable, total: int) -> None:
        """Remember the number if it took long to count; when too many are remembered, forget the others."""
        if total < self._least:
            return
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = (time.monotonic(), total)
