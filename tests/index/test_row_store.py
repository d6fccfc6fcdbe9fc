"""A file of whole rows gives back what the table has, by model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from provray.fingerprints.weights import TensorMark
from provray.index.row import Row
from provray.index.row_store import RowStore, pack_rows
from provray.index.table import FingerprintTable

MARK = TensorMark("layer.0.weight", (3, 4), "ab" * 8, 0.25, 0.5, 1.5, 3.0)


def _row(model: str, kind: str, seed: int) -> Row:
    vectors = np.random.default_rng(seed).normal(size=(2, 8)).astype(np.float32)
    return Row(
        model,
        "r1",
        kind,
        f"{kind}-1",
        declared='{"base_model": ["a"]}',
        readouts=("one", "two"),
        vectors=vectors,
        scales=(0.5, float(seed)),
        tensors=(MARK,) if kind == "weights" else (),
        warnings=("a warning",),
    )


@pytest.fixture
def table(tmp_path: Path) -> FingerprintTable:
    made = FingerprintTable.create(tmp_path / "index")
    models = [f"org/m{number}" for number in range(300)]  # more than a record batch
    made.append([_row(m, "weights", n) for n, m in enumerate(models)])
    made.append([_row(m, "dna", n) for n, m in enumerate(models[:150])])
    return made


def _same(one: Row, other: Row) -> bool:
    plain = [{k: v for k, v in vars(row).items() if k != "vectors"} for row in (one, other)]
    return plain[0] == plain[1] and np.array_equal(one.vectors, other.vectors)


def test_rows_come_back_whole(table: FingerprintTable) -> None:
    spaces = ["weights-1", "dna-1"]
    store = RowStore(pack_rows(table.arrow(spaces)))
    whole = {row.key: row for row in table.rows(spaces)}
    assert len(whole) == 450
    assert {row.key for row in store} == whole.keys()
    found = list(store.rows(["org/m299", "org/m7", "org/none"]))
    assert [(row.model, row.kind) for row in found] == [
        ("org/m299", "weights"),
        ("org/m7", "weights"),
        ("org/m7", "dna"),
    ]
    assert all(_same(row, whole[row.key]) for row in found)


def test_only_the_spaces_asked_for_are_kept(table: FingerprintTable) -> None:
    store = RowStore(pack_rows(table.arrow(["dna-1"])))
    assert {row.kind for row in store} == {"dna"}
    assert list(store.rows(["org/m299"])) == []


def test_no_rows_are_a_file_too(table: FingerprintTable) -> None:
    store = RowStore(pack_rows(table.arrow(["weights-9"])))
    assert list(store) == []
    assert list(store.rows(["org/m1"])) == []


def test_what_is_no_arrow_file_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid):
        RowStore(b"not an Arrow file at all")
