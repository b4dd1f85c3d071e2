"""Numbers about the service for Prometheus, gathered from every worker."""

import os
from bisect import bisect_left
from collections import defaultdict

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector  # type: ignore[no-untyped-call, unused-ignore]

from moviehub.entrypoints.checks import Finding
from moviehub.entrypoints.figures import REQUEST_BUCKETS, Figures

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those that HTTP knows; whatever else a client may write is OTHER where it is counted or told."""


class Metrics:
    """Counts requests by method, route template and status, with how long they took in seconds.

    `catalogue_answers` counts by route template and by what of the answer came from a cache, `figures` has the rest.
    """

    def __init__(self) -> None:
        self.figures = Figures("server")
        self.catalogue_answers: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._healthy: dict[str, int] = {}
        self._answers: dict[tuple[str, str, int], list[float]] = {}  # how many in each bucket, and the sum
        self._refusals: defaultdict[str, int] = defaultdict(int)
        self._turned_away = {"search": 0, "read": 0, "write": 0, "entry": 0}
        self.figures.watch(
            {
                "moviehub_http_request_seconds": lambda: self._answers,
                "moviehub_rate_limited_total": lambda: self._refusals,
                "moviehub_turned_away_total": lambda: self._turned_away,
                "moviehub_catalogue_answers_total": lambda: self.catalogue_answers,
                "moviehub_healthy": lambda: self._healthy,
            }
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request answered. Methods that HTTP does not know are counted as one."""
        counted = self._answers.get((method, route, status))
        if counted is None:
            method = method if method in METHODS else "OTHER"
            counted = self._answers.setdefault((method, route, status), [0.0] * (len(REQUEST_BUCKETS) + 2))
        counted[bisect_left(REQUEST_BUCKETS, seconds)] += 1
        counted[-1] += seconds

    def count_refusal(self, limit: str) -> None:
        """One request refused by the limit of this name."""
        self._refusals[limit] += 1

    def count_turned_away(self, kind: str) -> None:
        """One request of this kind turned away, which is counted nowhere else."""
        self._turned_away[kind] += 1

    def note_health(self, findings: list[Finding]) -> None:
        """How the parts were found to be."""
        for finding in findings:
            self._healthy[finding.part] = int(finding.state == "ok")

    def exposition(self) -> tuple[str, bytes]:
        """Media type and text of the exposition format, over all workers when there are several."""
        self.figures.copy()
        registry = self.figures.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call, unused-ignore]
        return CONTENT_TYPE_LATEST, generate_latest(registry)
