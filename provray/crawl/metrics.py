"""A crawl as Ray metrics, which Ray exports for Prometheus (`ray_provray_…`). No metric is tagged by model.

provray_crawl_models_total{status}           models finished
provray_crawl_stage_seconds_total{stage}     worker seconds: fetch, weights, dna, gif
provray_crawl_fetched_bytes_total            bytes that travelled
provray_crawl_queue_depth                    models listed or fetched, waiting for a worker
provray_crawl_commits_total                  commits to the table
provray_crawl_committed_time_seconds         when the last one was, in Unix time
provray_crawl_workers_lost_total{why}        worker processes that died, or were late and killed

Ray forgets a gauge that is not set again and again, so a thread sets them while a crawl runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ray.util.metrics import Counter, Gauge

from provray.crawl.progress import Progress, outcome
from provray.index.row import Row
from provray.sources.fetch import Fetched

_SHOW_SECONDS = 5.0


class CrawlMetrics(Progress):
    """Counts what a crawl tells. Made after Ray is joined; a context manager that shows gauges inside."""

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
        self._waiting, self._last = 0, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show_on, name="crawl metrics", daemon=True)

    def __enter__(self) -> CrawlMetrics:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

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
        self._last = time.time()
        self._show()

    def worker_lost(self, late: bool) -> None:
        """Count a worker."""
        self._lost.inc(1, {"why": "late" if late else "died"})

    def queued(self, waiting: int) -> None:
        """Show the queue."""
        self._waiting = waiting
        self._show()

    def _show(self) -> None:
        self._queue.set(self._waiting)
        if self._last:
            self._committed.set(self._last)

    def _show_on(self) -> None:
        while not self._over.wait(_SHOW_SECONDS):
            self._show()

    @staticmethod
    def _count(counter: Counter, value: float, tags: dict[str, str] | None = None) -> None:
        if value > 0:  # Ray's counters refuse zero
            counter.inc(value, tags or {})
