"""Load on a server: as much as it takes, or so many requests a second whether it answers or not."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

Request = Callable[[], tuple[str, bytes]]
"""The next request, by its kind and as bytes on the wire."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer: to what kind of request, and how many seconds after that was sent."""

    kind: str
    status: int
    seconds: float
    head: bytes

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class Client(asyncio.Protocol):
    """One connection that is kept. `on_free` is called with it when a request is answered."""

    def __init__(self, outcomes: list[Outcome], on_free: Callable[["Client"], object]) -> None:
        self.outcomes, self.on_free = outcomes, on_free
        self.buffer, self.wanted, self.sent, self.kind = b"", -1, 0.0, ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self, kind: str, request: bytes) -> None:
        self.kind, self.sent = kind, perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.wanted < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = self.buffer[:end].lower()
            at = self.head.find(b"content-length:")
            self.wanted = end + 4 + (int(self.head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
        if len(self.buffer) >= self.wanted:
            self.outcomes.append(Outcome(self.kind, int(self.head[9:12]), perf_counter() - self.sent, self.head))
            self.buffer, self.wanted = b"", -1
            self.on_free(self)


async def connected(
    port: int, count: int, outcomes: list[Outcome], on_free: Callable[[Client], object]
) -> list[Client]:
    """So many connections."""
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        made.append((await loop.create_connection(lambda: Client(outcomes, on_free), "127.0.0.1", port))[1])
    return made


async def taken(port: int, request: Request, *, seconds: float, connections: int) -> list[Outcome]:
    """What a server takes: each connection sends the next request when the last is answered."""
    outcomes: list[Outcome] = []
    over = False

    def next_one(client: Client) -> None:
        if not over:
            client.ask(*request())

    clients = await connected(port, connections, outcomes, next_one)
    for client in clients:
        next_one(client)
    await asyncio.sleep(seconds)
    over = True
    found = list(outcomes)
    for client in clients:
        client.transport.close()
    return found


async def offered(
    port: int, request: Request, *, rate: float, seconds: float, connections: int, patience: float = 5.0
) -> tuple[list[Outcome], int]:
    """What comes of `rate` requests a second, each at its own time, and how many got no answer.

    Those are not sent for which all connections are taken.
    """
    outcomes: list[Outcome] = []
    free: deque[Client] = deque()
    free.extend(await connected(port, connections, outcomes, free.append))
    started, sent, due = perf_counter(), 0, 0
    while (passed := perf_counter() - started) < seconds:
        for _ in range(due, int(passed * rate)):
            due += 1
            if free:
                free.popleft().ask(*request())
                sent += 1
        await asyncio.sleep(0.001)
    deadline = perf_counter() + patience
    while len(outcomes) < sent and perf_counter() < deadline:  # noqa: ASYNC110 - an event would cost each answer
        await asyncio.sleep(0.01)
    for client in free:
        client.transport.close()
    return outcomes, sent - len(outcomes)


def quantile(outcomes: Iterable[Outcome], share: float) -> float:
    """So many seconds or fewer took this share of them."""
    seconds = sorted(outcome.seconds for outcome in outcomes)
    return seconds[min(len(seconds) - 1, int(share * len(seconds)))] if seconds else float("nan")
