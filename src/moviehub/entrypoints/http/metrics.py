"""Numbers about the service for Prometheus, gathered from every worker."""

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector  # type: ignore[no-untyped-call, unused-ignore]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counts requests by method, route template and status, and how long they took in seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "moviehub_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "moviehub_http_request_seconds",
            "Time from request to answer, in seconds.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request answered. Methods that HTTP does not know are counted as one."""
        children = self._children.get((method, route, status))
        if children is None:
            known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "OTHER"
            children = (self._requests.labels(known, route, status), self._seconds.labels(known, route))
            if known == method:
                self._children[method, route, status] = children
        children[0].inc()
        children[1].observe(seconds)

    def exposition(self) -> tuple[str, bytes]:
        """Media type and text of the exposition format, over all workers when there are several."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call, unused-ignore]
        return CONTENT_TYPE_LATEST, generate_latest(registry)
