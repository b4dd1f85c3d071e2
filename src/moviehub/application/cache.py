"""What staff can do with the cache: empty it."""

from dataclasses import dataclass

from moviehub.application.ports import Cache, Clock
from moviehub.application.storage import Storage
from moviehub.domain.audit import Entry, Event


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushCache:
    """Everything that is cached forgotten, and a word of it on the audit trail. Unavailable if it cannot be done."""

    cache: Cache
    storage: Storage
    clock: Clock

    async def __call__(self, *, actor_id: int, address: str = "") -> None:
        await self.cache.flush()
        async with self.storage.autocommit() as uow:
            await uow.audit.add(Entry(at=self.clock.now(), event=Event.CACHE_FLUSH, actor_id=actor_id, address=address))
