"""What staff can do with the audit trail: read it."""

from dataclasses import dataclass

from moviehub.application.storage import Storage
from moviehub.domain.audit import Event, Recorded
from moviehub.domain.pages import Page, PageRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAudit:
    """A page of what happened, newest first: all of it, or that of one account, of one kind or before one entry."""

    storage: Storage

    async def __call__(
        self, *, page: PageRequest, user_id: int | None = None, event: Event | None = None, before: int | None = None
    ) -> Page[Recorded]:
        async with self.storage.reading() as uow:
            return await uow.audit.list(page, user_id=user_id, event=event, before=before)
