"""What leases owe; a subclass has a fixture `leases`."""

import asyncio

from moviehub.application.ports import Leases

LONG = 60.0


class LeasesContract:
    async def test_of_many_who_take_a_lease_at_once_one_gets_it(self, leases: Leases) -> None:
        owners = await asyncio.gather(*(leases.take("a", LONG) for _ in range(20)))
        assert sum(owner is not None for owner in owners) == 1

    async def test_leases_of_other_names_are_others(self, leases: Leases) -> None:
        assert await leases.take("a", LONG) is not None
        assert await leases.take("b", LONG) is not None

    async def test_what_was_given_back_can_be_taken(self, leases: Leases) -> None:
        owner = await leases.take("a", LONG)
        assert owner is not None
        await leases.give_back("a", owner)
        again = await leases.take("a", LONG)
        assert again not in (None, owner)

    async def test_what_is_somebody_elses_cannot_be_given_back_or_renewed(self, leases: Leases) -> None:
        assert await leases.take("a", LONG) is not None
        await leases.give_back("a", "somebody")
        assert not await leases.renew("a", "somebody", LONG)
        assert await leases.take("a", LONG) is None

    async def test_a_lease_ends_by_itself_and_then_its_owner_has_it_no_more(self, leases: Leases) -> None:
        owner = await leases.take("a", 0.05)
        assert owner is not None
        await asyncio.sleep(0.1)
        other = await leases.take("a", LONG)
        assert other is not None
        assert not await leases.renew("a", owner, LONG)
        await leases.give_back("a", owner)
        assert await leases.renew("a", other, LONG)

    async def test_a_lease_that_is_renewed_lasts(self, leases: Leases) -> None:
        owner = await leases.take("a", 0.2)
        assert owner is not None
        assert await leases.renew("a", owner, LONG)
        await asyncio.sleep(0.25)
        assert await leases.take("a", LONG) is None
