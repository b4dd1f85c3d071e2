"""Leases on a real Valkey, and without one."""

from collections.abc import AsyncIterator

import pytest
import redis

from moviehub.adapters.redis.connection import Connection
from moviehub.adapters.redis.leases import PREFIX, RedisLeases
from moviehub.application.ports import Leases
from tests import promises
from tests.contracts.leases import LeasesContract
from tests.servers import free_port


class TestRedisLeases(LeasesContract):
    @pytest.fixture
    async def leases(self, valkey_url: str) -> AsyncIterator[Leases]:
        connection = Connection(valkey_url, timeout=5)
        yield RedisLeases(connection)
        await connection.close()


async def test_a_lease_ends_with_its_owner_whatever_becomes_of_them(valkey_url: str) -> None:
    connection = Connection(valkey_url, timeout=5)
    assert await RedisLeases(connection).take("a", 2.0) is not None
    with redis.Redis.from_url(valkey_url, socket_timeout=5) as link:
        assert 0 < int(link.pttl(PREFIX + "a")) <= 2_000
    await connection.close()


@promises.redis_away
async def test_while_redis_is_away_everybody_gets_what_they_ask_for() -> None:
    connection = Connection(f"redis://127.0.0.1:{free_port()}")
    leases = RedisLeases(connection)
    owner = await leases.take("a", 2.0)
    assert owner is not None
    assert await leases.take("a", 2.0) is not None
    assert await leases.renew("a", owner, 2.0)
    await leases.give_back("a", owner)
    await connection.close()
