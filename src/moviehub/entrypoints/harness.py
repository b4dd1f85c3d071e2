"""The use cases on memory adapters, for anybody's tests: no server, no network, a clock and a catalogue that you set.

async with harness() as hub:
    (solaris,) = await hub.knows(MovieFacts(tmdb_id=593, title="Solaris"))
    alice = await hub.register(username="alice", email="alice@example.org", password="correct horse")
    await hub.rate_movie(user_id=alice.id, movie_id=solaris.id, score=9)
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from moviehub.domain.movies import Movie, MovieFacts
from moviehub.entrypoints.bootstrap import in_memory
from moviehub.entrypoints.use_cases import USE_CASES, use_cases


class Harness:
    """Every use case under its snake name (`hub.rate_movie`), beside what the test sets.

    `clock` stands still until `clock.advance(seconds=…)`; `catalogue.films` is the list of facts that the outside world
    knows, and `catalogue.out = True` makes it unreachable. `container` is the whole wiring.
    """

    def __init__(self) -> None:
        self.container = in_memory()
        self.clock: Any = self.container.clock()
        self.catalogue: Any = self.container.catalogue()
        self._cases = use_cases(self.container)

    def __getattr__(self, name: str) -> Any:
        """The use case of this name."""
        if name in USE_CASES:
            return self._cases[name]
        raise AttributeError(f"there is no use case {name!r}; there are: {', '.join(sorted(USE_CASES))}")

    async def knows(self, *facts: MovieFacts) -> tuple[Movie, ...]:
        """Films put into the catalogue and met by the hub."""
        self.catalogue.films.extend(facts)
        async with self.container.storage().autocommit() as uow:
            met: tuple[Movie, ...] = await uow.movies.remember(facts, self.clock.now())
        return met


@asynccontextmanager
async def harness() -> AsyncIterator[Harness]:
    """A hub of its own, empty, gone at the end. Unless you have configured structlog, only warnings are told."""
    if structlog.is_configured():
        yield Harness()
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield Harness()
    finally:
        structlog.reset_defaults()
