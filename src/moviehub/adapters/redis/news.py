"""News of what changed, over Redis."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any
from uuid import uuid4

import redis
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from moviehub.adapters.redis.connection import FAILURES, Connection
from moviehub.adapters.redis.keyspace import Keyspace
from moviehub.application.callers import helped_by
from moviehub.application.ports import News
from moviehub.domain.errors import Unavailable

CHANNEL = "moviehub:news"
"""One for all databases of a server, as Redis has it: the news of another hub make this one forget a little more.

A cluster has the channel on all its nodes; here it is told and heard on the one that would have a key of this name.
"""

NOWHERE = Context()
PING_EVERY = 1.0
PATIENCE = 0.5  # seconds to connect in


class RedisNews(News):
    """Publishes to a channel, and hears it on a connection of its own.

    That is read when somebody wants to know, before they are answered: what a server on this machine was told of comes
    before the answer to whoever told it, and would else lie unread while the process is busy. So the connection is
    redis-py's plain one, which can look without waiting; a thread opens it.
    """

    def __init__(self, keyspace: Keyspace) -> None:
        self._redis = keyspace
        self._listeners: list[Callable[[str | None], object]] = []
        self._us = uuid4().hex
        self._untold: dict[str, None] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._telling: asyncio.Task[None] | None = None
        self._channel: Any = None
        self._ponged = True
        self._has_looked = False
        self._keeper: asyncio.Task[None] | None = None

    def listen(self, listener: Callable[[str | None], object]) -> None:
        self._listeners.append(listener)

    async def tell(self, *topics: str) -> None:
        self._forward(*topics)
        self._untold |= dict.fromkeys(topics)
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())
        with suppress(Unavailable):  # they are told, if a moment after the caller has gone on
            await helped_by(told)

    def are_heard(self) -> bool:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_hearing(), context=Context())  # it outlives the request
        if not self._has_looked:
            # What runs before the loop's next turn came in before this look, and so did all that it may know of.
            self._has_looked = True
            asyncio.get_running_loop().call_soon(self._look_again, context=NOWHERE)
            self._hear()
        return self._channel is not None

    async def close(self) -> None:
        """Hear no more."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._lose()

    async def _tell(self) -> None:
        """Publish what is untold, all that came meanwhile at once, until there is nothing more.

        A server may answer who publishes before it passes the message on; the next command comes after both. So who
        waits for a message goes on when the next one is published, or a ping is answered if nobody has more to tell.
        """
        before: list[asyncio.Future[None]] = []
        here: list[asyncio.Future[None]] = []
        try:
            while self._waiting or before:
                here, self._waiting, topics, self._untold = self._waiting, [], self._untold, {}
                with suppress(Unavailable):  # then the others hear nothing either, and keep nothing
                    await self._redis.read(CHANNEL, partial(_send, "\n".join((self._us, *topics)) if here else None))
                _go_on(before)
                before, here = here, []
        finally:
            self._telling = None
            _go_on([*before, *here, *self._waiting])

    def _look_again(self) -> None:
        self._has_looked = False

    def _hear(self) -> bool:
        """Take what has come, and tell whether the connection is there."""
        channel = self._channel
        if channel is None:
            return False
        try:
            while channel.can_read(timeout=0):
                kind, *_, data = channel.read_response()
                if kind == b"message":
                    teller, *topics = data.decode().split("\n")
                    if teller != self._us:
                        self._forward(*topics)
                else:
                    self._ponged = True
        except FAILURES:
            self._lose()
            return False
        return True

    def _forward(self, *topics: str | None) -> None:
        for listener in self._listeners:
            for topic in topics:
                listener(topic)

    def _lose(self) -> None:
        if self._channel is not None:
            self._channel.disconnect()
            self._channel = None
            self._forward(None)

    async def _keep_hearing(self) -> None:
        while True:
            if self._hear():
                try:
                    if not self._ponged:
                        raise TimeoutError
                    self._ponged = False
                    self._channel.send_command("PING", check_health=False)
                except FAILURES:
                    self._lose()
            if self._channel is None:
                with suppress(Unavailable, *FAILURES):
                    self._channel, self._ponged = await self._opened(), True
                    self._forward(None)
            await asyncio.sleep(PING_EVERY)

    async def _opened(self) -> Any:
        await self._redis.servers()  # a cluster learns then who has what
        home = self._redis.home(CHANNEL.encode())
        assert isinstance(home, Connection)
        channel: Any = redis.ConnectionPool.from_url(
            home.url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0), protocol=2
        ).make_connection()
        try:
            await asyncio.to_thread(_subscribe, channel)
        except BaseException:
            channel.disconnect()
            raise
        return channel


async def _send(message: str | None, client: Redis) -> None:
    """Publish a message, twice if need be: who hears it again forgets no more. Without one, a ping."""
    if message is None:
        await client.ping()
    else:
        await client.publish(CHANNEL, message)


def _go_on(waiting: Iterable[asyncio.Future[None]]) -> None:
    for each in waiting:
        if not each.done():  # or they went away
            each.set_result(None)


def _subscribe(channel: Any) -> None:
    channel.connect()
    channel.send_command("SUBSCRIBE", CHANNEL)
    channel.read_response()
