"""redis-py's client without its way from a command to a connection, which costs more than the command does."""

import inspect
from typing import Any

import hiredis
from redis.asyncio import Connection, Redis
from redis.exceptions import RedisError, ResponseError

MOST_DIRECT = 8
"""So many commands at once go directly; more of them wait their turn for the pool's connections."""


def _packed(words: tuple[Any, ...]) -> bytes:
    """A command as it is sent; redis-py's asynchronous connections would do it in Python, five times as slowly."""
    if " " in words[0]:  # as in CLUSTER INFO
        words = (*words[0].split(), *words[1:])
    packed: bytes = hiredis.pack_command(words)
    return packed


class DirectClient(Redis):
    """For commands that may be given twice.

    A connection is taken without a look whether it is well: when it turns out to be broken, so may all be that are at
    hand, and the command is given again on a new one. What is no single command goes by the pool.
    """

    def __init__(self, **told: Any) -> None:
        super().__init__(**told)
        self._at_hand: list[Connection] = []
        self._direct = 0

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        """The reply to a command."""
        if self.single_connection_client or self._direct >= MOST_DIRECT:
            return await super().execute_command(*words, **options)  # type: ignore[no-untyped-call]
        self._direct += 1
        try:
            try:
                reply = await self._asked(words, self._at_hand.pop() if self._at_hand else self._new())
            except ResponseError:
                raise
            except (RedisError, OSError):
                await self._let_go()
                reply = await self._asked(words, self._new())
        finally:
            self._direct -= 1
        callback = self.response_callbacks.get(words[0])
        if callback is None:
            return reply
        options.pop("keys", None)  # redis-py's own business
        told = callback(reply, **options)
        return await told if inspect.isawaitable(told) else told

    async def disconnect(self) -> None:
        """Close every connection that nobody uses now; the next command makes a new one."""
        await self._let_go()
        await self.connection_pool.disconnect(inuse_connections=False)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close every connection."""
        await self._let_go()
        await super().aclose(close_connection_pool)

    def _new(self) -> Connection:
        made: Connection = self.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        return made

    async def _asked(self, words: tuple[Any, ...], connection: Connection) -> Any:
        """The reply on this connection, which is at hand afterwards unless it failed: redis-py has closed it then."""
        try:
            await connection.send_packed_command(_packed(words))
            reply = await connection.read_response()
        except ResponseError:
            self._at_hand.append(connection)
            raise
        self._at_hand.append(connection)
        return reply

    async def _let_go(self) -> None:
        while self._at_hand:
            await self._at_hand.pop().disconnect(nowait=True)
