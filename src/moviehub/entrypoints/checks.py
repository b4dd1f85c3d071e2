"""How the parts of a running hub are: asked by `/health/ready` and by `moviehub doctor`."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moviehub.entrypoints.bootstrap import Container
from moviehub.entrypoints.bootstrap.database import newest_revision

LONGEST_CHECK = 1.0
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the folder that all workers of a server share: for their metrics, and for the mark of its end."""

State = Literal["ok", "degraded", "unavailable"]


@dataclass(frozen=True, slots=True)
class Finding:
    """How one part is, and why it is not well."""

    part: str
    state: State
    reason: str = ""


def told(fault: Exception) -> str:
    """A fault in its own words, and of what it came only the kind, whose words may hold names and addresses."""
    words, cause = str(fault) or type(fault).__name__, fault.__cause__
    why = getattr(fault, "why", type(cause).__name__ if cause else "")
    return f"{words.rstrip('.')} ({why})" if why else words


@dataclass(frozen=True, slots=True)
class Check:
    """A question to one part, and what the hub is when it is not answered well within a second."""

    part: str
    ask: Callable[[], Awaitable[object]]
    without: State

    async def __call__(self) -> Finding:
        """Ask."""
        try:
            async with asyncio.timeout(LONGEST_CHECK):
                await self.ask()
        except TimeoutError:
            return Finding(self.part, self.without, f"gives no answer within {LONGEST_CHECK:g} s")
        except Exception as fault:  # whatever it is, the part is ill
            return Finding(self.part, self.without, told(fault))
        return Finding(self.part, "ok")


def checks_of(container: Container, *, thorough: bool = False) -> tuple[Check, ...]:
    """The checks of this container: its adapters' own pings. Adapters in memory are always well.

    The schema may not be older than this version, but newer: the database of a hub that serves is newer than itself for
    a while. `thorough` checks want the very schema that this version is made for.
    """
    storage = container.storage()
    revision = getattr(storage, "revision", None)
    replica = getattr(storage, "ping_replica", None)

    seen, newest = None, newest_revision()

    async def migrated() -> None:
        nonlocal seen
        if seen is None or seen < newest or thorough:  # what was migrated stays so
            seen = await revision() if revision else newest
        if seen is None:
            raise RuntimeError("there are no tables yet: run moviehub migrate")
        if seen < newest or (thorough and seen != newest):
            advice = "run moviehub migrate, or a newer moviehub if the database is the newer of the two"
            raise RuntimeError(f"at revision {seen}, and this moviehub is made for {newest}: {advice}")

    return (
        Check("database", getattr(storage, "ping", _well), "unavailable"),
        Check("migrations", migrated, "unavailable"),
        *([Check("replica", replica, "degraded")] if replica else []),
        Check("cache", getattr(container.cache(), "ping", _well), "degraded"),
        Check("catalogue", getattr(container.catalogue(), "ping", _well), "degraded"),
    )


async def _well() -> None:
    """The answer of a part that cannot be ill."""


async def examine(checks: tuple[Check, ...]) -> list[Finding]:
    """Ask every part at once."""
    return list(await asyncio.gather(*(check() for check in checks)))


def mark_of_the_end(folder: str) -> Path:
    """The file that is there once the server has been told to end: workers see it however they were made."""
    return Path(folder, "ending")


def is_ending() -> bool:
    """Whether the server that this worker belongs to has been told to end."""
    return FOLDER in os.environ and mark_of_the_end(os.environ[FOLDER]).exists()


def worst(findings: list[Finding]) -> State:
    """How the whole is: as its most needed ill part."""
    order: tuple[State, ...] = ("ok", "degraded", "unavailable")
    return max((finding.state for finding in findings), key=order.index, default="ok")
