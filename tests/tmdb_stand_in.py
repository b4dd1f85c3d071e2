"""A TMDb of our own on loopback: it speaks the shapes of v3 with their quirks, and fails on demand.

In a test: `async with StandIn() as tmdb: …`. As a process: `python -m tests.tmdb_stand_in --port 0` prints its URL;
there, `GET /_control/fail?fault=hang&times=3` sets a fault (none: `fault=`), `GET /_control/delay?seconds=1` makes
answers slow and `GET /_control/requests` tells what was asked.
"""

import argparse
import asyncio
import gzip
import json
import socket
import struct
import time
from enum import Enum
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.tmdb_answers import answer

TOKEN = "stand.in.token"
KEY = "0123456789abcdef" * 2


class Watch:
    """A monotonic clock for the circuit around TMDb: it stands still until it is set."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


class Fault(Enum):
    """What can go wrong with an answer."""

    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"
    DRIP = "drip"
    CUT = "cut"
    CUT_GZIP = "cut gzip"
    BAD_GZIP = "bad gzip"
    WRONG_ENCODING = "wrong encoding"
    UNKNOWN_ENCODING = "unknown encoding"
    HTML = "html"
    HTML_404 = "html 404"
    NAN = "nan"
    WRONG_TYPES = "wrong types"
    HUGE = "huge"
    BOMB = "bomb"
    DEEP = "deep"
    EMPTY = "empty"
    ARRAY = "array"
    ERROR_IN_200 = "an error with 200"
    ANOTHER_FILM = "another film"
    REDIRECT = "redirect"
    LIMIT = "429"
    LIMIT_TOLD = "429 with Retry-After"
    BAD_REQUEST = "400"
    BAD_KEY = "401"
    FORBIDDEN = "403"
    BROKEN = "500"
    GATEWAY = "502"
    OFFLINE = "503"


def http(status: int, body: bytes, *headers: str) -> bytes:
    """An HTTP/1.1 answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


JSON = "Content-Type: application/json;charset=utf-8"
GZIP = "Content-Encoding: gzip"


