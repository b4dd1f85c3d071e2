"""What the parts that use Redis need of it, be it one server or a cluster of them."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from redis.asyncio import Redis

from moviehub.application.callers import helped_by
from moviehub.domain.errors import Unavailable

if TYPE_CHECKING:
    from moviehub.adapters.redis.connection import Connection

T = TypeVar("T")

Command = Callable[[Redis], Awaitable[T]]
"""Does something with one client, to keys that are all on one server: those of several have one hash tag."""


class Keyspace(ABC):
    """Keys, wherever they are. Whatever cannot be had now is Unavailable, soon."""

    def __init__(self) -> None:
        self._behind: set[asyncio.Task[Any]] = set()

    async def see_to(self, work: Coroutine[Any, Any, object]) -> None:
        """Do what others count on; behind the caller if they go away, or have waited long enough. It never fails."""
        task = self._begun(asyncio.create_task(work))
        with suppress(Unavailable):
            await helped_by(asyncio.shield(task))

    def do_behind(self, work: Coroutine[Any, Any, object]) -> None:
        """Do what nobody waits for but `close`."""
        self._begun(asyncio.create_task(work, context=Context()))

    def _begun(self, task: "asyncio.Task[object]") -> "asyncio.Task[object]":
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        return task

    @abstractmethod
    def read(self, key: str | bytes, command: Command[T], *, within: float | None = None) -> Awaitable[T]:
        """The answer to a command on this key, which may be given twice: after a connection broke."""
        ...

    @abstractmethod
    def write(self, key: str | bytes, command: Command[T], *, within: float | None = None) -> Awaitable[T]:
        """The answer to a command on this key, which is given once at most."""
        ...

    @abstractmethod
    def home(self, key: bytes) -> object:
        """What is the same for keys that are probably on one server."""
        ...

    @abstractmethod
    async def values(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """What is under those of these keys that are, in one round trip if they have one home."""
        ...

    @abstractmethod
    async def servers(self) -> "Sequence[Connection]":
        """All that keys are on."""
        ...

    @abstractmethod
    async def ping(self) -> None:
        """Unavailable if one of the servers does not answer."""
        ...

    async def close(self) -> None:
        """Give the connections back, when all is done that had to be seen to."""
        await asyncio.gather(*self._behind, return_exceptions=True)

    @property
    @abstractmethod
    def is_skipped(self) -> bool:
        """Whether one of the servers is not asked now."""
        ...

    @property
    @abstractmethod
    def failed(self) -> int:
        """How often one of them failed."""
        ...
