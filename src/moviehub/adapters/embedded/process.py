"""What both private servers know about processes: where the wheel is, a free port, and ending when we do."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, NamedTuple


class EmbeddedError(RuntimeError):
    """A private server cannot run here, said in one line."""


class Account(NamedTuple):
    """The operating system's user and group that a server runs as."""

    uid: int
    gid: int


# Run by a fresh interpreter that then becomes the server. A `preexec_fn` could do the same, but it runs Python between
# fork and exec, which may deadlock in a process with threads. The order matters: a change of user clears the signal,
# and a parent that died before prctl would never send it.
_BECOME = """
import ctypes, os, sys
death, parent, uid, gid, *command = sys.argv[1:]
if int(uid) != os.geteuid():
    os.setgroups([]); os.setgid(int(gid)); os.setuid(int(uid))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(ctypes.c_int(1), ctypes.c_ulong(int(death)))
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
os.execv(command[0], command)
"""


def spawn(
    command: Sequence[str | Path],
    *,
    death: signal.Signals,
    output: IO[bytes],
    env: Mapping[str, str],
    account: Account | None = None,
    keep: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start a server that gets the signal `death` when this process ends, however it ends (on Linux).

    It has a session of its own, so that a Ctrl-C in the terminal reaches us alone and we end it in good order. The
    file descriptors in `keep` stay open in it.
    """
    become = account or Account(os.geteuid(), os.getegid())
    words = [sys.executable, "-I", "-S", "-c", _BECOME, int(death), os.getpid(), become.uid, become.gid, *command]
    started: Future[subprocess.Popen[bytes]] = Future()

    def keeper() -> None:
        try:
            process = subprocess.Popen(  # noqa: S603
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(env),
                cwd="/",
                start_new_session=True,
                pass_fds=tuple(keep),
            )
        except OSError as error:
            started.set_exception(EmbeddedError(f"{command[0]} cannot be started: {error.strerror}"))
        else:
            started.set_result(process)
            process.wait()

    # Linux ties the signal to the starting thread, so the thread must live as long as the server.
    threading.Thread(target=keeper, name=f"keeper of {Path(command[0]).name}", daemon=True).start()
    return started.result()


def end(process: "subprocess.Popen[bytes]", *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn until the process has ended within that step's seconds."""
    for number, seconds in steps:
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return


def wheel(package: str) -> Path:
    """The folder of an installed package that is not imported, because its own start-up code is not wanted."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        name = package.replace("_", "-")
        raise EmbeddedError(f"{name} is not installed: install moviehub with its `local` extra, or use a real server")
    return Path(spec.submodule_search_locations[0])


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
