"""How workers are started and ended: Granian in this very process, which stays their parent."""

import gc
import importlib
import multiprocessing
import os
import shutil
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from moviehub import __version__
from moviehub.entrypoints.bootstrap.database import StartError
from moviehub.entrypoints.checks import FOLDER, mark_of_the_end
from moviehub.entrypoints.settings import Settings

if TYPE_CHECKING:
    from moviehub.entrypoints.http.app import Worker

_APPLICATION = "moviehub.entrypoints.http.app"

CONNECTIONS = 2048
"""How many a worker accepts: many more than the requests it takes on, for one too many is to hear that at once."""

LONGEST_GOODBYE = 8
"""Seconds for the drain and what workers have begun by its end; with what follows, all is over in ten."""

MOST_DEATHS = 4
DYING_FOR = 30.0
"""A worker that had to be begun again so often in so many seconds cannot live."""

_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)


def address_of(host: str, port: int) -> str:
    """The IP address to listen on there; OSError tells why we cannot."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    return str(address[0])


def banner(settings: Settings, host: str, port: int, workers: int, private: bool, generated: bool) -> str:
    """What a person who starts the server is told."""
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    demo = "the demo catalogue; set MOVIEHUB_TMDB_TOKEN for TMDb"
    storage = "a private Postgres, data kept" if private else settings.storage
    if settings.storage == "memory":
        storage = "memory: everything is gone when it ends"
    lines = [
        "",
        f"  moviehub {__version__} serves on {url}",
        "",
        f"  storage    {storage}",
        f"  cache      {settings.cache}",
        f"  catalogue  {'TMDb' if settings.catalogue == 'tmdb' else demo}",
        f"  workers    {workers}",
        "",
        f"  docs       {url}/docs/",
        f"  try        curl '{url}/api/movies/popular/?page_size=3'",
        "",
        "  Ctrl-C ends everything.",
        "",
    ]
    if generated and not private:
        lines.append("  Warning: no MOVIEHUB_SECRET_KEY is set; one was made for this run, and sessions end with it.\n")
    return "\n".join(lines)


def serve(settings: Settings, *, address: str, port: int, workers: int, folder: Path) -> None:
    """Serve until a signal ends us. `folder` takes the workers' metrics, and the mark of the end."""
    os.environ.update(settings.variables())  # where the workers read them
    os.environ[FOLDER] = str(folder)
    # Once for all workers, and not before now: prometheus_client looks for the folder while it is imported.
    gc.disable()  # nothing that is imported is garbage, and to look for it again and again takes a tenth of the start
    importlib.import_module(_APPLICATION)
    gc.enable()
    gc.freeze()  # nor need the workers look at it, whose memory it stays as long as they do not
    server = Granian(
        f"{_APPLICATION}:create",
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,  # nginx speaks HTTP/2 to clients; here the bounds below would not hold for it
        workers=workers,
        loop=Loops.auto if os.name == "nt" else Loops.uvloop,
        factory=True,
        websockets=False,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,  # else they are divided among the workers, and who asks for health may not get in
        http1_settings=HTTP1Settings(max_buffer_size=64 * 1024, header_read_timeout=10_000),
        log_enabled=False,
        respawn_failed_workers=True,
        respawn_interval=1.0,
        workers_kill_timeout=LONGEST_GOODBYE - settings.drain_seconds,
    )
    server.respawned_wrks = _Respawned()
    end = _End(server, settings.drain_seconds, mark_of_the_end(str(folder)))
    server.on_startup(end.listen)
    os.register_at_fork(after_in_child=_forget_handlers)
    try:
        server.serve(target_loader=_begin, wrap_loader=False)
    except SystemExit as ended:
        # A worker that ends while we are told to is no fault: a Ctrl-C or a supervisor may have told it as well.
        if ended.code and not end.told:
            raise StartError("the workers end again and again as soon as they have begun") from None


class _Respawned(dict[int, float]):
    """When each worker was begun again: what Granian ends by, the good workers too, if one of them was so lately.

    A worker that was killed twice by chance is no such fault, so it has an answer only for one that dies on and on.
    """

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[int, list[float]] = {}

    def __setitem__(self, worker: int, at: float) -> None:
        _forget_the_dead()
        self._times[worker] = [time for time in self._times.get(worker, []) if at - time < DYING_FOR] + [at]

    def get(self, worker: int, default: Any = None) -> Any:
        times = self._times.get(worker, [])
        return times[-1] if len(times) >= MOST_DEATHS else default


def _forget_the_dead() -> None:
    """Let go of what workers that have ended were said to be just now; what they have counted stays."""
    from prometheus_client.multiprocess import mark_process_dead  # not before now, as above

    alive = {str(child.pid) for child in multiprocessing.active_children()}
    dead = {path.stem.rpartition("_")[2] for path in Path(os.environ[FOLDER]).glob("gauge_live*.db")} - alive
    for pid in dead:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


class _End:
    """How the parent ends: workers say at once that they are not ready, and stop after the drain.

    The drain is for a supervisor's SIGTERM alone. A person at a terminal does not wait, and Ctrl-C has told the workers
    as well; a second signal of any kind cuts it short.
    """

    def __init__(self, server: Any, drain: float, mark: Path) -> None:
        self.told = False
        self._server, self._drain, self._mark = server, drain, mark
        self._hangup_ignored = _HANGUP is not None and signal.getsignal(_HANGUP) is signal.SIG_IGN

    def listen(self) -> None:
        """Take the place of Granian's handlers, which would start new workers when the terminal is closed, and stay."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)
        if _HANGUP is not None:
            signal.signal(_HANGUP, signal.SIG_IGN if self._hangup_ignored else self._hear)

    def _hear(self, number: int, _frame: object) -> None:
        first, self.told = not self.told, True
        with suppress(OSError):  # on a full disk the end comes all the same
            self._mark.touch()
        if first and number == signal.SIGTERM and self._drain:
            drained = threading.Timer(self._drain, self._server.signal_handler_interrupt)
            drained.daemon = True
            drained.start()
        else:
            self._server.signal_handler_interrupt()


def _begin() -> "Worker":
    """What each worker does first."""
    from moviehub.entrypoints.http.app import create

    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.pid,), name="keeper of the worker", daemon=True).start()
    return create()


def _forget_handlers() -> None:
    """With the parent's handlers, a worker that is told to end before it has its own would not hear it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _end_with(parent: int) -> None:
    """End this worker once its parent has ended without a word, as after a kill -9: it would keep the port for ever.

    Looking twice a second is all that works on every system and however a worker was made.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    shutil.rmtree(os.environ[FOLDER], ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LONGEST_GOODBYE)
    os._exit(1)
