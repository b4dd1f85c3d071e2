"""Where pages of long lists end, remembered for a moment: to read on from a place costs less than to skip to it."""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from operator import itemgetter

from moviehub.domain.movies import MovieFilter
from moviehub.domain.pages import Cursor

LEAST_SKIPPED = 100
"""What skips fewer films does so, and tells the truth of this moment."""

MOST_BEHIND = 100
"""Behind a place so many films are skipped at most: these are read, while from the start an index alone is."""

MOST_PLACES = 2_000

Place = tuple[int, Cursor]
"""So many films come up to here, the last of which is the cursor's."""

_OFFSET = itemgetter(0)


class Places:
    """What was learned since one moment; when it is too much, no more is kept."""

    def __init__(self) -> None:
        self._lists: dict[MovieFilter, list[Place]] = {}
        self._count = 0

    def nearest(self, wanted: MovieFilter, offset: int) -> Place | None:
        """The last known place in this list that is at this offset or a little before it."""
        known = self._lists.get(wanted, ()) if offset >= LEAST_SKIPPED else ()
        found = bisect_right(known, offset, key=_OFFSET)
        return known[found - 1] if found and offset - known[found - 1][0] <= MOST_BEHIND else None

    def keep(self, wanted: MovieFilter, offset: int, cursor: Cursor) -> None:
        """Remember that the page which ends before `offset` ends at this film."""
        if offset < LEAST_SKIPPED or self._count >= MOST_PLACES:
            return
        known = self._lists.setdefault(wanted, [])
        at = bisect_left(known, offset, key=_OFFSET)
        if at == len(known) or known[at][0] != offset:
            known.insert(at, (offset, cursor))
            self._count += 1


class Signposts:
    """The places to start at now: none is older than `ttl` seconds by the `watch`, nor than the last `forget`.

    Whoever looks one up keeps what they then read beside it. If that was forgotten meanwhile, so is theirs.
    """

    def __init__(self, ttl: float, watch: Callable[[], float] = time.monotonic) -> None:
        self._ttl = ttl
        self._watch = watch
        self._since = float("-inf")
        self._places = Places()

    @property
    def places(self) -> Places:
        """Those that are young enough, and room for more."""
        now = self._watch()
        if now - self._since >= self._ttl:
            self._since, self._places = now, Places()
        return self._places

    def forget(self) -> None:
        """The lists are not what they were."""
        self._places = Places()
