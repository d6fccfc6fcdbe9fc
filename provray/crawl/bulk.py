"""Every model of an index against that index: answers as Parquet, and the lineage of all, on Ray Data.

What travels through Ray Data are names. Each actor of a fixed pool holds one pinned version and writes one part after
the other, each whole or not at all and only once; so what was cut off goes on with the parts that are missing.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from provray.ancestry.components import components
from provray.ancestry.direction import direction
from provray.ancestry.everyone import SCHEMA, Everyone
from provray.ancestry.from_pairs import Pair, accepted, whole_lineage, work
from provray.ancestry.lineage import Edge, Lineage, build_lineage
from provray.ancestry.lineage_text import lineage_json
from provray.ancestry.snapshot import Snapshot, open_snapshot, rows_id
from provray.ancestry.verdict import FDR
from provray.crawl.cluster import join_ray, require_resources
from provray.crawl.reading import read_index
from provray.crawl.settings import PoolSettings
from provray.index.location import IndexLocation
from provray.index.table import Place
from provray.probes import ProbeSet

_FORMAT = 1
"""Raised whenever rows of the same version come out differently."""
PART = 250
"""Models of a part, and of one pass over the search indexes."""
_FAMILIES = 25
"""Families that an actor puts in order in one go."""
_LINEAGE, _SUMMARY = "lineage.json", "summary.json"
Progress = Callable[[str, int, int], None]
"""(what, done, of how many)."""


@dataclass(frozen=True)
class BulkSummary:
    """What is written at `where`, in `files`: `failed` of the `models` have a reason instead of an answer. verdicts:
    how many of each. families: of two or more. `kept` parts were there before. cpu_seconds: of the workers, at work."""

    where: str
    version: int
    models: int
    failed: int
    verdicts: dict[str, int]
    families: int
    edges: int
    files: tuple[str, ...]
    kept: int
    cpu_seconds: float
    seconds: float


def lineage_of_all(
    place: Place,
    *,
    out: Place | None = None,
    probes: Sequence[ProbeSet] = (),
    version: int | None = None,
    fdr: float = FDR,
    top_k: int = 10,
    workers: int = 1,
    part: int = PART,
    address: str | None = None,
    progress: Progress | None = None,
) -> BulkSummary:
    """Judge every compared model of an index, at its newest version or at `version`, and put all in order.

    out: a folder or prefix, by default `lineage` in the index; what belongs together lies below it under a name made of
    version and settings. There is nothing to do where it is complete. Raises BadIndex, SpaceMismatch,
    NotEnoughResources.
    """
    from provray.sources.access import (
        environment,
    )  # brings the hub's client, which no actor here needs

    began = time.perf_counter()
    told = progress or (lambda *_: None)
    snapshot = read_index(place, probes, version)
    location = snapshot.table.location
    names = sorted(snapshot.names)
    run = _Run(
        IndexLocation.of(out if out is not None else f"{location}/lineage"),
        f"v{snapshot.version}-{_digest(snapshot, fdr, top_k, part)}",
        location,
        snapshot.version,
        snapshot.spaces,
        fdr,
        top_k,
        environment() if location.remote or str(out).startswith("s3://") else {},
    )
    there = set(run.out.names(run.folder))
    if f"{run.folder}/{_SUMMARY}" in there:
        return _summary(run)
    parts = [names[start : start + part] for start in range(0, len(names), part)]
    files = [f"{run.folder}/part-{number:05d}.parquet" for number in range(len(parts))]
    todo = [
        {"file": file, "models": models}
        for file, models in zip(files, parts, strict=True)
        if file not in there
    ]
    started_here = join_ray(address)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        require_resources(PoolSettings(workers=workers))
        cpu = 0.0
        for done, row in enumerate(_on_actors(todo, _Judge, run, workers), 1):
            cpu += row["cpu"]
            told("parts", len(files) - len(todo) + done, len(files))
        lineage, counts, ordering = _put_in_order(run, snapshot, names, files, workers, told)
    finally:
        if started_here:
            ray.shutdown()
    facts = {
        "index": {"uri": str(location), "version": run.version, "models": len(names)},
        "fdr": fdr,
        **lineage_json(lineage),
    }
    run.out.write_new(f"{run.folder}/{_LINEAGE}", json.dumps(facts).encode())
    summary = BulkSummary(
        f"{run.out}/{run.folder}",
        run.version,
        len(names),
        counts.pop("", 0),
        counts,
        sum(len(family) > 1 for family in lineage.families),
        len(lineage.edges),
        tuple(file.rpartition("/")[2] for file in files),
        len(files) - len(todo),
        round(cpu + ordering, 3),
        round(time.perf_counter() - began, 3),
    )
    # Written last: whoever finds it finds everything.
    run.out.write_new(f"{run.folder}/{_SUMMARY}", json.dumps(asdict(summary)).encode())
    return summary


def read_lineage(summary: BulkSummary) -> dict[str, Any]:
    """The lineage that was written, as `provray lineage --json` prints it."""
    found: dict[str, Any] = json.loads(IndexLocation.of(summary.where).read(_LINEAGE))
    return found


def read_answers(summary: BulkSummary) -> pa.Table:
    """The rows that were written, of `everyone.SCHEMA`, by model."""
    where = IndexLocation.of(summary.where)
    tables = [pq.read_table(io.BytesIO(where.read(file))) for file in summary.files]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


@dataclass(frozen=True)
class _Run:
    """What every actor is told. environment: what buckets are reached with."""

    out: IndexLocation
    folder: str
    index: IndexLocation
    version: int
    spaces: tuple[str, ...]
    fdr: float
    top_k: int
    environment: dict[str, str] = field(repr=False)

    def snapshot(self) -> Snapshot:
        os.environ.update(self.environment)
        return open_snapshot(self.index, self.spaces, self.version)


class _Judge:
    """Writes the answers of one part after the other."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        snapshot = run.snapshot()
        self._everyone = Everyone(snapshot, snapshot.table.facts(), run.fdr, run.top_k)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        began = time.process_time()
        for file, models in zip(batch["file"], batch["models"], strict=True):
            rows = list(self._everyone.rows([str(model) for model in models]))
            sink = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink, compression="zstd")
            self._run.out.write_new(str(file), sink.getvalue())
        return {"file": batch["file"], "cpu": _spent(began, batch)}


