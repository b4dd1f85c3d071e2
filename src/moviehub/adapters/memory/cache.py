"""A cache in a dict, for one process."""

from collections.abc import Callable
from typing import Any, TypeVar, get_origin

from moviehub.application.ports import Cache, Cached, Clock

T = TypeVar("T")

MOST_ENTRIES = 10_000


class MemoryCache(Cache):
    """Keeps at most 10,000 entries; when there are more, those whose time is over go first, then the oldest."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, Cached[Any]] = {}

    async def find(self, key: str, kind: type[T]) -> Cached[T] | None:
        entry = self._entries.get(key)
        if entry is None or entry.until <= self._clock.now():
            return None
        return entry if isinstance(entry.value, get_origin(kind) or kind) else None

    async def keep(self, key: str, entry: Cached[T]) -> None:
        self._entries.pop(key, None)  # so that it counts as the newest
        self._entries[key] = entry
        if len(self._entries) > MOST_ENTRIES:
            self._make_room()

    async def flush(self, tell: Callable[[int], object] = lambda _: None) -> None:
        tell(len(self._entries))
        self._entries.clear()

    def _make_room(self) -> None:
        now = self._clock.now()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.until > now}
        while len(self._entries) > MOST_ENTRIES:
            del self._entries[next(iter(self._entries))]
