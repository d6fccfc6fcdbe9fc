"""The fingerprint table: a Delta table that is only ever appended to.

An index is a folder or a prefix of a bucket: `table/` (Delta Lake: one atomic commit per batch of rows, every version
readable for audits until `provray compact` takes it), `probes/` and `spaces/` (what its vectors rest on, named by
digest) and `cache/` (FAISS files, rebuildable). Two writers may append at once; readers take the newest row of each
key, so a model computed twice counts once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, SchemaMismatchError

from provray.fingerprints.space import Space
from provray.index import kept
from provray.index.location import BadIndex, IndexLocation
from provray.index.row import SCHEMA, Key, Row, rows_from_table, rows_to_table
from provray.probes import ProbeSet

__all__ = ["BadIndex", "FingerprintTable", "Place"]

Place = str | os.PathLike[str] | IndexLocation
"""What names an index: a folder's path, `s3://bucket/prefix`, or its location."""

REMEMBERED_DAYS = 365
"""How long the log remembers a file that compaction replaced: the most that `provray compact` can be told to keep."""

_PROPERTIES = {
    "delta.deletedFileRetentionDuration": f"interval {REMEMBERED_DAYS} days",
    # Versions are for audits: they go when someone says so, not by themselves after thirty days.
    "delta.enableExpiredLogCleanup": "false",
}
_COMMIT = CommitProperties(max_commit_retries=100)
"""Each retry takes the next free version; with many writers fifteen, the default, can be too few."""

_PAUSES = (1.0, 3.0, 10.0)
"""Seconds before a commit to a bucket is tried again, beyond the retries of each single request."""

KEY_COLUMNS = ("model", "revision", "space")
"""What a `Key` holds."""

_SMALL_COLUMNS = tuple(
    n for n in SCHEMA.names if n not in ("vectors", "tensors", "scales", "readouts", "dimensions")
)


