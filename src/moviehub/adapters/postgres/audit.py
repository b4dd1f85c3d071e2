"""The audit trail in Postgres."""

from collections.abc import Callable

import structlog
from sqlalchemy import insert

from moviehub.adapters.postgres.rows import recorded_of
from moviehub.adapters.postgres.statements import MOST_BIGINT, Runs, Statement, a_text, an_id, newest, possible
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


class PostgresAudit(Audit):
    """Entries in a table that only grows; `on_add` is called with each."""

    def __init__(self, run: Runs, on_add: Callable[[Entry], object]) -> None:
        self._run = run
        self._on_add = on_add

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
        rows = await self._run.rows(LIST[frozenset(values)], **values, **window)
        return Page(tuple(map(recorded_of, rows)), rows[0]["total"] if rows else 0, page)


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
