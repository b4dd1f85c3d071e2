"""Numbers about the service for Prometheus, gathered from every worker."""

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector  # type: ignore[no-untyped-call, unused-ignore]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those that HTTP knows; whatever else a client may write is OTHER where it is counted or told."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counts requests by method, route template and status, with how long they took in seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "moviehub_http_request_seconds",
            "Time from request to answer, in seconds.",
            ["method", "route", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._refusals = Counter(
            "moviehub_rate_limited",
            "Requests refused by a rate limit.",
            ["limit"],
            registry=self.registry,
        )
        self._turned_away = Counter(
            "moviehub_turned_away",
            "Requests turned away because too many were under way.",
            ["kind"],
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], Histogram] = {}
        self._turned_away_children: dict[str, Counter] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request answered. Methods that HTTP does not know are counted as one."""
        child = self._children.get((method, route, status))
        if child is None:
            known = method in METHODS
            child = self._seconds.labels(method if known else "OTHER", route, status)
            if known:
                self._children[method, route, status] = child
        child.observe(seconds)

    def count_refusal(self, limit: str) -> None:
        """One request refused by the limit of this name."""
        self._refusals.labels(limit).inc()

    def count_turned_away(self, kind: str) -> None:
        """One request of this kind turned away, which is counted nowhere else."""
        child = self._turned_away_children.get(kind)
        if child is None:
            child = self._turned_away_children[kind] = self._turned_away.labels(kind)
        child.inc()

    def exposition(self) -> tuple[str, bytes]:
        """Media type and text of the exposition format, over all workers when there are several."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call, unused-ignore]
        return CONTENT_TYPE_LATEST, generate_latest(registry)