def faulty(fault: Fault, good: bytes, retry_after: str) -> bytes:
    """The answer with this fault in place of the body `good`."""
    packed = gzip.compress(good)
    told = {Fault.LIMIT: 25, Fault.LIMIT_TOLD: 25, Fault.BAD_KEY: 7, Fault.FORBIDDEN: 3, Fault.OFFLINE: 9}
    if fault in told:
        status = int(fault.value[:3]) if fault.value[:3].isdecimal() else 503
        message = json.dumps({"success": False, "status_code": told[fault], "status_message": "No."}).encode()
        return http(status, message, JSON, *([f"Retry-After: {retry_after}"] if fault is Fault.LIMIT_TOLD else []))
    page = b"<!doctype html><title>Error</title><p>Something is wrong."
    wrong = {"results": [{"id": "seven", "title": 7}, 7, None], "total_results": "many", "genres": [[]], "id": {}}
    answers = {
        Fault.BAD_GZIP: lambda: http(200, packed[:12] + b"\xff" * 8 + packed[20:], JSON, GZIP),
        Fault.CUT_GZIP: lambda: http(200, packed[: len(packed) // 2], JSON, GZIP),
        Fault.WRONG_ENCODING: lambda: http(200, good, JSON, GZIP),
        Fault.UNKNOWN_ENCODING: lambda: http(200, good, JSON, "Content-Encoding: br"),
        Fault.HTML: lambda: http(200, page, "Content-Type: text/html"),
        Fault.HTML_404: lambda: http(404, page, "Content-Type: text/html"),
        Fault.NAN: lambda: http(200, b'{"popularity": NaN, ' + good[1:], JSON),
        Fault.WRONG_TYPES: lambda: http(200, json.dumps(wrong).encode(), JSON),
        Fault.HUGE: lambda: http(200, good[:-1] + b" " * 3_000_000 + b"}", JSON),
        Fault.BOMB: lambda: http(200, gzip.compress(good[:-1] + b" " * 20_000_000 + b"}", 1), JSON, GZIP),
        Fault.DEEP: lambda: http(200, b'{"results": ' + b"[" * 100_000, JSON),
        Fault.EMPTY: lambda: http(200, b"", JSON),
        Fault.ERROR_IN_200: lambda: http(200, b'{"success": false, "status_code": 11, "status_message": "No."}', JSON),
        Fault.ARRAY: lambda: http(200, b"[" + good + b"]", JSON),
        Fault.ANOTHER_FILM: lambda: http(200, b'{"id": 7, "title": "Another"}', JSON),
        Fault.REDIRECT: lambda: http(302, b"", "Location: /elsewhere"),
        Fault.BAD_REQUEST: lambda: http(400, b'{"status_code": 5}', JSON),
        Fault.BROKEN: lambda: http(500, b'{"status_code": 11}', JSON),
        Fault.GATEWAY: lambda: http(502, page, "Content-Type: text/html"),
    }
    return answers[fault]()


class StandIn:
    """The server. `fault` spoils every answer, or the next `times`; `requests` are the paths and queries seen.

    `instead` is told in place of every answer, if it is set. `arrived` can be acquired once for each of them.
    """

    def __init__(self, port: int = 0) -> None:
        self.token, self.key = TOKEN, KEY
        self.requests: list[str] = []
        self.arrived = asyncio.Semaphore(0)
        self.most_connections = 0
        self.times: list[float] = []
        self.headers: list[dict[str, str]] = []
        self.fault: Fault | None = None
        self.faults_left: int | None = None
        self.instead: object = None
        self.delay = 0.0
        self.retry_after = "7"
        self.url = ""
        self._port = port
        self._served: set[asyncio.Task[None]] = set()

    def fail(self, fault: Fault | None, times: int | None = None) -> None:
        """Spoil the next `times` answers, or all."""
        self.fault, self.faults_left = fault, times

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/3"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._served:
            task.cancel()
        await asyncio.gather(*self._served, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        self.most_connections = max(self.most_connections, len(self._served))
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            self._served.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection may serve another."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        target = first.split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path, query = urlsplit(target).path, {k: v[-1] for k, v in parse_qs(urlsplit(target).query).items()}
        if path.startswith("/_control/"):
            writer.write(http(200, self._control(path, query), JSON))
            await writer.drain()
            return True
        self.requests.append(target)
        self.arrived.release()
        self.times.append(time.monotonic())
        self.headers.append(headers)
        await asyncio.sleep(self.delay)
        status, told = answer(path.removeprefix("/3"), query)
        if headers.get("authorization") != f"Bearer {self.token}" and query.get("api_key") != self.key:
            message = "Invalid API key: You must be granted a valid key."
            status, told = 401, {"status_code": 7, "status_message": message, "success": False}
        if self.instead is not None:
            status, told = 200, self.instead
        body = json.dumps(told, ensure_ascii=False).encode()
        fault = self._next_fault()
        if fault is None:
            packed = "gzip" in headers.get("accept-encoding", "")
            writer.write(http(status, gzip.compress(body) if packed else body, JSON, *([GZIP] if packed else [])))
            await writer.drain()
            return True
        return await self._spoil(fault, body, reader, writer)

    def _next_fault(self) -> Fault | None:
        if self.faults_left is not None:
            self.faults_left -= 1
            if self.faults_left < 0:
                self.fail(None)
        return self.fault

    async def _spoil(
        self, fault: Fault, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        match fault:
            case Fault.CLOSE:
                return False
            case Fault.RESET:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
            case Fault.HANG:
                await reader.read()  # until the client gives up
                return False
            case Fault.DRIP:
                for byte in http(200, body, JSON):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.05)
                return False
            case Fault.CUT:
                whole = http(200, body, JSON)
                writer.write(whole[: len(whole) - len(body) // 2])
                await writer.drain()
                return False
        writer.write(faulty(fault, body, self.retry_after))
        await writer.drain()
        return True

    def _control(self, path: str, query: dict[str, str]) -> bytes:
        match path.removeprefix("/_control/"):
            case "fail":
                self.fail(Fault(query["fault"]) if "fault" in query else None, int(query.get("times", 0)) or None)
            case "delay":
                self.delay = float(query["seconds"])
            case "requests":
                return json.dumps({"requests": self.requests, "times": self.times}).encode()
        return b"{}"


async def serve(port: int) -> None:
    """Serve until ended."""
    async with StandIn(port) as tmdb:
        print(tmdb.url, flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))
