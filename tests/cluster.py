"""A cluster of Valkey servers on this machine, whose nodes can be killed and whose slots can be moved."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS

from moviehub.adapters.embedded import PrivateValkey
from moviehub.adapters.redis.cluster import slot_of
from tests.servers import eventually, free_port

NODES = 3


class Node:
    """One server of it. `client` asks it past everything, and follows nobody elsewhere."""

    def __init__(self, folder: Path, number: int) -> None:
        self.port, self.bus = free_port(), free_port()
        self._valkey = PrivateValkey(
            *("--dir", folder, "--cluster-enabled", "yes", "--cluster-config-file", f"{number}.conf"),
            *("--cluster-port", str(self.bus), "--cluster-node-timeout", "1000"),
            *("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"),
            port=self.port,
        )
        self.client: Any = redis.Redis(port=self.port, socket_timeout=5, decode_responses=True)

    def start(self) -> None:
        """Also after it was killed, and then it has its slots again."""
        self._valkey.start()

    def kill(self) -> None:
        """It is refused from now on who asks it."""
        self._valkey.stop()

    def hang(self, hangs: bool = True) -> None:
        """It takes what is sent to it and does not answer, or does again."""
        assert self._valkey.pid is not None
        os.kill(self._valkey.pid, signal.SIGSTOP if hangs else signal.SIGCONT)

    def end(self) -> None:
        """Of all."""
        self.client.close()
        self._valkey.stop()

    def is_ready(self) -> bool:
        """Whether it takes commands and knows of all slots."""
        told = self.client.execute_command("CLUSTER INFO")
        return (told["cluster_state"], told["cluster_slots_assigned"]) == ("ok", str(REDIS_CLUSTER_HASH_SLOTS))

    def slots(self) -> set[int]:
        """Which it has."""
        told = self.client.execute_command("CLUSTER SLOTS")
        return {slot for first, last, (_, port, *_), *_ in told if port == self.port for slot in range(first, last + 1)}

    @property
    def id(self) -> str:
        """By what the others know it."""
        return str(self.client.execute_command("CLUSTER MYID"))


class Valkeys:
    """The nodes, each of which has a third of the slots at first."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)

    def node_of(self, key: str) -> Node:
        """Which has this key at first."""
        return self.nodes[slot_of(key) * len(self.nodes) // REDIS_CLUSTER_HASH_SLOTS]

    def everything(self) -> set[str]:
        """All that is kept on any."""
        return {key for node in self.nodes for key in node.client.keys("*")}

    def bring_back(self, slot: int, here: Node) -> None:
        """The slot, in which nothing is, is here again, wherever it was or was on its way to."""
        for node in self.nodes:
            node.client.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")
        for node in self.nodes:
            if node is not here and slot in node.slots():
                self.begin_to_move(slot, node, here)
                self.end_the_move(slot, here)

    def clear(self) -> None:
        """Forget everything."""
        for node in self.nodes:
            node.client.flushall()
            node.client.config_resetstat()

    def begin_to_move(self, slot: int, here: Node, there: Node) -> None:
        """New keys of this slot go there, which is asked only by whom we send."""
        there.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", here.id)
        here.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", there.id)

    def move_keys(self, slot: int, here: Node, there: Node, most: int = 1_000) -> None:
        """Those that are here are there from now on, this many at most."""
        for key in here.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, most):
            here.client.execute_command("MIGRATE", "127.0.0.1", there.port, key, 0, 5_000)

    def end_the_move(self, slot: int, there: Node) -> None:
        """The slot is there, and all know."""
        for node in (there, *(node for node in self.nodes if node is not there)):
            node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", there.id)


@contextmanager
def a_replica_of(first: Node) -> Iterator[Node]:
    """A fourth server, which has what this node has and takes its place when that is gone."""
    with TemporaryDirectory() as folder:
        replica = Node(Path(folder), NODES)
        replica.start()
        try:
            first.client.execute_command("CLUSTER", "MEET", "127.0.0.1", replica.port, replica.bus)
            eventually(replica.is_ready)
            replica.client.execute_command("CLUSTER", "REPLICATE", first.id)
            eventually(lambda: replica.client.info("replication").get("master_link_status") == "up")
            yield replica
        finally:
            replica.end()


@contextmanager
def three_nodes() -> Iterator[Valkeys]:
    """A cluster of three, which takes commands."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        nodes = [Node(Path(folder), number) for number in range(NODES)]
        for number, node in enumerate(nodes):
            stack.callback(node.end)
            node.start()
            first, end = (REDIS_CLUSTER_HASH_SLOTS * edge // NODES for edge in (number, number + 1))
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            nodes[0].client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        for node in nodes:
            eventually(node.is_ready)
        yield Valkeys(nodes)
