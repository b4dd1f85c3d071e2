"""Who may try once more to prove who they are: by address, by name, in sum, and at home."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from moviehub.adapters.memory.counters import MemoryCounters
from moviehub.application.limits import AdmitAttempt, Limiter, Limits
from moviehub.application.storage import Storage
from moviehub.domain.limits import Limit, RateLimited, network_of
from moviehub.entrypoints.harness import Harness, harness

AUTH = Limit("auth", 3, 60)
EVERYONE = Limit("everyone", 5, 60)
PHRASE = "correct horse battery"
HOME, AWAY = "192.0.2.1", "198.51.100."


@pytest.fixture
async def hub() -> AsyncIterator[Harness]:
    """A hub where Alice is signed in at home."""
    async with harness() as hub:
        await hub.register(username="alice", email="alice@example.org", password=PHRASE)
        await hub.sign_in(login="alice", password=PHRASE, address=HOME)
        yield hub


class Noting:
    """A storage that notes what is read from it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.noted: list[str] = []

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        async with self._storage.reading() as uow:
            yield SimpleNamespace(users=_Noted(uow.users, self.noted), sessions=_Noted(uow.sessions, self.noted))


class _Noted:
    def __init__(self, repository: object, noted: list[str]) -> None:
        self._repository, self._noted = repository, noted

    def __getattr__(self, name: str) -> Any:
        self._noted.append(name)
        return getattr(self._repository, name)


def admitting(hub: Harness, auth: Limit | None = AUTH, everyone: Limit | None = None) -> AdmitAttempt:
    clock = hub.clock
    return AdmitAttempt(
        limiter=Limiter(MemoryCounters(clock), clock),
        limits=Limits(auth=auth, everyone=everyone),
        storage=hub.container.storage(),
        clock=clock,
    )


async def admitted(admit: AdmitAttempt, name: str, address: str) -> bool:
    try:
        await admit(name=name, address=address)
    except RateLimited:
        return False
    return True


async def use_up(admit: AdmitAttempt, name: str) -> None:
    """Strangers, each at an address of its own, use up the attempts at a name."""
    assert [await admitted(admit, name, f"{AWAY}{n}") for n in range(4)] == [True, True, True, False]


async def test_who_is_admitted_is_told_how_they_stand_with_each_limit(hub: Harness) -> None:
    standings = await admitting(hub, everyone=EVERYONE)(name="alice", address=HOME)
    assert [(each.limit.name, each.remaining, each.resets_in) for each in standings] == [
        ("auth", 2, 60),
        ("auth", 2, 60),
        ("everyone", 4, 60),
    ]


async def test_without_limits_everybody_is_admitted_and_nobody_counted(hub: Harness) -> None:
    admit = admitting(hub, auth=None)
    assert [await admit(name="alice", address=HOME) for _ in range(50)] == [()] * 50


async def test_an_address_has_so_many_attempts_whatever_names_it_tries(hub: Harness) -> None:
    admit = admitting(hub)
    assert [await admitted(admit, f"name {n}", HOME) for n in range(4)] == [True, True, True, False]
    assert await admitted(admit, "name 3", AWAY + "1")


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        (["2001:db8::1", "2001:DB8:0:0:ffff::2", "2001:db8::3%eth0", "2001:db8::"], "2001:db8:0:1::1"),
        (["192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207", "192.0.2.7"], "192.0.2.8"),
    ],
)
async def test_addresses_of_one_client_count_together(hub: Harness, addresses: list[str], other: str) -> None:
    admit = admitting(hub)
    tried = [await admitted(admit, f"name {n}", address) for n, address in enumerate(addresses)]
    assert tried == [True, True, True, False]
    assert await admitted(admit, "another", other)


async def test_a_name_has_so_many_attempts_from_all_addresses_and_in_any_case(hub: Harness) -> None:
    admit = admitting(hub)
    spelled = ["Stra\u00dfe", "STRASSE", "\uff33trasse", "strasse"]
    tried = [await admitted(admit, name, f"{AWAY}{n}") for n, name in enumerate(spelled)]
    assert tried == [True, True, True, False]
    assert await admitted(admit, "strasse2", AWAY + "9")


async def test_a_name_is_kept_nowhere(hub: Harness) -> None:
    admit = admitting(hub)
    await admit(name="MARKED@example.org", address=HOME)
    counters: Any = admit.limiter._counters
    assert len(counters._counters) == 2
    assert not any("marked" in name.casefold() for name in [*counters._counters, *admit.limiter._windows])


@pytest.mark.parametrize("name", ["", "\0", "\ud800", "x" * 65_536])
async def test_any_text_may_be_given_as_a_name(hub: Harness, name: str) -> None:
    await use_up(admitting(hub), name)


async def test_strangers_keep_nobody_out_of_the_address_where_they_are_signed_in(hub: Harness) -> None:
    admit = admitting(hub)
    await use_up(admit, "alice")
    assert [await admitted(admit, "Alice", HOME) for _ in range(4)] == [True, True, True, False]


async def test_at_home_is_the_whole_network_of_the_address(hub: Harness) -> None:
    admit = admitting(hub)
    await hub.sign_in(login="alice", password=PHRASE, address="2001:db8::1")
    await use_up(admit, "alice")
    assert await admitted(admit, "alice", "2001:db8::2")
    assert await admitted(admit, "alice", "::ffff:" + HOME)
    assert not await admitted(admit, "alice", "2001:db8:0:1::1")


async def test_who_is_not_at_home_waits_no_longer_than_the_window(hub: Harness) -> None:
    admit = admitting(hub)
    await use_up(admit, "alice")
    for second in range(60):
        with pytest.raises(RateLimited) as refused:
            await admit(name="alice", address=f"203.0.113.{second}")
        assert refused.value.retry_after == 60 - second
        hub.clock.advance(seconds=1)
    assert await admitted(admit, "alice", "203.0.113.60")


async def test_in_sum_there_are_so_many_attempts_and_refused_ones_are_not_among_them(hub: Harness) -> None:
    admit = admitting(hub, everyone=EVERYONE)
    await use_up(admit, "bob")
    assert [await admitted(admit, f"name {n}", f"203.0.113.{n}") for n in range(3)] == [True, True, False]
    assert await admitted(admit, "alice", HOME)


async def test_of_many_attempts_at_once_exactly_the_quota_is_admitted(hub: Harness) -> None:
    admit = admitting(hub)
    tried = await asyncio.gather(*(admitted(admit, "bob", f"{AWAY}{n}") for n in range(50)))
    assert sum(tried) == AUTH.quota


@pytest.mark.parametrize("name", ["alice", "nobody", "\0"])
async def test_whether_a_name_is_known_changes_nothing_of_what_is_asked(hub: Harness, name: str) -> None:
    storage: Any = Noting(hub.container.storage())
    admit = replace(admitting(hub), storage=storage)
    for n in range(3):
        await admit(name=name, address=f"{AWAY}{n}")
    assert storage.noted == []
    assert not await admitted(admit, name, AWAY + "9")
    assert storage.noted == ["find_by_login", "list"]


@pytest.mark.parametrize("address", ["", "unix:", "localhost"])
async def test_what_is_no_address_is_one_client_and_nobodys_home(hub: Harness, address: str) -> None:
    assert network_of(address) == ""
    admit = admitting(hub)
    await hub.sign_in(login="alice", password=PHRASE, address=address)
    await use_up(admit, "alice")
    assert not await admitted(admit, "alice", address)
