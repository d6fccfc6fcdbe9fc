"""Counters of the service for Prometheus, summed over its front replicas.

With `PROMETHEUS_MULTIPROC_DIR` set, every process counts in a file of its own there, and any of them can tell the sum.
The folder may be shared by several machines.
No label takes a value that callers choose.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Requests by route, method and status, their time, verdicts given, suspects by how they ended, audit lines that
    could not be written, and the index version served."""

    def __init__(self) -> None:
        if os.environ.get(FOLDER_VARIABLE):
            # Process ids alone name the files otherwise, and containers often have the same ones.
            values.ValueClass = values.MultiProcessValue(_process)
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
        self._suspects = Counter(
            "provray_suspects",
            "Suspects fingerprinted, by the status of their answer.",
            ("status",),
            registry=self._registry,
        )
        for status in ("200", "422", "500"):
            # There from the beginning: what counts increases sees none where a series begins.
            self._suspects.labels(status)
        self._unwritten = Counter(
            "provray_audit_failures",
            "Answers withheld because the audit log could not be written.",
            registry=self._registry,
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

    def count_suspect(self, status: int) -> None:
        """Count a suspect that has its answer, or will have none."""
        self._suspects.labels(str(status)).inc()

    def count_unwritten(self) -> None:
        """Count a line that the audit log did not take."""
        self._unwritten.inc()

    def serve(self, version: int) -> None:
        """Say which version is served."""
        self._version.set(version)

    def text(self, suspects: int, room: int) -> bytes:
        """Everything counted, in Prometheus' text format, with the suspects being worked on now and room for them."""
        whole = CollectorRegistry()
        if os.environ.get(FOLDER_VARIABLE):
            MultiProcessCollector(whole)
        else:
            whole.register(self._registry)
        whole.register(_Now(suspects, room))
        return generate_latest(whole)


def _process() -> str:
    """This process, among those of all machines; the library allows no underscore."""
    return f"{socket.gethostname()}-{os.getpid()}".replace("_", "-")


@dataclass(frozen=True)
class _Now(Collector):
    """What is looked up when it is asked for: a gauge of a process that was killed would go on being summed."""

    suspects: int
    room: int

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        told = "Suspects being fingerprinted, or waiting for it."
        yield GaugeMetricFamily("provray_suspects_waiting", told, self.suspects)
        told = "How many may be, before more are refused."
        yield GaugeMetricFamily("provray_suspects_room", told, self.room)
