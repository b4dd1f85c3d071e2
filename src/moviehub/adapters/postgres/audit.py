"""The audit trail in Postgres."""

from collections.abc import Callable

import structlog
from sqlalchemy import insert

from moviehub.adapters.postgres.counts import Counts
from moviehub.adapters.postgres.rows import recorded_of
from moviehub.adapters.postgres.statements import (
    MOST_BIGINT,
    Runs,
    Statement,
    a_text,
    an_id,
    newest,
    newest_known,
    possible,
)
from moviehub.adapters.postgres.tables import audit, parameters
from moviehub.application.storage import Audit
from moviehub.domain.audit import Entry, Event, Recorded
from moviehub.domain.pages import MOST_COUNTED, Page, PageRequest

log = structlog.get_logger()

_OF_USER = audit.c.user_id == an_id("user_id")
_OF_KIND = audit.c.event == a_text("event")
_BEFORE = audit.c.id < an_id("before")

ADD = Statement(insert(audit).values(parameters(audit)))
LIST = {
    frozenset[str](): newest(audit, _BEFORE),
    frozenset({"user_id"}): newest(audit, _OF_USER, _BEFORE),
    frozenset({"event"}): newest(audit, _OF_KIND, _BEFORE),
    frozenset({"user_id", "event"}): newest(audit, _OF_USER, _OF_KIND, _BEFORE),
}
"""The statement for each set of filters."""
LIST_COUNTED = {
    frozenset[str](): newest_known(audit, _BEFORE),
    frozenset({"user_id"}): newest_known(audit, _OF_USER, _BEFORE),
    frozenset({"event"}): newest_known(audit, _OF_KIND, _BEFORE),
}
"""The same where it is known how many there are, for those sets that an index has in this order."""


class PostgresAudit(Audit):
    """Entries in a table that only grows; `on_add` is called with each. Long lists are counted now and then alone."""

    def __init__(self, run: Runs, on_add: Callable[[Entry], object], counts: Counts) -> None:
        self._run = run
        self._on_add = on_add
        self._counts = counts

    async def add(self, entry: Entry) -> None:
        await self._run.rows(
            ADD,
            at=entry.at,
            event=entry.event.value,
            user_id=entry.user_id,
            actor_id=entry.actor_id,
            address=entry.address,
            detail=entry.detail,
        )
        self._on_add(entry)

    async def list(
        self, page: PageRequest, *, user_id: int | None = None, event: Event | None = None, before: int | None = None
    ) -> Page[Recorded]:
        page.refuse_past(MOST_COUNTED)
        values: dict[str, int | str] = {}
        if user_id is not None:
            values["user_id"] = possible(user_id)
        if event is not None:
            values["event"] = event.value
        end = MOST_BIGINT if before is None else min(max(before, 0), MOST_BIGINT)
        window = {"before": end, "size": page.size, "skipped": page.offset}
        narrowed_by, key = frozenset(values), ("audit", end, *values.items())
        total = self._counts.find(key) if narrowed_by in LIST_COUNTED else None
        if total is not None:
            page.refuse_past(total)
            window["size"] = min(page.size, MOST_COUNTED - page.offset)  # where counting stops the pages end
            rows = await self._run.rows(LIST_COUNTED[narrowed_by], **values, **window)
        else:
            rows = await self._run.rows(LIST[narrowed_by], **values, **window)
            total = rows[0]["total"] if rows else 0
            self._counts.keep(key, total)
        return Page(tuple(map(recorded_of, rows)), total, page)


def tell(*entries: Entry) -> None:
    """Log entries that were just kept."""
    for entry in entries:
        log.info(
            "audit",
            act=entry.event.value,
            user_id=entry.user_id,
            actor_id=entry.actor_id,
            address=entry.address,
            detail=entry.detail,
        )
