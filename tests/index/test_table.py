"""The table: appended to by several writers at once, read at any version, newest row of a key first."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable

from provray.fingerprints.weights import TensorMark
from provray.index.row import Row
from provray.index.table import BadIndex, FingerprintTable
from provray.probes import ProbeSet, make_probe

SPACE = "weights-1"
_START = datetime(2026, 1, 1, tzinfo=UTC)


def _row(model: str, value: float = 1.0, seconds: int = 0, **changed: Any) -> Row:
    """A row whose vector tells which model and value it was made for."""
    vector = np.full((1, 8), value, np.float32)
    vector[0, :2] = len(model), sum(model.encode())
    values: dict[str, Any] = {
        "revision": "r1",
        "kind": "weights",
        "space": SPACE,
        "readouts": ("weights",),
        "vectors": vector,
        "tensors": (TensorMark(f"{model}.weight", (2, 4), "0" * 16, 0.5, 1.0),),
        "created": _START + timedelta(seconds=seconds),
    }
    return Row(model, **(values | changed))


def _failed(model: str, status: str, seconds: int = 0) -> Row:
    nothing = np.zeros((0, 0), np.float32)
    return _row(model, seconds=seconds, status=status, readouts=(), vectors=nothing, tensors=())


def _raw_count(root: Path) -> int:
    """Rows on disk, older ones of a key included."""
    return int(DeltaTable(str(root / "table")).to_pyarrow_dataset().count_rows())


def _models(table: FingerprintTable) -> list[str]:
    return sorted(row.model for row in table.rows([SPACE]))


# --- one writer


def test_an_index_is_made_once_and_opened_again(tmp_path: Path) -> None:
    root = tmp_path / "not" / "there"
    table = FingerprintTable.create(root)
    assert table.version == 0
    assert table.keys() == {}
    assert table.facts() == []
    assert _models(table) == []
    table.append([_row("a")])
    again = FingerprintTable.create(root)  # as a second crawl does
    assert again.version == 1
    assert _models(again) == ["a"]


def test_a_row_read_back_is_the_row_that_was_written(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    row = _row("a", np.pi, warnings=("w",), scales=(0.5,), declared='{"a": 1}')
    table.append([row, _row("b")])
    (back,) = FingerprintTable.open(tmp_path).rows([SPACE], ["a"])
    np.testing.assert_array_equal(back.vectors, row.vectors)
    assert back.vectors.dtype == np.float32
    assert back.tensors == row.tensors
    assert (back.key, back.created) == (row.key, row.created)
    assert (back.warnings, back.scales, back.declared) == (("w",), (0.5,), '{"a": 1}')


def test_the_stored_schema_says_how_vectors_are_to_be_read(tmp_path: Path) -> None:
    FingerprintTable.create(tmp_path).append([_row("a")])
    (field,) = (
        f for f in DeltaTable(str(tmp_path / "table")).schema().fields if f.name == "vectors"
    )
    assert field.type.type == "binary"  # type: ignore[union-attr]
    assert field.metadata["dtype"] == "float32"
    assert field.metadata["byteorder"] == "little"
    stored = DeltaTable(str(tmp_path / "table")).to_pyarrow_table()
    raw, dimensions = stored["vectors"][0].as_py(), stored["dimensions"][0].as_py()
    np.testing.assert_array_equal(
        np.frombuffer(raw, "<f4").reshape(-1, dimensions), _row("a").vectors
    )


def test_the_newest_row_of_a_key_wins_in_whatever_order_rows_came(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    table.append([_row("a", 1.0, seconds=1), _row("b", 1.0, seconds=9)])
    table.append([_row("a", 2.0, seconds=2), _row("b", 2.0, seconds=8)])
    found = {row.model: float(row.vectors[0, 7]) for row in table.rows([SPACE])}
    assert found == {"a": 2.0, "b": 1.0}
    assert len(table.facts()) == 2
    assert _raw_count(tmp_path) == 4


def test_a_key_is_model_revision_and_space(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    rows = [_row("a"), _row("a", revision="r2"), _row("a", space="weights-2"), _row("b")]
    table.append(rows)
    assert set(table.keys()) == {row.key for row in rows}
    assert len(list(table.rows([SPACE]))) == 3
    assert [row.space for row in table.rows(["weights-2"])] == ["weights-2"]
    assert len(list(table.rows([SPACE, "weights-2"], ["a"]))) == 3


def test_nothing_asked_for_is_nothing_found(tmp_path: Path) -> None:
    """As when an index holds no candidate at all."""
    table = FingerprintTable.create(tmp_path)
    table.append([_row("a")])
    assert list(table.rows(["dna-1"])) == []
    assert list(table.rows([SPACE], ["b"])) == []
    assert list(table.rows([SPACE], [])) == []
    assert list(table.rows([])) == []


def test_failures_are_rows_with_a_status_and_are_not_compared(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    table.append([_failed("bad", "broken"), _row("good")])
    assert _models(table) == ["good"]
    assert table.keys("broken") == {("bad", "r1", SPACE): "broken"}
    assert {row.model: row.status for row in table.facts()} == {"bad": "broken", "good": "ok"}
    table.append([_row("bad", seconds=1)])  # another try went well
    assert _models(table) == ["bad", "good"]
    assert table.keys("broken") == {}


def test_facts_leave_out_vectors_and_tensors(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    table.append([_row("a", model_type="vit", parameters=5)])
    (fact,) = table.facts()
    assert (fact.model_type, fact.parameters) == ("vit", 5)
    assert fact.vectors.size == 0
    assert fact.tensors == ()


def test_older_versions_stay_readable(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    versions = [
        table.append([_row("a", 1.0)]),
        table.append([_row("a", 2.0, seconds=1), _row("b")]),
    ]
    assert versions == [1, 2]
    assert table.version == 2
    older = FingerprintTable.open(tmp_path, version=1)
    assert older.version == 1
    assert [float(row.vectors[0, 7]) for row in older.rows([SPACE])] == [1.0]
    assert FingerprintTable.open(tmp_path, version=0).keys() == {}
    assert _models(FingerprintTable.open(tmp_path)) == ["a", "b"]


def test_a_reader_stays_at_its_version_until_told(tmp_path: Path) -> None:
    writer = FingerprintTable.create(tmp_path)
    reader = FingerprintTable.open(tmp_path)
    writer.append([_row("a")])
    assert (reader.version, _models(reader)) == (0, [])
    reader.refresh()
    assert (reader.version, _models(reader)) == (1, ["a"])


def test_appending_nothing_makes_no_version(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    assert table.append([]) == 0
    assert table.version == 0


def test_probe_sets_are_kept_beside_the_table(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    assert table.probe_sets() == ()
    probes = ProbeSet("own", "text", tuple(make_probe("noise", f"a b {i}") for i in range(3)))
    table.keep_probes(probes)
    (path,) = (tmp_path / "probes").iterdir()
    assert path.name == f"{probes.digest}.parquet"
    written = path.stat().st_mtime_ns
    table.keep_probes(probes)
    assert path.stat().st_mtime_ns == written
    (kept,) = FingerprintTable.open(tmp_path).probe_sets()
    assert kept.digest == probes.digest


# --- what is no index


def _nothing(root: Path) -> None:
    pass


def _other_folder(root: Path) -> None:
    (root / "table").mkdir(parents=True)
    (root / "table" / "data.parquet").write_text("no table")


def _empty_log(root: Path) -> None:
    (root / "table" / "_delta_log").mkdir(parents=True)


def _garbled_log(root: Path) -> None:
    _empty_log(root)
    (root / "table" / "_delta_log" / f"{0:020}.json").write_text("garbage{")


def _file_instead(root: Path) -> None:
    root.write_text("a file")


@pytest.mark.parametrize(
    "prepare", [_nothing, _other_folder, _empty_log, _garbled_log, _file_instead]
)
def test_what_is_no_index_cannot_be_opened(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    root = tmp_path / "my-index"
    prepare(root)
    with pytest.raises(BadIndex, match="my-index"):
        FingerprintTable.open(root)
    if prepare is _nothing:
        assert not root.exists()  # asking leaves no trace


def test_a_version_that_is_not_there_cannot_be_opened(tmp_path: Path) -> None:
    FingerprintTable.create(tmp_path)
    with pytest.raises(BadIndex, match=tmp_path.name):
        FingerprintTable.open(tmp_path, version=7)


def test_an_index_cannot_be_made_where_a_file_is(tmp_path: Path) -> None:
    _file_instead(tmp_path / "my-index")
    with pytest.raises(BadIndex, match="my-index"):
        FingerprintTable.create(tmp_path / "my-index")


# --- two writers


def test_a_second_writer_leaves_out_what_the_first_has_done(tmp_path: Path) -> None:
    first, second = FingerprintTable.create(tmp_path), FingerprintTable.create(tmp_path)
    first.append([_row("a", 1.0), _failed("bad", "timeout")])
    second.append([_row("a", 2.0, seconds=5), _failed("bad", "timeout"), _row("b")])
    assert _raw_count(tmp_path) == 3
    assert {row.model: float(row.vectors[0, 7]) for row in second.rows([SPACE])} == {
        "a": 1.0,
        "b": 1.0,
    }


def test_a_second_writers_failure_does_not_hide_a_success(tmp_path: Path) -> None:
    first, second = FingerprintTable.create(tmp_path), FingerprintTable.create(tmp_path)
    first.append([_row("a"), _failed("bad", "crashed")])
    second.append([_failed("a", "crashed", seconds=5), _row("bad", seconds=5)])
    assert second.keys() == {("a", "r1", SPACE): "ok", ("bad", "r1", SPACE): "ok"}


class _Interleaved(FingerprintTable):
    """A writer whose second look at the table comes just after someone else's commit."""

    meanwhile: Callable[[], object] | None = None
    looks = 0

    def refresh(self) -> None:
        self.looks += 1
        if self.looks == 2 and self.meanwhile is not None:
            self.meanwhile()
        super().refresh()


