"""The audit trail in memory."""

import structlog

from moviehub.adapters.memory.tables import Ids, Tables, page_of, refuse_unstorable
from moviehub.application.storage import Audit
from moviehub.domain.audit import Entry, Event, Recorded
from moviehub.domain.pages import MOST_COUNTED, Page, PageRequest

log = structlog.get_logger()


class MemoryAudit(Audit):
    """Entries in a dict."""

    def __init__(self, tables: Tables, ids: Ids) -> None:
        self._tables = tables
        self._ids = ids

    async def add(self, entry: Entry) -> None:
        refuse_unstorable(entry.address, entry.detail)
        number = next(self._ids.audit)
        self._tables.audit[number] = Recorded(number, entry)

    async def list(
        self, page: PageRequest, *, user_id: int | None = None, event: Event | None = None, before: int | None = None
    ) -> Page[Recorded]:
        page.refuse_past(MOST_COUNTED)
        found = [
            each
            for each in reversed([*self._tables.audit.values()])
            if user_id in (None, each.entry.user_id)
            and event in (None, each.entry.event)
            and (before is None or each.id < before)
        ]
        return page_of(found, page, most=MOST_COUNTED)


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
