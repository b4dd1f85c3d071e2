"""The open connections: the one that was used last is lent first, so that those nobody needs can be told apart."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

LONGEST_REST = 300
"""Seconds after which a connection that nobody used is closed; it may take twice as long."""


class Connections:
    """As many connections as are lent at once, each made by `connect` when none is at hand; `min_size` stay open.

    Whoever gives one back has seen to it that no statement runs on it and no transaction is open.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]], min_size: int) -> None:
        self._connect = connect
        self._min_size = min_size
        self._all: set[Any] = set()
        self._at_hand: list[Any] = []
        self._unused = 0
        """So many, from the first one on, were at hand ever since the last look."""
        self._next_look: asyncio.TimerHandle | None = None
        self.closed = False
        """Whether none is lent any more."""

    @property
    def size(self) -> int:
        """How many are open."""
        return sum(not connection.is_closed() for connection in self._all)

    async def open(self) -> None:
        """Have `min_size` of them."""
        while self.size < self._min_size:
            self._at_hand.append(await self._new())
        if self._next_look is None:
            self._look_again()

    async def lend(self) -> Any:
        """The one that was used last, or a new one."""
        while self._at_hand and not self.closed:
            connection = self._at_hand.pop()
            if len(self._at_hand) < self._unused:
                self._unused = len(self._at_hand)
            if not connection.is_closed():
                return connection
            self._cut(connection)
        return await self._new()

    def give_back(self, connection: Any) -> None:
        """Have it at hand for whoever comes next, if it is still open."""
        if connection.is_closed():
            self._cut(connection)
        else:
            self._at_hand.append(connection)

    def cut_those_at_hand(self) -> None:
        """Close all that nobody uses, without a word."""
        while self._at_hand:
            self._cut(self._at_hand.pop())
        self._unused = 0

    def look(self) -> None:
        """Close what nobody used since the last look."""
        spare = max(0, min(self._unused, self.size - self._min_size))
        for connection in self._at_hand[:spare]:
            self._cut(connection)
        del self._at_hand[:spare]
        self._unused = len(self._at_hand)

    async def close(self) -> None:
        """Close in good order what is at hand."""
        await asyncio.gather(*(connection.close() for connection in self._at_hand), return_exceptions=True)

    def cut_all(self) -> None:
        """Close even what is lent, without a word."""
        if self._next_look is not None:
            self._next_look.cancel()
        for connection in tuple(self._all):
            self._cut(connection)

    async def _new(self) -> Any:
        if self.closed:
            raise asyncpg.InterfaceError("closed")
        connection = await self._connect()
        if self.closed:  # in the meantime
            connection.terminate()
            raise asyncpg.InterfaceError("closed")
        self._all.add(connection)
        return connection

    def _cut(self, connection: Any) -> None:
        self._all.discard(connection)
        connection.terminate()

    def _look_again(self) -> None:
        self.look()
        self._next_look = asyncio.get_running_loop().call_later(LONGEST_REST, self._look_again)
