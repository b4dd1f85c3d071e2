"""The cache that all workers share, and in front of it what this one used a moment ago."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar, get_origin
from weakref import WeakKeyDictionary

import msgspec

from moviehub.adapters.redis.connection import Connection, to_each
from moviehub.adapters.redis.keyspace import Keyspace
from moviehub.application.batch import Batch
from moviehub.application.callers import helped_by
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
    Redis is away, what the process still has is good to the end of its time. `lookups` counts where was found what was
    looked up.
    """

    def __init__(self, keyspace: Keyspace, *, prefix: str, clock: Clock, local_for: float = 1.0) -> None:
        self._keyspace = keyspace
        self._prefix = prefix
        self._clock = clock
        self._local_for = local_for
        self.lookups = {"local": 0, "redis": 0, "none": 0}
        self._local: dict[str, tuple[Cached[Any], float]] = {}
        self._decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}
        self._batches: WeakKeyDictionary[object, Batch[bytes, bytes]] = WeakKeyDictionary()

    async def find(self, key: str, kind: type[T]) -> Cached[T] | None:
        local = self._local  # a flush puts another in its place, and what is found now does not get into that
        found = local.get(key)
        entry: Cached[T] | None
        where = "local"
        # One that is old, or whose time is over, says nothing: another worker may have kept a newer one.
        if found is not None and time.monotonic() < found[1] and found[0].best_before > self._clock.now():
            entry = found[0]
        else:
            try:
                entry, where = await self._fetch(key, kind), "redis"
            except Unavailable:
                entry = found[0] if found is not None else None  # nobody can keep anything newer now
            else:
                if entry is not None and local.get(key) is found:  # else something newer was kept meanwhile
                    self._remember(local, key, entry)
        if entry is not None and (
            entry.until <= self._clock.now() or not isinstance(entry.value, get_origin(kind) or kind)
        ):
            entry = None
        self.lookups["none" if entry is None else where] += 1
        return entry

    async def keep(self, key: str, entry: Cached[T]) -> None:
        self._remember(self._local, key, entry)
        await self._keyspace.see_to(self._write(key, entry))

    async def flush(self, tell: Callable[[int], object] = lambda _: None) -> None:
        forgotten = 0

        def count(more: int) -> None:
            nonlocal forgotten
            forgotten += more
            tell(forgotten)

        try:
            servers = await self._keyspace.servers()
            told = await asyncio.gather(*(self._flush(each, count) for each in servers), return_exceptions=True)
        finally:
            self._local = {}
        for fault in told:  # what the others have is forgotten nevertheless
            if fault is not None:
                raise fault

    async def ping(self) -> None:
        """Unavailable if Redis does not answer."""
        await self._keyspace.ping()

    def _name(self, key: str) -> bytes:
        return (self._prefix + key).encode("utf-8", "surrogatepass")

    async def _fetch(self, key: str, kind: type[T]) -> Cached[T] | None:
        name = self._name(key)
        home = self._keyspace.home(name)
        batch = self._batches.get(home)
        if batch is None:
            batch = self._batches[home] = Batch(self._keyspace.values)
        data = await helped_by(batch.find(name))
        if data is None:
            return None
        if kind not in self._decoders:
            self._decoders[kind] = msgspec.msgpack.Decoder(Cached[kind])  # type: ignore[valid-type]
        try:
            entry: Cached[T] = self._decoders[kind].decode(data)
        except (msgspec.MsgspecError, ValueError):
            return None  # of another kind, or written by another version
        return entry

    async def _write(self, key: str, entry: Cached[T]) -> None:
        name, left = self._name(key), (entry.until - self._clock.now()) // MILLISECOND
        with suppress(Unavailable):  # the cache never fails
            if left > 0:
                data = _encoder.encode(entry)
                await self._keyspace.write(name, lambda client: client.set(name, data, px=left))
            else:
                await self._keyspace.write(name, lambda client: client.unlink(name))

    async def _flush(self, server: Connection, count: Callable[[int], object]) -> None:
        reads = server.reads  # for they may try again, and a key is not forgotten twice
        pattern = re.sub(r"([\\*?\[\]^])", r"\\\1", self._prefix) + "*"
        cursor = None
        while cursor != 0:
            cursor, names = await server.ask(
                reads,
                lambda client: client.scan(cursor or 0, match=pattern, count=FLUSHED_AT_ONCE),  # noqa: B023
                within=FLUSH_PATIENCE,
            )
            if names:  # one by one, for a node of a cluster takes no keys of several slots
                await server.ask(reads, lambda client: to_each(client, "UNLINK", names), within=FLUSH_PATIENCE)  # noqa: B023
                count(len(names))

    def _remember(self, local: dict[str, tuple[Cached[Any], float]], key: str, entry: Cached[Any]) -> None:
        local.pop(key, None)  # so that it counts as the newest
        while len(local) >= MOST_LOCAL:
            del local[next(iter(local))]
        local[key] = entry, time.monotonic() + self._local_for
