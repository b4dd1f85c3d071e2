"""Who uses a data folder: one process and its server at a time, told by a lock that the kernel lets go of."""

import fcntl
import os
import time
from pathlib import Path

from moviehub.adapters.embedded.process import EmbeddedError


def take(path: Path, patience: float) -> int:
    """Lock the file and return its descriptor, which the server inherits; closing every copy of it unlocks.

    A holder that is dead left a server behind that is still ending: that one is waited for, `patience` seconds.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode()
            if _lives(holder) or time.monotonic() > deadline:
                os.close(lock)
                raise EmbeddedError(
                    f"the data in {path.parent} is in use by another moviehub (process {holder or 'unknown'})"
                ) from None
            time.sleep(0.01)
        else:
            os.truncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            return lock


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
