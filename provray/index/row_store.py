"""Whole rows of one table version in one Arrow file: read by model, from memory that all readers share.

A table's data files are compressed column by column: one row costs as much to read as thousands. Here a row is where
its number says, and only its own pages are touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from provray.index.row import Row, rows_from_table

_BATCH = 256
"""Rows of one record batch: their vectors together stay far below the 2 GiB of a column of bytes."""


def pack_rows(table: pa.Table) -> memoryview:
    """The content of a file for these rows (of `SCHEMA`, each key once)."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_BATCH)
    return memoryview(sink.getvalue())


class RowStore:
    """The rows of a file that `pack_rows` made. Arrow trusts it: open only what matches its seal. Safe to read from
    several threads."""

    def __init__(self, content: Any) -> None:
        """content: anything with a buffer, a memory-mapped file best."""
        reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content)))
        self._batches = [reader.get_batch(n) for n in range(reader.num_record_batches)]
        self._places: dict[str, list[tuple[int, int]]] = {}
        for number, batch in enumerate(self._batches):
            for place, model in enumerate(batch.column("model").to_pylist()):
                self._places.setdefault(model, []).append((number, place))

    def __iter__(self) -> Iterator[Row]:
        """All rows."""
        for batch in self._batches:
            yield from rows_from_table(batch)

    def rows(self, models: Iterable[str]) -> Iterator[Row]:
        """The rows of these models; of unknown ones none."""
        slices = [
            self._batches[number].slice(place, 1)
            for model in models
            for number, place in self._places.get(model, ())
        ]
        if slices:
            yield from rows_from_table(pa.Table.from_batches(slices).combine_chunks())
