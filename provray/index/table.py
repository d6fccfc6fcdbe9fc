"""The fingerprint table: a Delta table that is only ever appended to.

An index is a folder: `table/` (Delta Lake: one atomic commit per batch of rows, every version readable for
audits), `probes/` (the probe sets its spaces rest on, named by digest) and `cache/` (FAISS files, rebuildable).
Two writers may append at once; readers take the newest row of each key, so a model computed twice counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, SchemaMismatchError, TableNotFoundError

from provray.index.row import SCHEMA, Key, Row, row_from_plain, rows_to_table
from provray.probes import ProbeSet, read_probes, write_probes

_KEY_COLUMNS = ("model", "revision", "space")
_SMALL_COLUMNS = tuple(
    n for n in SCHEMA.names if n not in ("vectors", "tensors", "scales", "readouts", "dimensions")
)


class BadIndex(ValueError):
    """The index cannot be opened, read or written as asked."""


class FingerprintTable:
    """The table of one index, at its newest version or at a given one."""

    def __init__(self, root: Path, delta: DeltaTable) -> None:
        self.root = root
        self._delta = delta
        self._written = -1

    @classmethod
    def create(cls, root: Path) -> FingerprintTable:
        """Open the index at `root`, made empty if there is none. Raises BadIndex if it cannot be written."""
        try:
            (root / "probes").mkdir(parents=True, exist_ok=True)
            DeltaTable.create(
                str(root / "table"),
                schema=SCHEMA,
                mode="ignore",
                partition_by=["kind"],
                name="provray fingerprints",
            )
        except (OSError, DeltaError) as error:
            raise BadIndex(f"cannot create an index at {root}: {error}") from error
        return cls.open(root)

    @classmethod
    def open(cls, root: Path, version: int | None = None) -> FingerprintTable:
        """Open an existing index. Raises BadIndex if there is none, or not that version."""
        if not (root / "table" / "_delta_log").is_dir():
            raise BadIndex(
                f"no index at {root}; make one with `provray crawl SOURCE --index {root}`"
            )
        try:
            return cls(root, DeltaTable(str(root / "table"), version=version))
        except (TableNotFoundError, DeltaError) as error:
            raise BadIndex(f"cannot open the index at {root}: {error}") from error

    @property
    def version(self) -> int:
        """Number of the Delta version that this object reads."""
        return int(self._delta.version())

    def refresh(self) -> None:
        """Move to the newest version."""
        self._delta.update_incremental()

    def append(self, rows: Sequence[Row]) -> int:
        """Append rows in one atomic commit; returns the new version. A row is left out if another writer
        committed the same key with the same status, or as `ok`, in the meantime."""
        self.refresh()
        if self.version != self._written:
            known = self.keys()
            rows = [row for row in rows if known.get(row.key) not in ("ok", row.status)]
        if rows:
            seen = self.version
            try:
                write_deltalake(self._delta, rows_to_table(list(rows)), mode="append")
            except SchemaMismatchError as error:
                raise BadIndex(
                    f"the index at {self.root} was made by a provray with other columns; crawl into a new one"
                ) from error
            self.refresh()
            # Anyone else's commit beside ours holds keys that were not looked at yet.
            self._written = self.version if self.version == seen + 1 else -1
        else:
            self._written = self.version
        return self.version

    def keys(self, status: str | None = None) -> dict[Key, str]:
        """Every (model, revision, space) in the table with the status of its newest row."""
        table = self._read([*_KEY_COLUMNS, "status", "created"], None)
        columns = [table.column(n).to_pylist() for n in (*_KEY_COLUMNS, "status")]
        found = {(m, r, s): st for m, r, s, st in zip(*columns, strict=True)}
        return {k: v for k, v in found.items() if status is None or v == status}

    def facts(self) -> list[Row]:
        """The newest row of every key, without vectors and tensors."""
        return [row_from_plain(p) for p in self._read(_SMALL_COLUMNS, None).to_pylist()]

    def rows(self, spaces: Iterable[str], models: Iterable[str] | None = None) -> Iterator[Row]:
        """The newest `ok` rows of these spaces, whole; only of these model paths if given."""
        wanted = pc.field("space").isin(pa.array(list(spaces), pa.string())) & (
            pc.field("status") == "ok"
        )
        if models is not None:
            wanted = wanted & pc.field("model").isin(pa.array(list(models), pa.string()))
        for batch in self._read(SCHEMA.names, wanted).to_batches(max_chunksize=256):
            for plain in batch.to_pylist():
                yield row_from_plain(plain)

    def _read(self, columns: Sequence[str], wanted: pc.Expression | None) -> pa.Table:
        """Rows sorted by creation, older rows of a key removed."""
        needed = list(dict.fromkeys([*columns, *_KEY_COLUMNS, "created"]))
        table = self._delta.to_pyarrow_dataset().to_table(columns=needed, filter=wanted)
        order = pc.sort_indices(table, sort_keys=[("created", "ascending")])
        table = table.take(order)
        keys = zip(*(table.column(n).to_pylist() for n in _KEY_COLUMNS), strict=True)
        newest = {key: i for i, key in enumerate(keys)}
        return table.take(pa.array(sorted(newest.values()), pa.int64()))

    def keep_probes(self, probes: ProbeSet) -> Path:
        """Keep a copy of a probe set beside the table, under its digest; returns its path."""
        path = self.root / "probes" / f"{probes.digest}.parquet"
        if not path.exists():
            write_probes(probes, path)
        return path

    def probe_sets(self) -> tuple[ProbeSet, ...]:
        """Every probe set of this index."""
        return tuple(read_probes(p) for p in sorted((self.root / "probes").glob("*.parquet")))

    def compact(self) -> int:
        """Join small files into large ones; returns how many were replaced."""
        return int(self._delta.optimize.compact()["numFilesRemoved"])