def test_a_commit_that_falls_between_our_own_and_our_next_look_is_seen(tmp_path: Path) -> None:
    other = FingerprintTable.create(tmp_path)
    writer = _Interleaved.open(tmp_path)
    assert isinstance(writer, _Interleaved)
    writer.meanwhile = lambda: other.append([_row("b")])
    writer.append([_row("a")])
    other.refresh()
    assert other.keys("ok").keys() == {("a", "r1", SPACE), ("b", "r1", SPACE)}
    writer.append([_failed("b", "crashed", seconds=5)])
    assert writer.keys()["b", "r1", SPACE] == "ok"


def _write(root: str, name: str, start: Any, shared: int, own: int) -> None:
    """One of two writing processes: batches of one model that both know and one of its own."""
    table = FingerprintTable.create(Path(root))
    start.wait(60)
    for i in range(max(shared, own)):
        batch = [_row(f"both{i}", float(i))] if i < shared else []
        batch += [_row(f"{name}{i}", float(i))] if i < own else []
        table.append(batch)


def test_two_processes_at_once_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    shared, own = 6, 8
    writers = [
        context.Process(target=_write, args=(str(tmp_path), name, start, shared, own))
        for name in ("left", "right")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    expected = {f"both{i}": float(i) for i in range(shared)}
    expected |= {f"{name}{i}": float(i) for name in ("left", "right") for i in range(own)}
    table = FingerprintTable.open(tmp_path)
    rows = list(table.rows([SPACE]))
    assert sorted(row.model for row in rows) == sorted(expected)
    assert {row.model: float(row.vectors[0, 7]) for row in rows} == expected
    for row in rows:
        np.testing.assert_array_equal(row.vectors, _row(row.model, expected[row.model]).vectors)
    # Each commit is whole: a version is one batch, and no batch was written twice.
    assert table.version <= 2 * max(shared, own)
    assert len(expected) <= _raw_count(tmp_path) <= len(expected) + shared


def test_threads_of_one_process_lose_nothing(tmp_path: Path) -> None:
    FingerprintTable.create(tmp_path)

    def write(name: str) -> None:
        table = FingerprintTable.open(tmp_path)
        for i in range(4):
            table.append([_row(f"{name}{i}")])

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = [f"{name}{i}" for name in "abc" for i in range(4)]
    assert _models(FingerprintTable.open(tmp_path)) == expected
    assert _raw_count(tmp_path) == len(expected)