class FingerprintTable:
    """The table of one index, at its newest version or at a given one."""

    def __init__(self, location: IndexLocation, delta: DeltaTable) -> None:
        self.location = location
        self.delta = delta
        self._written = -1

    @classmethod
    def create(cls, place: Place) -> FingerprintTable:
        """Open the index at `place`, made empty if there is none. Raises BadIndex if it cannot be written."""
        location = IndexLocation.of(place)
        if not location.holds_table():
            try:
                if not location.remote:
                    Path(location.uri).mkdir(parents=True, exist_ok=True)
                DeltaTable.create(
                    location.table_uri,
                    schema=SCHEMA,
                    mode="ignore",
                    partition_by=["kind"],
                    name="provray fingerprints",
                    configuration=_PROPERTIES,
                    storage_options=location.storage_options,
                    # Tried again, it would be a second creation on top of another writer's.
                    commit_properties=CommitProperties(max_commit_retries=0),
                )
            except (OSError, DeltaError) as error:
                if not location.holds_table():  # else another writer made it a moment ago
                    raise BadIndex(
                        f"cannot create an index at {location}: {location.why(error)}"
                    ) from error
        return cls.open(location)

    @classmethod
    def open(cls, place: Place, version: int | None = None) -> FingerprintTable:
        """Open an existing index. Raises BadIndex if there is none, not that version, or it cannot be reached."""
        location = IndexLocation.of(place)
        if not location.holds_table():
            raise BadIndex(
                f"no index at {location}; make one with `provray crawl SOURCE --index {location}`"
            )
        try:
            delta = DeltaTable(
                location.table_uri, version=version, storage_options=location.storage_options
            )
        except (OSError, DeltaError) as error:
            which = "" if version is None else f"version {version} of "
            raise BadIndex(
                f"cannot open {which}the index at {location}: {location.why(error)}"
            ) from error
        return cls(location, delta)

    @property
    def id(self) -> str:
        """The table's own id, random, the same in all its versions."""
        return str(self.delta.metadata().id)

    @property
    def version(self) -> int:
        """Number of the Delta version that this object reads."""
        return int(self.delta.version())

    def refresh(self) -> None:
        """Move to the newest version."""
        self.delta.update_incremental()

    def append(self, rows: Sequence[Row]) -> int:
        """Append rows in one atomic commit; returns the new version. A row is left out if another writer
        committed the same key with the same status, or as `ok`, in the meantime.

        Short faults of a bucket are waited for. Raises BadIndex if the rows cannot be written.
        """
        pauses = _PAUSES if self.location.remote else ()
        for pause in (*pauses, None):
            try:
                return self._append_once(rows)
            except SchemaMismatchError as error:
                raise BadIndex(
                    f"the index at {self.location} was made by a provray with other columns; crawl into a new one"
                ) from error
            except (OSError, DeltaError, BadIndex) as error:
                if pause is None:
                    raise BadIndex(
                        f"cannot append to the index at {self.location}: {self.location.why(error)}"
                    ) from error
                self._written = -1  # the commit may have arrived all the same: look before the next
                time.sleep(pause)
        raise AssertionError("the last try either returns or raises")

    def _append_once(self, rows: Sequence[Row]) -> int:
        self.refresh()
        if rows and self.version != self._written:
            known = self._statuses(pc.field("model").isin(pa.array({row.model for row in rows})))
            rows = [row for row in rows if known.get(row.key) not in ("ok", row.status)]
        if rows:
            seen = self.version
            write_deltalake(
                self.delta, rows_to_table(list(rows)), mode="append", commit_properties=_COMMIT
            )
            self.refresh()
            # Anyone else's commit beside ours holds keys that were not looked at yet.
            self._written = self.version if self.version == seen + 1 else -1
        else:
            self._written = self.version
        return self.version

    def keys(self, status: str | None = None) -> dict[Key, str]:
        """Every (model, revision, space) in the table with the status of its newest row."""
        found = self._statuses(None)
        return {k: v for k, v in found.items() if status is None or v == status}

    def _statuses(self, wanted: pc.Expression | None) -> dict[Key, str]:
        table = self._read([*KEY_COLUMNS, "status", "created"], wanted)
        columns = [table.column(n).to_pylist() for n in (*KEY_COLUMNS, "status")]
        return {(m, r, s): st for m, r, s, st in zip(*columns, strict=True)}

    def facts(self) -> list[Row]:
        """The newest row of every key, without vectors and tensors."""
        return rows_from_table(self._read(_SMALL_COLUMNS, None))

    def rows(self, spaces: Iterable[str], models: Iterable[str] | None = None) -> Iterator[Row]:
        """The newest `ok` rows of these spaces, whole; only of these model paths if given."""
        for batch in self.arrow(spaces, models).to_batches(max_chunksize=256):
            yield from rows_from_table(batch)

    def arrow(self, spaces: Iterable[str], models: Iterable[str] | None = None) -> pa.Table:
        """What `rows` gives, as one table of `SCHEMA`."""
        wanted = pc.field("space").isin(pa.array(list(spaces), pa.string())) & (
            pc.field("status") == "ok"
        )
        if models is not None:
            wanted = wanted & pc.field("model").isin(pa.array(list(models), pa.string()))
        return self._read(SCHEMA.names, wanted)

    def _read(self, columns: Sequence[str], wanted: pc.Expression | None) -> pa.Table:
        """Rows sorted by creation, older rows of a key removed."""
        needed = list(dict.fromkeys([*columns, *KEY_COLUMNS, "created"]))
        try:
            table = self.delta.to_pyarrow_dataset().to_table(columns=needed, filter=wanted)
        except (OSError, DeltaError, pa.ArrowInvalid) as error:
            raise BadIndex(
                f"cannot read version {self.version} of the index at {self.location}: {self.location.why(error)}. "
                "An old version goes with `provray compact`; the newest is looked over by `provray verify`"
            ) from error
        order = pc.sort_indices(table, sort_keys=[("created", "ascending")])
        table = table.take(order)
        keys = zip(*(table.column(n).to_pylist() for n in KEY_COLUMNS), strict=True)
        newest = {key: i for i, key in enumerate(keys)}
        return table.take(pa.array(sorted(newest.values()), pa.int64()))

    def keep_probes(self, probes: ProbeSet) -> None:
        """Keep a copy of a probe set beside the table, under its digest."""
        kept.keep_probes(self.location, probes)

    def probe_set(self, digest: str) -> ProbeSet:
        """The index's copy of one probe set. Raises BadIndex if there is none, ProbeSetError if it was changed."""
        return kept.read_kept_probes(self.location, digest)

    def probe_sets(self) -> tuple[ProbeSet, ...]:
        """Every probe set of this index."""
        return tuple(self.probe_set(digest) for digest in kept.kept_probes(self.location))

    def keep_spaces(self, spaces: Iterable[Space]) -> None:
        """Keep what these spaces are made of, so that questions can be asked in them later."""
        kept.keep_spaces(self.location, spaces)

    def spaces(self) -> dict[str, Space]:
        """The spaces that were kept, by id. Raises BadIndex if one was changed."""
        ids = kept.kept_spaces(self.location)
        found = {space_id: kept.read_kept_space(self.location, space_id) for space_id in ids}
        return {space_id: space for space_id, space in found.items() if space is not None}
