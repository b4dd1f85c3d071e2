"""What the parts that use Redis need of it, be it one server or a cluster of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from redis.asyncio import Redis

if TYPE_CHECKING:
    from moviehub.adapters.redis.connection import Connection

T = TypeVar("T")

Command = Callable[[Redis], Awaitable[T]]
"""Does something with one client, to keys that are all on one server: those of several have one hash tag."""


class Keyspace(Protocol):
    """Keys, wherever they are. Whatever cannot be had now is Unavailable, soon."""

    def read(self, key: str | bytes, command: Command[T], *, within: float | None = None) -> Awaitable[T]:
        """The answer to a command on this key, which may be given twice: after a connection broke."""
        ...

    def write(self, key: str | bytes, command: Command[T], *, within: float | None = None) -> Awaitable[T]:
        """The answer to a command on this key, which is given once at most."""
        ...

    def home(self, key: bytes) -> object:
        """What is the same for keys that are probably on one server."""
        ...

    async def values(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """What is under those of these keys that are, in one round trip if they have one home."""
        ...

    async def servers(self) -> "Sequence[Connection]":
        """All that keys are on."""
        ...

    async def ping(self) -> None:
        """Unavailable if one of the servers does not answer."""
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...

    @property
    def is_skipped(self) -> bool:
        """Whether one of the servers is not asked now."""
        ...

    @property
    def failed(self) -> int:
        """How often one of them failed."""
        ...
