"""A crawl as Ray metrics, which Ray exports for Prometheus (`ray_provray_…`). No metric is tagged by model.

provray_crawl_models_total{status}           models finished
provray_crawl_stage_seconds_total{stage}     worker seconds: fetch, weights, dna, gif
provray_crawl_fetched_bytes_total            bytes that travelled
provray_crawl_queue_depth                    models listed or fetched, waiting for a worker
provray_crawl_commits_total                  commits to the table
provray_crawl_committed_time_seconds         when the last one was, in Unix time
provray_crawl_workers_lost_total{why}        worker processes that died, or were late and killed
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ray.util.metrics import Counter, Gauge

from provray.crawl.progress import Progress, outcome
from provray.index.row import Row
from provray.sources.fetch import Fetched


class CrawlMetrics(Progress):
    """Counts what a crawl tells. Made after Ray is joined."""

    def __init__(self) -> None:
        self._models = Counter("provray_crawl_models_total", "Models finished.", ("status",))
        self._seconds = Counter(
            "provray_crawl_stage_seconds_total", "Worker seconds spent.", ("stage",)
        )
        self._bytes = Counter("provray_crawl_fetched_bytes_total", "Bytes fetched from sources.")
        self._commits = Counter("provray_crawl_commits_total", "Commits to the table.")
        self._committed = Gauge("provray_crawl_committed_time_seconds", "Time of the last commit.")
        self._lost = Counter("provray_crawl_workers_lost_total", "Workers lost.", ("why",))
        self._queue = Gauge("provray_crawl_queue_depth", "Models waiting for a worker.")

    def fetched(self, fetched: Fetched) -> None:
        """Count bytes and seconds of a fetch."""
        self._count(self._bytes, fetched.bytes)
        self._count(self._seconds, fetched.seconds, {"stage": "fetch"})

    def finished(self, rows: Sequence[Row]) -> None:
        """Count a model and its stages."""
        self._models.inc(1, {"status": outcome(rows)[0]})
        for row in rows:
            self._count(self._seconds, row.seconds, {"stage": row.kind})

    def committed(self, version: int, models: int) -> None:
        """Count a commit."""
        self._commits.inc(1)
        self._committed.set(time.time())

    def worker_lost(self, late: bool) -> None:
        """Count a worker."""
        self._lost.inc(1, {"why": "late" if late else "died"})

    def queued(self, waiting: int) -> None:
        """Show the queue."""
        self._queue.set(waiting)

    @staticmethod
    def _count(counter: Counter, value: float, tags: dict[str, str] | None = None) -> None:
        if value > 0:  # Ray's counters refuse zero
            counter.inc(value, tags or {})
