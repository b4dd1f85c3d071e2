"""What a replica may be asked: how old is what it shows, and who stands in for whom."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import structlog

from moviehub.adapters.postgres.films import READ
from moviehub.adapters.postgres.movies_sql import DETAIL, FIND_BY_TMDB, GET
from moviehub.adapters.postgres.ratings import LIST_REVIEWS
from moviehub.adapters.postgres.statements import Row, Runs, Statement
from moviehub.domain.errors import MovieHubError, Unavailable

log = structlog.get_logger()

HASTE = {"wait_timeout": 0.25, "connect_timeout": 0.4, "command_timeout": 0.5}
"""Time-outs for a replica: the primary is asked after it, and both together are to end in time."""

LONGEST_QUESTION = 0.5
"""Seconds that either server has to tell how far it is."""

NEVER = float("-inf")

_SERVER = "(SELECT system_identifier FROM pg_control_system()) || ' ' || current_database() AS server"
WRITTEN = Statement(f"SELECT {_SERVER}, (pg_current_wal_lsn() - '0/0')::bigint AS place", reads=True)
SHOWN = Statement(
    f"SELECT {_SERVER}, CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END AS place",
    reads=True,
)
"""How far the primary has written its log, and how far the replica has replayed it; a promoted one replays nothing."""

OF_A_FILM = (GET, FIND_BY_TMDB, LIST_REVIEWS)
"""Statements that give a row for every film that is there."""


class Watch:
    """Knows of when is what the replica shows. It compares places in the log, so no clock but ours is believed.

    Whatever was committed before the primary is asked for its place is in the log up to there. Later looks remember
    such places, so a replica that is steadily some milliseconds behind is found to be no more than that.
    """

    def __init__(self, primary: Runs, replica: Runs, longest_lag: float) -> None:
        self._primary = primary
        self._replica = replica
        self._longest_lag = longest_lag
        self._places: list[tuple[float, str, int]] = []
        self._server: str | None = None
        self._shows = NEVER
        self._looks = 0
        self.settled = asyncio.Event()
        """Set once it is known how the replica is."""
        self.fault = ""
        """Why the replica is not fresh, if it is not."""
        self.answers = False
        """Whether the replica answered when it was asked last."""
        self.primary_answers = True

    @property
    def is_fresh(self) -> bool:
        """Whether the replica shows all that was committed `longest_lag` seconds ago."""
        return time.monotonic() - self._shows < self._longest_lag

    def failed(self) -> None:
        """Have nobody ask the replica until it is known to answer."""
        self._shows, self.answers = NEVER, False

    async def look(self) -> None:
        """Compare the two once."""
        self._tell(await self._compared())

    async def _compared(self) -> str:
        at = time.monotonic()
        written = await _place(self._primary, WRITTEN)
        self.primary_answers = written is not None
        self._places = [place for place in self._places if at - place[0] < self._longest_lag]
        if written is not None:
            self._server = written["server"]
            self._places.append((at, written["server"], written["place"]))
        shown = await _place(self._replica, SHOWN)
        if shown is None:
            self.failed()
            return "it gives no answer"
        if self._server not in (None, shown["server"]):
            self.failed()
            return "it is of another database"
        self.answers = True
        if shown["place"] is None:  # perhaps it was promoted, and others write to it
            self._shows = NEVER
            return "it is no replica"
        for asked_at, server, place in self._places:
            if server == shown["server"] and place <= shown["place"]:
                self._shows = max(self._shows, asked_at)
        if self.is_fresh:
            return ""
        return "it is behind" if self.primary_answers else "there is no primary to compare it with"

    def _tell(self, fault: str) -> None:
        self._looks += 1
        if fault and self.answers and self._looks == 1:
            return  # at the first look it may well be some milliseconds behind
        if fault != self.fault:
            if fault:
                log.warning("replica_not_fresh", why=fault)
            else:
                log.info("replica_is_fresh_again")
        self.fault = fault
        self.settled.set()


async def _place(run: Runs, statement: Statement) -> Row | None:
    try:
        async with asyncio.timeout(LONGEST_QUESTION):
            (row,) = await run.rows(statement)
    except (MovieHubError, TimeoutError):
        return None
    return row


class Either(Runs):
    """Runs a read on the replica while that is fresh, else on the primary, and on the other one if that fails.

    So a replica that is not fresh stands in for a primary that is away. A film that the replica has not got may be
    new, and is looked for on the primary.
    """

    def __init__(self, primary: Runs, replica: Runs, watch: Watch) -> None:
        self._primary = primary
        self._replica = replica
        self._watch = watch

    async def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        watch, found = self._watch, None
        if watch.is_fresh or (watch.answers and not watch.primary_answers):
            found = await self._shown(statement, **values)
            if found is not None and not _lacks(statement, values, found):
                return found
        try:
            return await self._primary.rows(statement, **values)
        except Unavailable:
            if found is None and watch.answers:
                found = await self._shown(statement, **values)
            if found is None:
                raise
            return found

    async def _shown(self, statement: Statement, **values: Any) -> Sequence[Row] | None:
        try:
            return await self._replica.rows(statement, **values)
        except Unavailable:
            self._watch.failed()
            return None


def _lacks(statement: Statement, values: dict[str, Any], found: Sequence[Row]) -> bool:
    if statement is DETAIL or statement is READ:
        return len(found) < len(values["movie_ids"])
    return not found and statement in OF_A_FILM
