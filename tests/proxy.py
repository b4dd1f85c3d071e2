"""A TCP proxy that a test puts in front of Postgres, Redis or TMDb, to make what goes wrong on a network."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

CHUNK = 65_536


class Proxy:
    """Hands on what is said to the server at `url`, until one of its faults is set. It runs in a thread of its own.

    `refuse`: nobody listens, and connections are closed. `reset`: every connection, old or new, ends with a reset.
    `hang`: connections stay and nothing is said. `delay`: answers come later. `cut`: an answer ends after some bytes.
    `swallow`: what is asked is done, and the answer never comes. `well` ends them all.
    """

    def __init__(self, url: str, port: int = 0) -> None:
        self._url = urlsplit(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._listener: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._fault, self._amount = "", 0.0
        self._changed = asyncio.Condition()
        self.port = port
        self.connections = 0
        """How many there were."""

    @property
    def url(self) -> str:
        """The server's URL, by way of the proxy."""
        before, _, _ = self._url.netloc.rpartition("@")
        return self._url._replace(netloc=f"{before}@127.0.0.1:{self.port}".removeprefix("@")).geturl()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def lead_to(self, url: str) -> None:
        """Hand on to another server whoever comes from now on; who is connected stays with the one before."""
        self._url = urlsplit(url)

    def well(self) -> None:
        self._set("")

    def refuse(self) -> None:
        self._set("refuse")

    def reset(self) -> None:
        self._set("reset")

    def hang(self) -> None:
        self._set("hang")

    def delay(self, seconds: float) -> None:
        self._set("delay", seconds)

    def cut(self, after: int) -> None:
        self._set("cut", after)

    def swallow(self) -> None:
        self._set("swallow")

    def _run(self, work: Callable[[], object]) -> None:
        """Have something done in the thread."""

        async def done() -> None:
            result = work()
            if asyncio.iscoroutine(result):
                await result

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(10.0)

    def _set(self, fault: str, amount: float = 0.0) -> None:
        async def change() -> None:
            self._fault, self._amount = fault, amount
            if fault == "refuse" and self._listener is not None:
                # What was accepted in this very moment would find its server closed, and never be closed itself.
                self._loop.remove_reader(self._listener.sockets[0].fileno())
                await _a_few_turns()
                self._listener.close()
                self._listener = None
            if fault in ("refuse", "reset"):
                await self._end(reset=fault == "reset")
            if fault != "refuse" and self._listener is None:
                await self._listen()
            async with self._changed:
                self._changed.notify_all()

        self._run(change)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._link, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _end(self, *, reset: bool) -> None:
        """End every connection."""
        await _a_few_turns()
        links = dict(self._links)
        for task, writer in links.items():
            if reset:
                _reset(writer)
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = writer
        self.connections += 1
        with suppress(OSError, asyncio.CancelledError):
            if self._fault == "reset":
                _reset(writer)
            else:
                await self._forward(reader, writer)
        writer.close()
        del self._links[task]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._url.hostname, self._url.port)

        async def ask() -> None:
            while said := await reader.read(CHUNK):
                await self._unless("hang")
                back.write(said)
            back.close()

        async def answer() -> None:
            while said := await there.read(CHUNK):
                if self._fault == "swallow":
                    continue
                await self._unless("hang")
                if self._fault == "delay":
                    await asyncio.sleep(self._amount)
                elif self._fault == "cut":
                    writer.write(said[: int(self._amount)])
                    return
                writer.write(said)

        try:
            halves = [asyncio.create_task(half) for half in (ask(), answer())]
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)
        finally:
            back.close()

    async def _unless(self, fault: str) -> None:
        """Return when this fault is over."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._fault != fault)


async def _a_few_turns() -> None:
    """Let a connection that was accepted in this very moment have a task, and begin it."""
    for _ in range(5):
        await asyncio.sleep(0)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Have the end of a connection be a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
