"""The cache that all workers share, and in front of it what this one used a moment ago."""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar, get_origin

import msgspec

from moviehub.adapters.redis.connection import Connection
from moviehub.application.batch import Batch
from moviehub.application.ports import Cache, Cached, Clock
from moviehub.domain.errors import Unavailable

T = TypeVar("T")

MOST_LOCAL = 512
FLUSHED_AT_ONCE = 1_000
FLUSH_PATIENCE = 5.0  # seconds a command: an operator waits rather than be told that old pages stay
MILLISECOND = timedelta(milliseconds=1)

_encoder = msgspec.msgpack.Encoder()


class RedisCache(Cache):
    """Keeps entries in Redis under keys that begin with `prefix`, and each for `local_for` seconds in the process.

    So a page that everybody reads costs no round trip; another worker's news is seen `local_for` seconds late. While
    Redis is away, what the process still has is good to the end of its time.
    """

    def __init__(self, connection: Connection, *, prefix: str, clock: Clock, local_for: float = 1.0) -> None:
        self._connection = connection
        self._prefix = prefix
        self._clock = clock
        self._local_for = local_for
        self._local: dict[str, tuple[Cached[Any], float]] = {}
        self._decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}
        self._batch = Batch(self._values)

    async def find(self, key: str, kind: type[T]) -> Cached[T] | None:
        local = self._local  # a flush puts another in its place, and what is found now does not get into that
        found = local.get(key)
        entry: Cached[T] | None
        # One that is old, or whose time is over, says nothing: another worker may have kept a newer one.
        if found is not None and time.monotonic() < found[1] and found[0].best_before > self._clock.now():
            entry = found[0]
        else:
            try:
                entry = await self._fetch(key, kind)
            except Unavailable:
                entry = found[0] if found is not None else None  # nobody can keep anything newer now
            else:
                if entry is not None and local.get(key) is found:  # else something newer was kept meanwhile
                    self._remember(local, key, entry)
        if entry is None:
            return None
        if entry.until <= self._clock.now() or not isinstance(entry.value, get_origin(kind) or kind):
            return None
        return entry

    async def keep(self, key: str, entry: Cached[T]) -> None:
        self._remember(self._local, key, entry)
        name, left = self._name(key), (entry.until - self._clock.now()) // MILLISECOND
        writes = self._connection.writes
        try:
            if left > 0:
                data = _encoder.encode(entry)
                await self._connection.ask(lambda: writes.set(name, data, px=left))
            else:
                await self._connection.ask(lambda: writes.unlink(name))
        except Unavailable:
            pass  # the cache never fails

    async def flush(self) -> None:
        reads = self._connection.reads  # for they may try again, and a key is not forgotten twice
        pattern = re.sub(r"([\\*?\[\]^])", r"\\\1", self._prefix) + "*"
        cursor = None
        try:
            while cursor != 0:
                cursor, names = await self._connection.ask(
                    lambda: reads.scan(cursor or 0, match=pattern, count=FLUSHED_AT_ONCE),  # noqa: B023
                    within=FLUSH_PATIENCE,
                )
                if names:
                    await self._connection.ask(lambda: reads.unlink(*names), within=FLUSH_PATIENCE)  # noqa: B023
        finally:
            self._local = {}

    async def ping(self) -> None:
        """Unavailable if Redis does not answer."""
        await self._connection.ping()

    def _name(self, key: str) -> bytes:
        return (self._prefix + key).encode("utf-8", "surrogatepass")

    async def _fetch(self, key: str, kind: type[T]) -> Cached[T] | None:
        data = await self._batch.find(self._name(key))
        if data is None:
            return None
        if kind not in self._decoders:
            self._decoders[kind] = msgspec.msgpack.Decoder(Cached[kind])  # type: ignore[valid-type]
        try:
            entry: Cached[T] = self._decoders[kind].decode(data)
        except (msgspec.MsgspecError, ValueError):
            return None  # of another kind, or written by another version
        return entry

    async def _values(self, names: Sequence[bytes]) -> Mapping[bytes, bytes]:
        told: Any = await self._connection.ask(lambda: self._connection.reads.mget(names))
        return {name: data for name, data in zip(names, told, strict=True) if data is not None}

    def _remember(self, local: dict[str, tuple[Cached[Any], float]], key: str, entry: Cached[Any]) -> None:
        local.pop(key, None)  # so that it counts as the newest
        while len(local) >= MOST_LOCAL:
            del local[next(iter(local))]
        local[key] = entry, time.monotonic() + self._local_for
