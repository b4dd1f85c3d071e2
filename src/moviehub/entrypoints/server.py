"""How workers are started and ended: Granian in this very process, which stays their parent."""

import os
import socket
from dataclasses import fields
from pathlib import Path

from granian import Granian
from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings

from moviehub.entrypoints.settings import PREFIX, Settings


def port_is_free(host: str, port: int) -> bool:
    """Whether we could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def export(settings: Settings) -> None:
    """Put the settings into the environment, where the workers read them."""
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        name = PREFIX + setting.name.upper()
        if isinstance(value, bool):
            os.environ[name] = "on" if value else "off"
        elif isinstance(value, tuple):
            os.environ[name] = ",".join(value)
        else:
            os.environ[name] = str(value)


def serve(settings: Settings, *, host: str, port: int, workers: int, folder: Path) -> None:
    """Serve until a signal ends us. `folder` takes the workers' metrics."""
    export(settings)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    Granian(
        "moviehub.entrypoints.http.app:create",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.auto if os.name == "nt" else Loops.uvloop,
        factory=True,
        websockets=False,
        backlog=2048,
        http1_settings=HTTP1Settings(max_buffer_size=64 * 1024, header_read_timeout=10_000),
        log_enabled=False,
        respawn_failed_workers=True,
        respawn_interval=1.0,
        workers_kill_timeout=10,
    ).serve()
