"""What every audit trail owes; a subclass has the fixtures `storage` and `long_trail`, one with `LONG` entries."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from moviehub.application.storage import Storage
from moviehub.domain.audit import Entry, Event, Recorded
from moviehub.domain.errors import Invalid
from moviehub.domain.pages import NoSuchPage, Page, PageRequest
from tests.contracts.storage import IMPOSSIBLE_IDS, IMPOSSIBLE_TEXTS, NOW, Broken, after, new_user, register

LONG = [Entry(at=NOW, event=Event.SIGN_IN, user_id=1, detail=str(number)) for number in range(10_020)]


def entry(number: int = 0, event: Event = Event.SIGN_IN, **more: Any) -> Entry:
    return Entry(**{"at": after(number), "event": event, "address": "192.0.2.1", **more})


async def write(storage: Storage, *entries: Entry) -> None:
    async with storage.transaction() as uow:
        for each in entries:
            await uow.audit.add(each)


async def trail(storage: Storage, **narrowed: Any) -> list[Entry]:
    """The entries that these filters let through, newest first."""
    async with storage.reading() as uow:
        return [each.entry for each in (await uow.audit.list(PageRequest(1, 100), **narrowed)).items]


def told(lines: Sequence[Any]) -> list[Entry]:
    """The entries that these lines of the log tell of, but for when they happened."""
    names = ("user_id", "actor_id", "address", "detail")
    return [
        Entry(at=NOW, event=Event(line["act"]), **{name: line[name] for name in names})
        for line in lines
        if line["event"] == "audit"
    ]


class AuditContract:
    async def test_an_entry_is_kept_as_it_was_given(self, storage: Storage) -> None:
        full = entry(user_id=2**63 - 1, actor_id=7, address="2001:db8::1", detail="by \N{CLAPPER BOARD}\nand 'so'")
        await write(storage, full, Entry(at=NOW, event=Event.CACHE_FLUSH))
        assert await trail(storage) == [Entry(at=NOW, event=Event.CACHE_FLUSH), full]

    @pytest.mark.parametrize("event", Event)
    async def test_every_kind_of_event_is_kept_and_found(self, storage: Storage, event: Event) -> None:
        await write(storage, *(entry(event=each) for each in Event))
        assert await trail(storage, event=event) == [entry(event=event)]

    async def test_entries_come_newest_first_page_by_page_each_under_a_number_of_its_own(
        self, storage: Storage
    ) -> None:
        entries = [
            entry(number) for number in (3, 1, 2, 5, 4)
        ]  # the order in which they came, not what their clocks say
        await write(storage, *entries)
        async with storage.reading() as uow:
            pages = [await uow.audit.list(PageRequest(number, 2)) for number in (1, 2, 3)]
            with pytest.raises(NoSuchPage):
                await uow.audit.list(PageRequest(4, 2))
        recorded = [each for page in pages for each in page.items]
        assert [each.entry for each in recorded] == entries[::-1]
        assert [each.id for each in recorded] == sorted({each.id for each in recorded}, reverse=True)
        assert [page.total for page in pages] == [5, 5, 5]

    async def test_an_empty_trail_has_one_empty_page(self, storage: Storage) -> None:
        async with storage.reading() as uow:
            empty: Page[Recorded] = Page((), 0, PageRequest())
            assert await uow.audit.list(PageRequest()) == empty
            with pytest.raises(NoSuchPage):
                await uow.audit.list(PageRequest(2))

    async def test_entries_are_narrowed_to_one_account_one_kind_or_both(self, storage: Storage) -> None:
        ada_in, bob_in = entry(user_id=1, actor_id=2), entry(user_id=2, actor_id=2)
        ada_gone, failed = entry(event=Event.DELETION, user_id=1), entry(event=Event.FAILED_SIGN_IN)
        await write(storage, ada_in, bob_in, ada_gone, failed)
        assert await trail(storage, user_id=1) == [ada_gone, ada_in]
        assert await trail(storage, user_id=2) == [bob_in]
        assert await trail(storage, event=Event.SIGN_IN) == [bob_in, ada_in]
        assert await trail(storage, user_id=1, event=Event.SIGN_IN) == [ada_in]
        assert await trail(storage, user_id=2, event=Event.DELETION) == []
        for user_id in IMPOSSIBLE_IDS:
            assert await trail(storage, user_id=user_id) == []
        async with storage.reading() as uow:
            page = await uow.audit.list(PageRequest(2, 1), user_id=1)
            assert (page.total, [each.entry for each in page.items]) == (2, [ada_in])
            with pytest.raises(NoSuchPage):
                await uow.audit.list(PageRequest(3, 1), user_id=1)

    async def test_the_total_of_the_trail_stops_at_10_000_and_so_do_the_pages(self, long_trail: Storage) -> None:
        for user_id in (None, 1):
            async with long_trail.reading() as uow:
                first = await uow.audit.list(PageRequest(1, 100), user_id=user_id)
                uneven = await uow.audit.list(PageRequest(334, 30), user_id=user_id)
                for number, size in ((101, 100), (335, 30), (10**30, 1)):
                    with pytest.raises(NoSuchPage):
                        await uow.audit.list(PageRequest(number, size), user_id=user_id)
            assert (first.total, [each.entry for each in first.items]) == (10_000, LONG[:-101:-1])
            assert (uneven.total, [each.entry for each in uneven.items]) == (10_000, LONG[29:19:-1])

    async def test_what_is_older_than_10_000_entries_is_read_before_the_last_of_them(self, long_trail: Storage) -> None:
        for user_id in (None, 1):
            async with long_trail.reading() as uow:
                last = (await uow.audit.list(PageRequest(100, 100), user_id=user_id)).items[-1]
                older = await uow.audit.list(PageRequest(2, 15), user_id=user_id, before=last.id)
            assert (last.entry, older.total, [each.entry for each in older.items]) == (LONG[20], 20, LONG[4::-1])

    async def test_entries_before_an_id_are_those_with_a_smaller_one(self, storage: Storage) -> None:
        entries = [entry(number, user_id=number % 2 + 1) for number in range(6)]
        await write(storage, *entries)
        async with storage.reading() as uow:
            ids = [each.id for each in (await uow.audit.list(PageRequest())).items]
        assert await trail(storage, before=ids[0]) == entries[4::-1]
        assert await trail(storage, before=ids[1], user_id=1, event=Event.SIGN_IN) == [entries[2], entries[0]]
        assert await trail(storage, before=ids[1], event=Event.DELETION) == []
        for past in (2**63 - 1, 2**63, 10**30):
            assert await trail(storage, before=past) == entries[::-1]
        for none in (ids[-1], 0, -1, -(10**30)):
            assert await trail(storage, before=none) == []

    async def test_entries_outlive_the_accounts_that_they_are_about(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        async with storage.transaction() as uow:
            await uow.audit.add(entry(user_id=ada.id, actor_id=ada.id))
            await uow.users.remove(ada.id)
            await uow.audit.add(entry(event=Event.DELETION, user_id=ada.id))
        kept = await trail(storage, user_id=ada.id)
        assert [(each.event, each.actor_id) for each in kept] == [(Event.DELETION, None), (Event.SIGN_IN, ada.id)]

    async def test_entries_of_a_transaction_are_logged_once_and_not_before_they_are_kept(
        self, storage: Storage
    ) -> None:
        entries = [entry(at=NOW, user_id=1, actor_id=2, detail="so"), entry(at=NOW, event=Event.DELETION)]
        with capture_logs() as lines:
            async with storage.transaction() as uow:
                for each in entries:
                    await uow.audit.add(each)
                assert lines == []
            assert told(lines) == entries
            await register(storage, "ada")
            assert await trail(storage) == entries[::-1]
        assert told(lines) == entries
        assert lines[0] == {
            "event": "audit",
            "log_level": "info",
            "act": "sign_in",
            "user_id": 1,
            "actor_id": 2,
            "address": "192.0.2.1",
            "detail": "so",
        }

    async def test_entries_of_a_broken_transaction_are_neither_kept_nor_logged(self, storage: Storage) -> None:
        async def add_and_break() -> None:
            async with storage.transaction() as uow:
                await uow.users.add(new_user("ada"), NOW)
                await uow.audit.add(entry(event=Event.REGISTRATION))
                raise Broken

        with capture_logs() as lines, pytest.raises(Broken):
            await add_and_break()
        await write(storage, entry(at=NOW))
        assert lines == []
        assert await trail(storage) == [entry(at=NOW)]

    async def test_an_entry_of_one_call_is_kept_and_logged_when_it_returns(self, storage: Storage) -> None:
        with capture_logs() as lines:
            async with storage.autocommit() as uow:
                await uow.audit.add(entry(at=NOW, event=Event.FAILED_SIGN_IN))
            assert told(lines) == [entry(at=NOW, event=Event.FAILED_SIGN_IN)] == await trail(storage)

    async def test_text_that_cannot_be_stored_is_invalid_and_not_logged(self, storage: Storage) -> None:
        with capture_logs() as lines:
            for text in IMPOSSIBLE_TEXTS:
                for impossible in (entry(address=text), entry(detail=text)):
                    with pytest.raises(Invalid):
                        async with storage.autocommit() as uow:
                            await uow.audit.add(impossible)
        assert (lines, await trail(storage)) == ([], [])

    async def test_of_many_who_write_at_once_no_entry_is_lost(self, storage: Storage) -> None:
        with capture_logs() as lines:
            await asyncio.gather(*(write(storage, entry(at=NOW, user_id=number)) for number in range(1, 21)))
        kept = await trail(storage)
        assert sorted(each.user_id or 0 for each in kept) == [*range(1, 21)]
        assert sorted(each.user_id or 0 for each in told(lines)) == [*range(1, 21)]