class _Order:
    """Finds the edges within families."""

    def __init__(self, run: _Run) -> None:
        self._snapshot = run.snapshot()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        began, found = time.process_time(), []
        for members, ignored in zip(batch["members"], batch["ignored"], strict=True):
            lineage = build_lineage(
                self._snapshot.profiles(str(member) for member in members),
                lambda some: np.ones((len(some), len(some)), bool),
                direction,
                frozenset(str(digest) for digest in ignored),
            )
            found.append(json.dumps([asdict(edge) for edge in lineage.edges]))
        return {"edges": np.array(found, object), "cpu": _spent(began, batch)}


def _spent(began: float, batch: dict[str, Any]) -> Any:
    """CPU seconds since then, as an equal share of each row of a batch."""
    rows = len(next(iter(batch.values())))
    return np.full(rows, (time.process_time() - began) / rows)


def _on_actors(
    rows: list[dict[str, Any]], kind: type, run: _Run, workers: int, batch: int = 1
) -> Iterator[dict[str, Any]]:
    """What actors of this kind make of the rows, as it comes."""
    if not rows:
        return
    blocks = -(-len(rows) // batch)
    pool = ray.data.ActorPoolStrategy(size=min(workers, blocks))
    yield from (
        ray.data.from_items(rows, override_num_blocks=blocks)
        .map_batches(
            kind,
            batch_size=batch,
            compute=pool,
            num_cpus=1,
            fn_constructor_args=(run,),
        )
        .iter_rows()
    )


def _put_in_order(
    run: _Run,
    snapshot: Snapshot,
    names: Sequence[str],
    files: Sequence[str],
    workers: int,
    told: Progress,
) -> tuple[Lineage, dict[str, int], float]:
    """The lineage that the written rows give, how many have each verdict, and CPU seconds of the workers."""
    number = {name: n for n, name in enumerate(names)}
    pairs: list[Pair] = []
    digests: list[Any] = [np.empty(0, np.uint64)]
    holders: list[Any] = [np.empty(0, np.intp)]
    counts: dict[str, int] = {}
    for file in files:
        table = pq.read_table(
            io.BytesIO(run.out.read(file)), columns=["model", "verdict", "pairs", "digests"]
        )
        owners = np.array([number[model] for model in table.column("model").to_pylist()], np.intp)
        for owner, found in zip(owners.tolist(), table.column("pairs").to_pylist(), strict=True):
            for pair in found or ():
                first, second = sorted((owner, number[pair.pop("model")]))
                pairs.append(Pair(first, second, **pair))
        held = table.column("digests")
        digests.append(pc.list_flatten(held).to_numpy())
        holders.append(np.repeat(owners, pc.list_value_length(held).fill_null(0).to_numpy()))
        for verdict in table.column("verdict").to_pylist():
            counts[verdict or ""] = counts.get(verdict or "", 0) + 1
    joined = [(p.first, p.second) for p in accepted(pairs, len(names), run.fdr)]
    # Bit-identical models belong together whichever of them were near to whom.
    joined.extend(
        (number[twins[0]], number[twin])
        for twins in snapshot.digests.values()
        for twin in twins[1:]
    )
    labels = np.array(components(len(names), joined), np.intp)
    rows = [
        {"members": list(one.members), "ignored": sorted(one.ignored)}
        for one in work(names, labels, np.concatenate(digests), np.concatenate(holders))
    ]
    edges: list[Edge] = []
    cpu = 0.0
    for done, row in enumerate(_on_actors(rows, _Order, run, workers, _FAMILIES), 1):
        cpu += row["cpu"]
        for plain in json.loads(row["edges"]):
            edges.append(Edge(**{**plain, "reasons": tuple(plain["reasons"])}))
        if done % _FAMILIES == 0 or done == len(rows):
            told("families", done, len(rows))
    return whole_lineage(names, labels, edges), counts, cpu


def _digest(snapshot: Snapshot, fdr: float, top_k: int, part: int) -> str:
    """Of everything that decides what is written."""
    facts = [_FORMAT, rows_id(snapshot.table, snapshot.spaces), fdr, top_k, part]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _summary(run: _Run) -> BulkSummary:
    plain = json.loads(run.out.read(f"{run.folder}/{_SUMMARY}"))
    return BulkSummary(**{**plain, "files": tuple(plain["files"]), "kept": len(plain["files"])})
