"""Leases that all workers share."""

from contextlib import suppress
from uuid import uuid4

from moviehub.adapters.redis.keyspace import Keyspace
from moviehub.adapters.redis.scripts import Script
from moviehub.application.callers import helped
from moviehub.application.ports import Leases
from moviehub.domain.errors import Unavailable

PREFIX = "moviehub:lease:"

RENEW = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0"
GIVE_BACK = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"


class RedisLeases(Leases):
    """Leases in Redis: a key that is set only where there is none, and removed only by who set it.

    While Redis is away everybody gets what they ask for: each process is on its own then.
    """

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self._renew = Script(RENEW)
        self._give_back = Script(GIVE_BACK)

    async def take(self, name: str, seconds: float) -> str | None:
        key, owner, life = PREFIX + name, uuid4().hex, int(seconds * 1_000)
        try:
            with helped():
                taken = await self._keyspace.write(key, lambda client: client.set(key, owner, nx=True, px=life))
        except Unavailable:
            return owner
        return owner if taken else None

    async def renew(self, name: str, owner: str, seconds: float) -> bool:
        key, life = PREFIX + name, int(seconds * 1_000)
        try:
            return bool(await self._keyspace.write(key, lambda client: self._renew(client, [key], [owner, life])))
        except Unavailable:
            return True

    async def give_back(self, name: str, owner: str) -> None:
        await self._keyspace.see_to(self._remove(PREFIX + name, owner))

    async def _remove(self, key: str, owner: str) -> None:
        with suppress(Unavailable):  # it ends by itself
            await self._keyspace.write(key, lambda client: self._give_back(client, [key], [owner]))
