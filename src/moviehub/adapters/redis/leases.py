"""Leases that all workers share."""

from contextlib import suppress
from uuid import uuid4

from moviehub.adapters.redis.connection import Connection
from moviehub.application.ports import Leases
from moviehub.domain.errors import Unavailable

PREFIX = "moviehub:lease:"

RENEW = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0"
GIVE_BACK = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"


class RedisLeases(Leases):
    """Leases in Redis: a key that is set only where there is none, and removed only by who set it.

    While Redis is away everybody gets what they ask for: each process is on its own then.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._renew = connection.writes.register_script(RENEW)
        self._give_back = connection.writes.register_script(GIVE_BACK)

    async def take(self, name: str, seconds: float) -> str | None:
        owner, writes = uuid4().hex, self._connection.writes
        try:
            taken = await self._connection.ask(
                lambda: writes.set(PREFIX + name, owner, nx=True, px=int(seconds * 1_000))
            )
        except Unavailable:
            return owner
        return owner if taken else None

    async def renew(self, name: str, owner: str, seconds: float) -> bool:
        try:
            kept = await self._connection.ask(lambda: self._renew([PREFIX + name], [owner, int(seconds * 1_000)]))
        except Unavailable:
            return True
        return bool(kept)

    async def give_back(self, name: str, owner: str) -> None:
        with suppress(Unavailable):  # it ends by itself
            await self._connection.ask(lambda: self._give_back([PREFIX + name], [owner]))
