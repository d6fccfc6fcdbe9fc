"""One crawl: sources -> worklist -> worker pool -> rows in the table, one commit per batch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import ray

from provray.crawl.cluster import join_ray, require_resources
from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.metrics import CrawlMetrics
from provray.crawl.pool import WorkerPool
from provray.crawl.progress import CrawlReport, Progress, Several
from provray.crawl.reading import choose_probes
from provray.crawl.settings import STAGES, Compute, Fetching, PoolSettings, Stage
from provray.crawl.shards import put_shards
from provray.crawl.sharing import SharedWork
from provray.crawl.worklist import WorkItem, Worklist, missing, remaining
from provray.fingerprints.settings import FingerprintSettings
from provray.index.journal import Journal
from provray.index.row import Key, Row
from provray.index.table import FingerprintTable
from provray.probes import ProbeSet
from provray.sources import ModelRef, Source
from provray.sources.access import environment
from provray.sources.fetch import Fetched

_COMMIT_MODELS = 32
_COMMIT_SECONDS = 15.0


def crawl(
    sources: Iterable[Source],
    table: FingerprintTable,
    *,
    settings: FingerprintSettings | None = None,
    probes: Sequence[ProbeSet] = (),
    stages: Sequence[Stage] = STAGES,
    retry_failed: bool = False,
    may_be_empty: bool = False,
    compute: Compute | None = None,
    pool: PoolSettings | None = None,
    fetching: Fetching | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> CrawlReport:
    """Fingerprint every model of the sources that the index does not know yet, in these stages.

    It may be killed at any moment: finished models wait in the journal until they are committed, by this crawl or the
    next one. Raises NotEnoughResources before anything is computed if the pool does not fit the cluster, ValueError if
    the sources cannot be listed or hold no model and not `may_be_empty`, ScratchFull.
    """
    began = time.perf_counter()
    settings, pool = settings or FingerprintSettings(), pool or PoolSettings()
    compute, progress = compute or Compute(threads=pool.threads), progress or Progress()
    chosen = choose_probes(table, probes)
    fingerprinter = Fingerprinter(settings, {m: p.digest for m, p in chosen.items()}, compute)
    table.keep_spaces(fingerprinter.spaces(stages))
    report = CrawlReport()

    def lacking(ref: ModelRef, known: Mapping[Key, str]) -> tuple[Stage, ...]:
        return missing(ref, known, fingerprinter, stages, retry_failed)

    with Journal(table.location) as journal:
        report.recovered = _recover(journal, table, progress)
        known, version = table.keys(), table.version

        def items(refs: Iterable[ModelRef]) -> Iterator[WorkItem | None]:
            return remaining(refs, known, fingerprinter, stages, retry_failed)

        with Worklist(sources, items) as worklist:
            work = SharedWork(worklist, journal, table, lacking, progress, version)
            if worklist.anything():
                started_here = join_ray(address)
                try:
                    require_resources(pool)
                    # The index's own copies: what a crawl probes with is what later questions will find.
                    probed = chosen if set(stages) - {"weights"} else {}
                    shards = put_shards({m: table.probe_set(p.digest) for m, p in probed.items()})
                    with (
                        CrawlMetrics() as metrics,
                        WorkerPool(fingerprinter, shards, pool, fetching, environment()) as workers,
                    ):
                        watch = Several(progress, metrics, _Fetches(report))
                        _run(workers, worklist, work, table, journal, report, watch)
                finally:
                    if started_here:
                        ray.shutdown()
            report.listed, report.skipped = worklist.listed, worklist.skipped
    if not report.listed and not may_be_empty:
        raise ValueError(
            "no model found: a model is a folder or repository with config.json and one or more *.safetensors files"
        )
    progress.planned(report.listed - report.skipped, report.skipped)
    report.version = table.version
    report.seconds = time.perf_counter() - began
    return report


def _recover(journal: Journal, table: FingerprintTable, progress: Progress) -> int:
    """Commit what dead crawls had finished; returns how many models."""
    left = list(journal.left_behind())
    rows = [row for _, rows in left for row in rows]
    if rows:
        table.append(rows)
    for writer, _ in left:
        journal.bury(writer)
    models = len({(row.model, row.revision) for row in rows})
    if models:
        progress.recovered(models)
    return models


def _run(
    workers: WorkerPool,
    worklist: Worklist,
    work: SharedWork,
    table: FingerprintTable,
    journal: Journal,
    report: CrawlReport,
    watch: Progress,
) -> None:
    """Take rows from the pool as they come and commit them in batches; what was computed is committed even if the
    crawl is interrupted."""
    batch: list[Row] = []
    models: list[tuple[str, str]] = []
    last = time.monotonic()

    def commit() -> None:
        nonlocal last
        if not batch:
            return
        table.append(batch)
        work.committed()
        journal.release(models)
        watch.committed(table.version, len(models))
        batch.clear()
        models.clear()
        last = time.monotonic()

    def keep(rows: list[Row]) -> None:
        journal.keep(rows)
        report.count(rows)
        watch.finished(rows)

    work.commit = commit
    try:
        for rows in workers.fingerprint(work, watch, keep):
            batch.extend(rows)
            models.append((rows[0].model, rows[0].revision))
            watch.planned(worklist.listed - worklist.skipped, worklist.skipped)
            watch.queued(worklist.waiting + workers.waiting)
            if len(models) >= _COMMIT_MODELS or time.monotonic() - last > _COMMIT_SECONDS:
                commit()
    finally:
        commit()


class _Fetches(Progress):
    """Adds fetches to the report."""

    def __init__(self, report: CrawlReport) -> None:
        self._report = report

    def fetched(self, fetched: Fetched) -> None:
        """Count bytes and seconds."""
        self._report.fetched_bytes += fetched.bytes
        self._report.stage_seconds["fetch"] += fetched.seconds  # type: ignore[assignment]
