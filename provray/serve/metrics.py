"""Counters of the service for Prometheus, summed over its front replicas.

With `PROMETHEUS_MULTIPROC_DIR` set, every process counts in a file of its own there, and any of them can tell the sum.
No label takes a value that callers choose.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Requests by route, method and status, their time, verdicts given, and the index version served."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "provray_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "provray_request_seconds",
            "Time to the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._verdicts = Counter(
            "provray_verdicts", "Answers by verdict.", ("verdict",), registry=self._registry
        )
        self._version = Gauge(
            "provray_index_version",
            "Index version that is served.",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )

    def count(self, route: str, method: str, status: int, seconds: float, verdict: str) -> None:
        """Count one request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if verdict:
            self._verdicts.labels(verdict).inc()

    def serve(self, version: int) -> None:
        """Say which version is served."""
        self._version.set(version)

    def text(self) -> bytes:
        """Everything counted, in Prometheus' text format."""
        if not os.environ.get(FOLDER_VARIABLE):
            return generate_latest(self._registry)
        whole = CollectorRegistry()
        MultiProcessCollector(whole)
        return generate_latest(whole)
