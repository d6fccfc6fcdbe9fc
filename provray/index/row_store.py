"""Whole rows of one table version in one Arrow file: read by model, from memory that all readers share.

A table's data files are compressed column by column: one row costs as much to read as thousands. Here a row is where
its number says, and only its own pages are touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from provray.index.row import Row, rows_from_table

_BATCH = 4096
"""Rows of one record batch: their vectors together stay far below the 2 GiB of a column of bytes, and rows that are
read together lie in few batches, each of which costs something by itself."""


def pack_rows(table: pa.Table) -> memoryview:
    """The content of a file for these rows (of `SCHEMA`, each key once)."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_BATCH)
    return memoryview(sink.getvalue())


class Head(NamedTuple):
    """What a row is, without what it holds."""

    model: str
    revision: str
    kind: str
    space: str
    modality: str
    readouts: tuple[str, ...]


class RowStore:
    """The rows of a file that `pack_rows` made. Arrow trusts it: open only what matches its seal. Safe to read from
    several threads."""

    def __init__(self, content: Any) -> None:
        """content: anything with a buffer, a memory-mapped file best."""
        reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content)))
        self._batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]
        self._vectors = [_flat(batch) for batch in self._batches]
        self._starts = np.cumsum([0, *map(len, self._batches)])
        self._places: dict[str, list[int]] = {}
        models = (model for b in self._batches for model in b.column("model").to_pylist())
        for place, model in enumerate(models):
            self._places.setdefault(model, []).append(place)

    def __iter__(self) -> Iterator[Row]:
        """All rows."""
        for batch in self._batches:
            yield from rows_from_table(batch)

    def rows(self, models: Iterable[str]) -> Iterator[Row]:
        """The rows of these models; of unknown ones none."""
        places = [place for model in models for place in self._places.get(model, ())]
        slices = [self._batches[n].slice(at, 1) for n, at in self._at(places)]
        if slices:
            yield from rows_from_table(pa.Table.from_batches(slices).combine_chunks())

    def heads(self) -> Iterator[Head]:
        """Of all rows, in the order of their places."""
        for batch in self._batches:
            readouts = [tuple(names or ()) for names in batch.column("readouts").to_pylist()]
            columns = [batch.column(name).to_pylist() for name in Head._fields[:-1]]
            yield from map(Head, *columns, readouts)

    def vectors(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """The vectors of the rows at these places, which are of one shape: (rows, readouts, dimensions)."""
        found, dimensions = [], 1
        for number, at in self._at(places):
            values, offsets, widths = self._vectors[number]
            found.append(values[offsets[at] : offsets[at + 1]])
            dimensions = widths[at]
        return np.concatenate(found).reshape(len(places), -1, dimensions)

    def _at(self, places: npt.ArrayLike) -> Iterator[tuple[int, int]]:
        """Number of the batch, and place in it, of each of these."""
        wanted = np.asarray(places, np.int64)
        numbers = np.searchsorted(self._starts, wanted, side="right") - 1
        return zip(numbers.tolist(), (wanted - self._starts[numbers]).tolist(), strict=True)


def _flat(batch: pa.RecordBatch) -> tuple[npt.NDArray[np.float32], list[int], list[int]]:
    """All vectors of a batch one after the other, where those of each row begin and end, and their dimensions."""
    column = batch.column("vectors")
    _, offsets, values = column.buffers()
    bounds = np.frombuffer(offsets, "<i4", len(column) + 1, 4 * column.offset) // 4
    dimensions = batch.column("dimensions").to_pylist()
    return (
        np.frombuffer(values or b"", "<f4"),
        bounds.tolist(),
        [max(d or 0, 1) for d in dimensions],
    )
