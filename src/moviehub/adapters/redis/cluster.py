"""How a Redis Cluster is asked: for each key the node that has it, and each node only as long as it answers."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError

from moviehub.adapters.redis.connection import AWAY, MOST_FAILURES, PROBE, Connection, to_each
from moviehub.adapters.redis.keyspace import Command, Keyspace, T
from moviehub.application.tracing import Spans, untraced
from moviehub.domain.errors import Unavailable

SUFFIX = "+cluster"
TRY_AGAIN = 0.01
MOST_LOOKED_AT = 1_000
"""So many keys for one that a node has; of a hundred nodes each has ten of them."""


def keyspace_at(url: str, *, timeout: float = 0.2, spans: Spans = untraced) -> Keyspace:
    """The server or the cluster at this URL, not connected to yet; ValueError if there can be none."""
    kind = Cluster if urlsplit(url).scheme.endswith(SUFFIX) else Connection
    return kind(url, timeout=timeout, spans=spans)


def slot_of(key: str | bytes) -> int:
    """By what a cluster places this key; it is the same for all that have the same text in braces."""
    return key_slot(key.encode() if isinstance(key, str) else key)


class Cluster(Keyspace):
    """The nodes of a cluster that have slots, and which has which.

    redis-py's own client of a cluster knows no time-out or failure of a node apart from the others', and one node that
    hangs holds all commands up. So each node is a `Connection` of its own, which is skipped for itself.
    """

    def __init__(self, url: str, *, timeout: float = 0.2, spans: Spans = untraced) -> None:
        super().__init__()
        address = urlsplit(url)
        user, at, hosts = address.netloc.rpartition("@")
        self._address = address._replace(scheme=address.scheme.removesuffix(SUFFIX))
        self._user, self._timeout, self._spans = user + at, timeout, spans
        self._nodes: dict[str, Node] = {}
        self._seeds = [self._node(host.hostname, host.port) for host in (urlsplit(f"//{h}") for h in hosts.split(","))]
        if self._seeds[0].reads.connection_pool.connection_kwargs.get("db"):
            raise ValueError("a cluster has no database but 0")
        self._slots: list[Node | None] = []
        self._learning: asyncio.Task[None] | None = None
        self._failed_before = 0
        self.hung = 0  # commands in a row, of whichever node

    def read(self, key: str | bytes, command: Command[T], *, within: float | None = None) -> Awaitable[T]:
        return self._ask("reads", key, command, within)

    def write(self, key: str | bytes, command: Command[T], *, within: float | None = None) -> Awaitable[T]:
        return self._ask("writes", key, command, within)

    def home(self, key: bytes) -> object:
        return (self._slots and self._slots[slot_of(key)]) or self

    async def values(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        if len(keys) == 1:
            told: list[Any] = [await self.read(keys[0], lambda client: client.get(keys[0]))]
        else:
            # Not MGET, which a node takes only for keys of one slot.
            node = await self._home(slot_of(keys[0]))
            told = await node.ask(node.reads, lambda client: to_each(client, "GET", keys))
            for number, each in enumerate(told):
                if isinstance(each, ResponseError):  # it has moved, or was never there
                    told[number] = await self.read(keys[number], lambda client: client.get(keys[number]))  # noqa: B023
        return {key: data for key, data in zip(keys, told, strict=True) if data is not None}

    async def servers(self) -> Sequence[Connection]:
        if not self._slots or None in self._slots:
            await asyncio.shield(self.learn())
        nodes = dict.fromkeys(self._slots)
        if not nodes or None in nodes:
            raise Unavailable(AWAY)
        return [node for node in nodes if node]

    async def ping(self) -> None:
        """Unavailable if one of the nodes does not answer."""
        nodes = await self.servers()
        told = await asyncio.gather(*(node.ping() for node in nodes), return_exceptions=True)
        if faults := [fault for fault in told if fault is not None]:
            why = faults[0].__cause__
            raise Unavailable(f"{len(faults)} of {len(nodes)} nodes of Redis cannot be reached now.") from why

    async def close(self) -> None:
        """Give the connections back."""
        await super().close()
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.gather(self._learning, return_exceptions=True)
        for node in self._nodes.values():
            await node.close()

    @property
    def is_skipped(self) -> bool:
        """Whether one of the nodes is not asked now."""
        return any(node.is_skipped for node in self._nodes.values())

    @property
    def failed(self) -> int:
        """How often one of the nodes failed."""
        return self._failed_before + sum(node.failed for node in self._nodes.values())

    def all_hang(self) -> None:
        """Skip every node, till it answers: a request has lost all the time that it may."""
        for node in self._nodes.values():
            node.skip()

    def learn(self, first: "Node | None" = None) -> asyncio.Task[None]:
        """Begin to ask which node has which slots, this one first; never twice at a time."""
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._learn(first), context=Context())
        return self._learning

    async def _ask(
        self, client: Literal["reads", "writes"], key: str | bytes, command: Command[T], within: float | None
    ) -> T:
        loop, slot, asked = asyncio.get_running_loop(), slot_of(key), command
        until = loop.time() + (within or self._timeout)
        node = await self._home(slot)
        # What is sent elsewhere was not executed, so that a write, too, may follow.
        while (left := until - loop.time()) > 0:
            try:
                return await node.ask(getattr(node, client), asked, within=min(within or node.patience, left))
            except MovedError as told:
                teller, node, asked = node, self._node(told.host or node.host, told.port), command
                self._slots[slot] = node
                self.learn(teller)
            except AskError as told:
                node, asked = self._node(told.host or node.host, told.port), _on_its_way(command)
            except TryAgainError:  # some of its keys are here and some there, for a moment
                await asyncio.sleep(TRY_AGAIN)
        raise Unavailable(AWAY)

    async def _home(self, slot: int) -> "Node":
        if not self._slots or self._slots[slot] is None:
            await asyncio.shield(self.learn())
        node = self._slots[slot] if self._slots else None
        if node is None:
            raise Unavailable(AWAY)
        return node

    def _node(self, host: str | None, port: int | None) -> "Node":
        host, port = host or "", port or 6379
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if name not in self._nodes:
            address = self._address._replace(netloc=self._user + name)
            self._nodes[name] = Node(address, self, timeout=self._timeout, spans=self._spans)
        return self._nodes[name]

    async def _learn(self, first: "Node | None") -> None:
        for node in sorted(self._nodes.values(), key=lambda node: (node is not first, node.failures)):
            with suppress(Unavailable):
                told = await node.ask(node.reads, _slots)
                if told:
                    return await self._take(node, told)

    async def _take(self, teller: "Node", told: Sequence[Any]) -> None:
        slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for begin, end, (host, port, *_), *_replicas in told:
            named = (host or b"").decode().strip("?")  # a node need not know how others reach it
            slots[begin : end + 1] = [self._node(named or teller.host, port)] * (end + 1 - begin)
        self._slots = slots
        for name, node in list(self._nodes.items()):
            if node not in slots and node not in self._seeds:
                del self._nodes[name]
                self._failed_before += node.failed
                await node.close()


class Node(Connection):
    """One of them. What it has is asked of it alone; when it fails, the others are asked who has it now."""

    REDIRECTIONS: ClassVar[tuple[type[Exception], ...]] = (AskError, TryAgainError)

    def __init__(self, address: SplitResult, cluster: Cluster, *, timeout: float, spans: Spans) -> None:
        super().__init__(address.geturl(), timeout=timeout, spans=spans)
        self.host = address.hostname or ""
        self.name = address.netloc.rpartition("@")[2]
        self._cluster = cluster

    @property
    def patience(self) -> float:
        """As of one server, and less when other nodes hang too: together they get no more time."""
        return self._timeout / (1 + max(self.failures, self._cluster.hung))

    def skip(self) -> None:
        """Ask it nothing more until a ping is answered, the first of which is sent at once."""
        if not self.is_skipped:
            self.failures = MOST_FAILURES
            self._skip("all nodes hang", 0)

    async def _greet(self, client: Any) -> None:
        told = await client.execute_command("CLUSTER INFO")
        if told["cluster_state"] != "ok":
            raise ClusterDownError("it answers, and takes no commands")

    @property
    def _probe(self) -> bytes:
        keys = (b"%b:{%d}" % (PROBE, number) for number in range(MOST_LOOKED_AT))
        return next((key for key in keys if self._cluster.home(key) is self), PROBE)

    def _failed(self, fault: BaseException) -> None:
        super()._failed(fault)
        if type(fault) is TimeoutError:
            self._cluster.hung += 1
            if self._cluster.hung >= MOST_FAILURES:
                self._cluster.all_hang()
        else:
            self._cluster.learn()

    def _succeeded(self) -> None:
        super()._succeeded()
        self._cluster.hung = 0

    def _is_still_away(self) -> None:
        self._cluster.learn()


async def _slots(client: Any) -> Any:
    return await client.execute_command("CLUSTER SLOTS")


def _on_its_way(command: Command[T]) -> Command[T]:
    """The same where its slot is moving to, which takes it for this once."""

    async def asked(client: Any) -> T:
        async with client.client() as alone:
            await alone.execute_command("ASKING")
            return await command(alone)

    return asked
