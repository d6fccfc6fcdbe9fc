"""Every indexed model, ready to be lined up with a suspect: nothing is read but what a comparison needs.

Vectors lie in the mapped rows of a `RowStore`, what tensors hold in a mapped file of its own; a model costs a few bytes
of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.lineup import Layout, Lineup, Measured
from provray.ancestry.shared_tensors import ContentTable, table_of
from provray.index.row_store import RowStore

KINDS = ("weights", "dna", "gif")


class Gallery:
    """Models by name. Safe to read from several threads."""

    def __init__(
        self, members: Sequence[Fingerprint], store: RowStore, contents: ContentTable
    ) -> None:
        """members: every model, sorted by name; vectors and tensors are not looked at. contents: of each member. Raises
        ValueError for other members."""
        if len(members) != len(contents.starts) - 1:
            raise ValueError(f"{len(members)} models, contents of {len(contents.starts) - 1}")
        self._store = store
        self._contents = contents
        self._numbers = {f.model: number for number, f in enumerate(members)}
        self._revisions = [f.revision for f in members]
        self._types = [f.model_type for f in members]
        self._layouts: list[Layout] = []
        self._rows = np.full((len(KINDS), len(members)), -1, np.int64)
        self._of = np.full((len(KINDS), len(members)), -1, np.int32)
        known: dict[Layout, int] = {}
        for place, row in enumerate(store.heads()):
            number = self._numbers.get(row.model)
            if number is None or row.revision != self._revisions[number] or not row.readouts:
                continue
            layout = Layout(row.kind, row.space, row.modality, row.readouts)
            kind = KINDS.index(row.kind)
            self._rows[kind, number] = place
            self._of[kind, number] = known.setdefault(layout, len(known))
        self._layouts.extend(known)

    def line_up(self, models: Iterable[str]) -> Lineup:
        """These models, sorted by name; unknown ones are left out."""
        names = sorted({model for model in models if model in self._numbers})
        numbers = np.array([self._numbers[name] for name in names], np.int64)
        return Lineup(
            names,
            [self._revisions[number] for number in numbers],
            [self._types[number] for number in numbers],
            self._contents.take(numbers),
            [measured for kind in range(len(KINDS)) for measured in self._measured(kind, numbers)],
        )

    def _measured(self, kind: int, numbers: npt.NDArray[np.int64]) -> Iterator[Measured]:
        """The rows of a kind that these models have, those of one layout together."""
        layouts = self._of[kind, numbers]
        for layout in sorted({*layouts.tolist()} - {-1}):
            places = np.flatnonzero(layouts == layout)
            vectors = self._store.vectors(self._rows[kind, numbers[places]])
            yield Measured(self._layouts[layout], places, vectors)


def pack_contents(members: Sequence[Fingerprint]) -> memoryview:
    """The content of a file for what the tensors of these models hold."""
    table = table_of([f.contents for f in members])
    columns = [pa.array(values) for values in (table.keys, table.values, table.counts)]
    flat = pa.StructArray.from_arrays(columns, ["key", "values", "count"])
    lists = pa.LargeListArray.from_arrays(pa.array(table.starts), flat)
    batch = pa.record_batch([lists], ["contents"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def unpack_contents(content: Any) -> ContentTable:
    """What `pack_contents` made, without a copy of a mapped file. Arrow trusts it: pass only what matches its seal."""
    reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content)))
    lists = reader.get_batch(0).column("contents")
    flat = lists.values
    keys, values, counts = (
        flat.field(name).to_numpy(zero_copy_only=True) for name in ("key", "values", "count")
    )
    return ContentTable(keys, values, counts, lists.offsets.to_numpy(zero_copy_only=True))
