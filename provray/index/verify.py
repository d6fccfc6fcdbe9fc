"""Verify an index: whether everything its newest version rests on is there, readable and what it says it is.

Data files are read one at a time, so memory stays that of one file however many there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from provray.index import kept
from provray.index.location import BadIndex, IndexLocation
from provray.index.row import STATUSES, Key, Row, rows_from_table, scale_count
from provray.index.table import FingerprintTable
from provray.probes import ProbeSetError

_NORM_ERROR = 1e-3
_SAME_COSINE = 1 - 1e-3
"""Two measurements of one model agree this well, whatever the machine and dtype (docs/decisions.md)."""

_COLUMNS = ("model", "revision", "space", "status", "created", "weights_digest", "probes", "scales")
_VECTORS = ("readouts", "dimensions", "vectors")
_AGAIN = "crawl the model into a new index, or open an older version"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `where`: the object or row; `says`: what is wrong with it; `remedy`: what to do."""

    where: str
    says: str
    remedy: str


@dataclass
class _Seen:
    """What is remembered of rows while files are read: enough to know which to look at again."""

    contents: dict[Key, str] = field(default_factory=dict)
    several: set[Key] = field(default_factory=set)
    probes: dict[str, str] = field(default_factory=dict)


def verify_index(location: IndexLocation) -> Iterator[Finding]:
    """Findings on table, probe sets and spaces, as they come. Raises BadIndex if there is no index at all."""
    try:
        table = FingerprintTable.open(location)
    except BadIndex as error:
        if not location.holds_table():
            raise
        yield Finding("table/_delta_log", str(error), "restore the folder from a backup")
        return
    seen = _Seen()
    whole = True
    for path, count in _listed_files(table):
        for finding in _check_file(location, path, count, seen):
            whole = whole and finding.where != path
            yield finding
    if whole and seen.several:
        yield from _contradictions(table, seen.several)
    yield from _check_probes(location, seen.probes)
    yield from _check_spaces(location)


def _listed_files(table: FingerprintTable) -> Iterator[tuple[str, int]]:
    """Path under `table/` and number of rows of every data file of the newest version."""
    actions = pa.table(table.delta.get_add_actions(flatten=True))
    for action in actions.select(["path", "num_records"]).to_pylist():
        yield unquote(action["path"]), action["num_records"]


def _check_file(
    location: IndexLocation, path: str, count: int | None, seen: _Seen
) -> Iterator[Finding]:
    """A data file and its rows."""
    remedy = "its rows are lost: restore the file from a backup, or crawl into a new index"
    try:
        content = location.read(f"table/{path}")
    except BadIndex as error:
        yield Finding(path, str(error), remedy)
        return
    try:
        data = pq.read_table(pa.BufferReader(content), columns=[*_COLUMNS, *_VECTORS])
    except (OSError, pa.ArrowException) as error:
        yield Finding(path, f"cannot be read: {location.why(error)}", remedy)
        return
    if count is not None and data.num_rows != count:
        yield Finding(path, f"holds {data.num_rows} rows, the log says {count}", remedy)
    kind = path.partition("/")[0].removeprefix("kind=")  # the table is partitioned by it
    for batch in data.to_batches(max_chunksize=256):
        for plain in batch.to_pylist():
            yield from _check_row(kind, plain, seen)


def _check_row(kind: str, plain: dict[str, Any], seen: _Seen) -> Iterator[Finding]:
    key = plain["model"], plain["revision"], plain["space"]
    where = f"{plain['model']} ({plain['space']})"
    if plain["status"] not in STATUSES:
        yield Finding(
            where,
            f"has the unknown status {plain['status']!r}",
            "read the index with the provray that wrote it",
        )
    if plain["status"] != "ok":
        return
    raw, readouts = plain["vectors"] or b"", plain["readouts"] or []
    dimensions = plain["dimensions"] or 0
    if len(raw) != 4 * dimensions * len(readouts):
        yield Finding(
            where,
            f"holds {len(raw)} bytes of vectors, not {len(readouts)} readouts of {dimensions} numbers",
            _AGAIN,
        )
        return
    wanted = scale_count(kind, len(readouts))
    if (count := len(plain["scales"] or [])) != wanted:
        yield Finding(
            where, f"holds {count} scales for {len(readouts)} readouts, not {wanted}", _AGAIN
        )
    yield from _check_vectors(where, np.frombuffer(raw, "<f4").reshape(len(readouts), -1))
    if plain["probes"]:
        seen.probes.setdefault(plain["probes"], where)
    digest = hashlib.sha256(raw + (plain["weights_digest"] or "").encode()).hexdigest()
    if seen.contents.setdefault(key, digest) != digest:
        seen.several.add(key)


def _check_vectors(where: str, vectors: npt.NDArray[np.float32]) -> Iterator[Finding]:
    """Finite, and of norm one or zero (a readout in which nothing varied)."""
    if not np.isfinite(vectors).all():
        yield Finding(where, "has vectors that are not finite", _AGAIN)
        return
    norms = np.linalg.norm(vectors, axis=1)
    wrong = (np.abs(norms - 1) > _NORM_ERROR) & (norms > 0)
    if wrong.any():
        yield Finding(where, f"has a vector of norm {norms[wrong][0]:.3f} instead of 1", _AGAIN)


def _contradictions(table: FingerprintTable, keys: set[Key]) -> Iterator[Finding]:
    """Keys whose `ok` rows disagree by more than machines do."""
    models = pa.array({model for model, _, _ in keys}, pa.string())
    wanted = pc.field("model").isin(models) & (pc.field("status") == "ok")
    columns = ["model", "revision", "kind", "space", "status", "created", "weights_digest"]
    data = table.delta.to_pyarrow_dataset().to_table(columns=[*columns, *_VECTORS], filter=wanted)
    first: dict[Key, Row] = {}
    told: set[Key] = set()
    for row in rows_from_table(data):
        if row.key not in keys or row.key in told:
            continue
        other = first.setdefault(row.key, row)
        if not _agree(row, other):
            told.add(row.key)
            yield Finding(
                f"{row.model} ({row.space})",
                "has two rows that contradict each other; the newest is the one that counts",
                "find out which is right: crawl the model into a new index and compare",
            )


def _agree(one: Row, other: Row) -> bool:
    if one.weights_digest != other.weights_digest or one.readouts != other.readouts:
        return False
    if one.vectors.shape != other.vectors.shape:
        return False
    alike = (one.vectors * other.vectors).sum(axis=1)
    silent = (one.vectors == 0).all(axis=1) & (other.vectors == 0).all(axis=1)
    return bool(((alike >= _SAME_COSINE) | silent).all())


def _check_probes(location: IndexLocation, used: dict[str, str]) -> Iterator[Finding]:
    """Every kept set is the one it is named after, and every set that vectors rest on is kept."""
    held = kept.kept_probes(location)
    for digest in held:
        try:
            kept.read_kept_probes(location, digest)
        except (ProbeSetError, BadIndex) as error:
            yield Finding(
                kept.probes_name(digest), str(error), "delete it and crawl with the same probe set"
            )
    for digest, where in used.items():
        if digest not in held:
            yield Finding(
                kept.probes_name(digest),
                f"is missing, but {where} and others rest on it: nothing new can be compared with them",
                "crawl once more with this probe set (--probes FILE): it is kept then",
            )


def _check_spaces(location: IndexLocation) -> Iterator[Finding]:
    for space_id in kept.kept_spaces(location):
        try:
            kept.read_kept_space(location, space_id)
        except BadIndex as error:
            yield Finding(kept.space_name(space_id), str(error), "delete it and crawl again")
