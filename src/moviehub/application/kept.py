"""What a process keeps of what it read, for a moment, and forgets when it hears that it changed."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from datetime import timedelta
from typing import Generic, TypeVar

from moviehub.application.ports import Clock, News

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LONGEST_KEPT = timedelta(seconds=1)
"""So long, at most, somebody goes on with what changed if the news of it are lost."""

_LONGEST = LONGEST_KEPT.total_seconds()

MOST_KEPT = 1_000
MOST_CHANGES = 10_000

MOVIES = "movies"
"""The topic of all films, for what shows many of them."""


def about_movie(movie_id: int) -> str:
    """The topic of one film and what people think of it."""
    return f"movie {movie_id}"


def about_user(user_id: int) -> str:
    """The topic of one account and all its sessions."""
    return f"user {user_id}"


def about_session(session_id: int) -> str:
    """The topic of one session."""
    return f"session {session_id}"


class Kept(Generic[K, V]):
    """Values by key, each with the topics whose news end it. Bounded: when it is full, the oldest go.

    What has topics is kept only while their news are heard, and not at all if one of them changed since its reading
    began: who reads notes `moment` before, and gives it back with what was read.
    """

    def __init__(self, news: News, clock: Clock, most: int = MOST_KEPT) -> None:
        self.moment = 0
        self._news = news
        self._clock = clock
        self._most = most
        # A plain dictionary looks for its first key past all those that were deleted.
        self._values: OrderedDict[K, tuple[V, float, tuple[str, ...]]] = OrderedDict()
        self._keys: dict[str, set[K]] = {}
        self._changes: OrderedDict[str, int] = OrderedDict()
        self._all_changed = 0
        news.listen(self._hear)

    def find(self, key: K) -> V | None:
        """What is kept under `key`, if its moment is not over."""
        found = self._values.get(key)
        if found is not None and found[2]:
            found = self._values.get(key) if self._news.are_heard() else None  # hearing them may end it
        if found is None:
            return None
        now = self._clock.seconds()
        if not now < found[1] <= now + _LONGEST:  # the second, if the clock was set back
            self._forget(key)
            return None
        return found[0]

    def keep(
        self, key: K, value: V, topics: tuple[str, ...] = (), *, moment: int = 0, life: timedelta = LONGEST_KEPT
    ) -> None:
        """Keep a value whose reading began at `moment`, for so long at most, until something is told of its topics."""
        if topics and (not self._news.are_heard() or self._changed_since(moment, topics)):
            return
        self._forget(key)
        while len(self._values) >= self._most:
            self._forget(next(iter(self._values)))
        self._values[key] = value, self._clock.seconds() + min(life, LONGEST_KEPT).total_seconds(), topics
        for topic in topics:
            self._keys.setdefault(topic, set()).add(key)

    def _changed_since(self, moment: int, topics: Iterable[str]) -> bool:
        return moment < self._all_changed or any(self._changes.get(topic, 0) > moment for topic in topics)

    def _hear(self, topic: str | None) -> None:
        self.moment += 1
        if topic is None:
            self._all_changed = self.moment
            self._changes.clear()
            for known in list(self._keys):
                self._forget_all(known)
            return
        self._changes.pop(topic, None)  # so that it counts as the newest
        self._changes[topic] = self.moment
        if len(self._changes) > MOST_CHANGES:
            _, self._all_changed = self._changes.popitem(last=False)
        self._forget_all(topic)

    def _forget_all(self, topic: str) -> None:
        for key in tuple(self._keys.get(topic, ())):
            self._forget(key)

    def _forget(self, key: K) -> None:
        found = self._values.pop(key, None)
        for topic in found[2] if found is not None else ():
            keys = self._keys[topic]
            keys.discard(key)
            if not keys:
                del self._keys[topic]
