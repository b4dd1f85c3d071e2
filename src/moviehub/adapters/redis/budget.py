"""The budget of questions to the catalogue that all processes share."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from moviehub.adapters.redis.keyspace import Keyspace
from moviehub.adapters.redis.scripts import Script
from moviehub.application.callers import helped
from moviehub.application.ports import BACKGROUND, Budget
from moviehub.domain.errors import Unavailable

PREFIX = "moviehub:{budget}:"
"""In braces what a Redis Cluster places keys by: one call uses all of them."""

GIVEN, HELD, PAUSE = KEYS = [PREFIX + name for name in ("given", "held", "pause")]

WINDOW = 1_100
"""Milliseconds: a tenth more than the second that is promised, for the way to the catalogue takes more or less."""

LOOK_AGAIN = 0.05
MOST_GIVEN = 1_000
"""More than any rate, since processes may have been set to different ones."""

TAKEN, WAIT, REFUSED = range(3)

TAKE = f"""
local rate, connections, patience = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ahead, holder, life = ARGV[4] == '1', ARGV[5], tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(redis.call('LINDEX', KEYS[1], -1) or 0) > now + 60000 then
  redis.call('DEL', unpack(KEYS))  -- the clock was set back
end
local pause = redis.call('PTTL', KEYS[3])
if pause > 0 then return {{{REFUSED}, pause}} end
local wait = math.max(0, (redis.call('LINDEX', KEYS[1], -rate) or 0) + {WINDOW} - now)
if wait > patience then return {{{REFUSED}, wait}} end
if wait > 0 and not ahead then return {{{WAIT}, wait}} end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if redis.call('ZCARD', KEYS[2]) >= connections then return {{{WAIT}, 0}} end
redis.call('RPUSH', KEYS[1], now + wait)
redis.call('LTRIM', KEYS[1], -{MOST_GIVEN}, -1)
redis.call('ZADD', KEYS[2], now + wait + life, holder)
redis.call('PEXPIRE', KEYS[1], 60000)
redis.call('PEXPIRE', KEYS[2], 60000)
return {{{TAKEN}, wait}}
"""
"""Takes a place if there is one, by the clock of Redis.

Under the first key stand the times of the last places, some of them yet to come; under the second who holds one, and
until when at most. The third is there while all have to pause.
"""

PAUSE_ALL = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '', 'PX', ARGV[1]) end
"""
"""Makes a pause that long, unless there is a longer one."""


class RedisBudget(Budget):
    """At most `rate` places in any second and `connections` at once; the last quarter is not for the background.

    A place that was not given back within `life` seconds, since its process was killed, is free. While Redis is away
    the process keeps to `alone`.
    """

    def __init__(self, keyspace: Keyspace, alone: Budget, *, rate: int, connections: int, life: float = 4.0) -> None:
        self._keyspace = keyspace
        self._alone = alone
        self._rate = rate
        self._connections = connections
        self._life = life
        self._take = Script(TAKE)
        self._pause = Script(PAUSE_ALL)
        # Where there is no place, one of each kind asks again and again, and the others wait behind it in a line.
        self._turns = {background: asyncio.Lock() for background in (False, True)}

    @asynccontextmanager
    async def place(self, patience: float) -> AsyncIterator[None]:
        until = asyncio.get_running_loop().time() + patience
        holder = uuid4().hex
        try:
            wait = await self._taken(holder, until)
            if wait is None:
                async with self._alone.place(until - asyncio.get_running_loop().time()):
                    yield
            else:
                if wait:
                    await asyncio.sleep(wait)
                    await self._check()
                yield
        finally:  # though we were cancelled, and though perhaps none is ours
            self._keyspace.do_behind(self._give_back(holder))

    async def pause(self, seconds: float) -> None:
        await self._alone.pause(seconds)
        milliseconds = math.ceil(seconds * 1_000)
        with suppress(Unavailable):  # the others will be told by the catalogue themselves
            await self._keyspace.write(PAUSE, lambda client: self._pause(client, [PAUSE], [milliseconds]))

    async def _taken(self, holder: str, until: float) -> float | None:
        """How long to wait for the place that is ours from now on; None while Redis is away."""
        background = BACKGROUND.get()
        turn, pause = self._turns[background], 0.0
        try:
            async with asyncio.timeout_at(until):
                if not turn.locked():
                    with helped():
                        verdict, wait = await self._asked(holder, until, background)
                    if verdict == TAKEN:
                        return wait
                    pause = max(LOOK_AGAIN, wait)
                async with turn:
                    while True:
                        await asyncio.sleep(pause)
                        verdict, wait = await self._asked(holder, until, background)
                        if verdict == TAKEN:
                            return wait
                        pause = max(LOOK_AGAIN, wait)
        except TimeoutError:
            raise _Refused(1) from None
        except _Refused:
            raise
        except Unavailable:
            return None

    async def _asked(self, holder: str, until: float, background: bool) -> tuple[int, float]:
        """TAKEN, or WAIT, and for how many seconds."""
        rate, connections = (most - most // 4 * background for most in (self._rate, self._connections))
        patience, life = int((until - asyncio.get_running_loop().time()) * 1_000), int(self._life * 1_000)
        values: list[int | str] = [rate, connections, patience, int(not background), holder, life]
        # Tried once: an answer that is lost costs one place.
        verdict, milliseconds = await self._keyspace.write(GIVEN, lambda client: self._take(client, KEYS, values))
        if verdict == REFUSED:
            raise _Refused(milliseconds / 1_000)
        return verdict, milliseconds / 1_000

    async def _check(self) -> None:
        """Refuse if all have to pause since the place was taken."""
        left = 0
        with suppress(Unavailable), helped():
            left = await self._keyspace.read(PAUSE, lambda client: client.pttl(PAUSE))
        if left > 0:
            raise _Refused(left / 1_000)

    async def _give_back(self, holder: str) -> None:
        with suppress(Unavailable):  # it ends by itself
            await self._keyspace.write(HELD, lambda client: client.zrem(HELD, holder))


class _Refused(Unavailable):
    """There is no place, as Redis or time has it."""

    def __init__(self, seconds: float) -> None:
        wait = max(1, math.ceil(seconds))
        super().__init__("The film catalogue is asked as often as it may be.", retry_after=wait)
