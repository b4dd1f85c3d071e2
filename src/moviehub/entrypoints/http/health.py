"""Whether this worker lives, whether the service can do its work, and its numbers."""

import asyncio
from typing import NoReturn

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency

from moviehub.entrypoints.checks import Check, Finding, State, examine, is_ending, worst
from moviehub.entrypoints.http.calls import Answer, answer, call, named
from moviehub.entrypoints.http.metrics import Metrics

LOOK_EVERY = 15.0
"""Seconds after which a worker looks how its parts are though nobody asks, for its numbers."""


class HealthOut(msgspec.Struct):
    """The whole, and each part: without the cache or the catalogue the service goes on, without the database not."""

    status: State
    checks: dict[str, State]


class HealthController(Controller):
    """Health and metrics."""

    tags = ["Operation"]

    @get("/health/live", opt=call(auth="none", answers={200: HealthOut}, tagged=False))
    async def live(self) -> Response[bytes]:
        """Tell that this worker runs."""
        return answer(HealthOut("ok", {}))

    @get("/health/ready", opt=call(auth="none", answers={200: HealthOut, 503: HealthOut}, tagged=False))
    async def ready(
        self, checks: NamedDependency[tuple[Check, ...]], metrics: NamedDependency[Metrics]
    ) -> Response[bytes]:
        """Tell whether the service can do its work, and which parts of it are ill.

        A server that is told to end says no at once and serves on for a while, so that nobody is sent to a closed door.
        """
        if is_ending():
            findings = [Finding("server", "unavailable")]
        else:
            findings = await examine(checks)
            metrics.note_health(findings)
        health = HealthOut(worst(findings), {finding.part: finding.state for finding in findings})
        if health.status == "unavailable":
            return answer(health, 503, {"cache-control": "no-store", "retry-after": "5"})
        return answer(health)

    @get("/metrics", opt=call(auth="none", answers={200: "text/plain"}, tagged=False))
    async def metrics(self, metrics: NamedDependency[Metrics]) -> Response[bytes]:
        """Numbers for Prometheus."""
        media_type, text = metrics.exposition()
        return Answer(text, 200, named({"content-type": media_type, "cache-control": "no-store"}))


async def keep_looking(checks: tuple[Check, ...], metrics: Metrics) -> NoReturn:
    """Look now and then how the parts are."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        metrics.note_health(await examine(checks))
