"""One crawl: sources -> worklist -> worker pool -> rows in the table, one commit per batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from provray.crawl.cluster import join_ray, require_resources
from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.pool import WorkerPool
from provray.crawl.progress import CrawlReport, Progress
from provray.crawl.settings import Compute, PoolSettings
from provray.crawl.worklist import WorkItem, remaining
from provray.fingerprints.settings import FingerprintSettings
from provray.index.row import Row
from provray.index.table import FingerprintTable
from provray.probes import ProbeSet, ProbeSetError, Shard, default_probes
from provray.probes.probe_set import SHARD_PROBES, probes_from_rows
from provray.sources import Source

_COMMIT_MODELS = 32
_COMMIT_SECONDS = 15.0


def choose_probes(
    table: FingerprintTable, given: Sequence[ProbeSet], keep: bool = True
) -> dict[str, ProbeSet]:
    """The probe set of each modality: the given one, else the index's own, else provray's default.

    keep: also keep a copy of them in the index. Raises ValueError if two given sets share a modality, or the index
    holds several of a modality and none was given.
    """
    chosen: dict[str, ProbeSet] = {}
    for probes in given:
        if probes.modality in chosen:
            raise ValueError(f"two {probes.modality} probe sets were given; give one per modality")
        chosen[probes.modality] = probes
    held: dict[str, list[ProbeSet]] = {}
    for probes in table.probe_sets():
        held.setdefault(probes.modality, []).append(probes)
    for modality in ("image", "text"):
        own = held.get(modality, [])
        if modality in chosen:
            continue
        if len(own) > 1:
            names = ", ".join(f"{p.name} ({p.digest[:12]})" for p in own)
            raise ValueError(
                f"the index holds several {modality} probe sets: {names}; choose with --probes"
            )
        chosen[modality] = own[0] if own else default_probes(modality)
    if keep:
        for probes in chosen.values():
            table.keep_probes(probes)
    return chosen


def shards_in_object_store(
    chosen: Mapping[str, ProbeSet], table: FingerprintTable
) -> dict[str, list[Any]]:
    """Read the index's copies of these probe sets with Ray Data and lay their shards in the object store.

    One pipeline for all sets. Returns references by modality. Raises ProbeSetError if a copy does not hold the set
    it is named for.
    """
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    paths = [str(table.keep_probes(probes).resolve()) for probes in chosen.values()]
    rows = ray.data.read_parquet(paths, include_paths=True).take_all()
    placed = {}
    for modality, probes in chosen.items():
        own = [row for row in rows if Path(row["path"]).stem == probes.digest]
        read = ProbeSet(probes.name, probes.modality, probes_from_rows(own))
        if read.digest != probes.digest:
            raise ProbeSetError(
                f"the index's copy of probe set {probes.name} was changed; delete "
                f"{table.keep_probes(probes)} and crawl again"
            )
        placed[modality] = put_shards(read)
    return placed


def put_shards(probes: ProbeSet) -> list[Any]:
    """Lay a probe set's shards in the object store; returns their references."""
    shards: tuple[Shard, ...] = probes.shards(SHARD_PROBES)
    return [ray.put(shard) for shard in shards]


def crawl(
    sources: Iterable[Source],
    table: FingerprintTable,
    *,
    settings: FingerprintSettings | None = None,
    probes: Sequence[ProbeSet] = (),
    compute: Compute | None = None,
    pool: PoolSettings | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> CrawlReport:
    """Fingerprint every model of the sources that the index does not know yet.

    Raises NotEnoughResources before anything is computed if the pool does not fit the cluster, ValueError if the
    sources hold no model.
    """
    began = time.perf_counter()
    settings, pool = settings or FingerprintSettings(), pool or PoolSettings()
    compute, progress = compute or Compute(threads=pool.threads), progress or Progress()
    chosen = choose_probes(table, probes)
    fingerprinter = Fingerprinter(settings, {m: p.digest for m, p in chosen.items()}, compute)
    report = CrawlReport(version=table.version)
    refs = [ref for source in sources for ref in source.models()]
    if not refs:
        raise ValueError(
            "no model found: a model is a folder with config.json and one or more *.safetensors files"
        )
    known = table.keys()
    work = list(remaining(refs, known, fingerprinter))
    report.listed, report.skipped = len(refs), len(refs) - len(work)
    progress.planned(len(work), report.skipped)
    if work:
        started_here = join_ray(address)
        try:
            require_resources(pool)
            shards = shards_in_object_store(chosen, table)
            with WorkerPool(fingerprinter, shards, pool) as workers:
                _run(workers, work, table, report, progress)
        finally:
            if started_here:
                ray.shutdown()
    report.version = table.version
    report.seconds = time.perf_counter() - began
    return report


def _run(
    workers: WorkerPool,
    work: Sequence[WorkItem],
    table: FingerprintTable,
    report: CrawlReport,
    progress: Progress,
) -> None:
    """Take rows from the pool as they come and commit them in batches; what was computed is committed even if the
    crawl is interrupted."""
    batch: list[Row] = []
    models, last = 0, time.monotonic()
    try:
        for rows in workers.fingerprint(work, progress.started):
            batch.extend(rows)
            models += 1
            status, reason = _judged(rows)
            report.statuses[status] += 1
            if status != "ok":
                report.failures.append((rows[0].model, status, reason))
            progress.finished(rows[0].model, status, reason)
            if models >= _COMMIT_MODELS or time.monotonic() - last > _COMMIT_SECONDS:
                table.append(batch)
                batch, models, last = [], 0, time.monotonic()
    finally:
        if batch:
            table.append(batch)


def _judged(rows: Sequence[Row]) -> tuple[str, str]:
    """A model's outcome: ok if all its rows are, else the first failure."""
    for row in rows:
        if row.status != "ok":
            return row.status, row.reason
    return "ok", ""
