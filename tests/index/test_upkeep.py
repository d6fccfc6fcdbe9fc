"""Compaction: fewer files, no superseded rows, no versions older than asked, and never another answer."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable

from provray.fingerprints.weights import TensorMark
from provray.index import cache
from provray.index.journal import Journal
from provray.index.location import IndexLocation
from provray.index.table import BadIndex, FingerprintTable
from provray.index.upkeep import BadRetention, compact
from provray.index.verify import verify_index
from tests.index.aging import age
from tests.index.small import SPACE, failed_row, unit_row


def _models(table: FingerprintTable) -> list[str]:
    return sorted(row.model for row in table.rows([SPACE]))


def _raw_count(location: IndexLocation) -> int:
    delta = DeltaTable(location.table_uri, storage_options=location.storage_options)
    return int(delta.to_pyarrow_dataset().count_rows())


def _data_files(root: Path) -> list[Path]:
    return sorted((root / "table").glob("kind=*/*.parquet"))


@pytest.fixture(params=["disk", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> IndexLocation:
    if request.param == "disk":
        return IndexLocation.of(tmp_path / "index")
    return IndexLocation.of(f"s3://{request.getfixturevalue('s3_bucket')}/index")


# --- rows


def test_small_files_become_large_ones_and_every_row_stays(location: IndexLocation) -> None:
    table = FingerprintTable.create(location)
    marks = (TensorMark("a.weight", (2, 4), "0" * 16, 0.5, 1.0),)
    rows = [
        unit_row(f"m'{i}", i, kind="dna", tensors=marks, scales=(0.5, float(i)), warnings=("w",))
        for i in range(5)
    ]
    for row in rows:
        table.append([row])
    done = compact(table, keep_days=7)
    assert (done.files_before, done.files_after) == (5, 1)
    assert (done.rows_removed, done.rows_left, done.files_deleted) == (0, 0, 0)
    assert done.version == table.version == FingerprintTable.open(location).version
    for row in rows:
        (back,) = FingerprintTable.open(location).rows([SPACE], [row.model])
        np.testing.assert_array_equal(back.vectors, row.vectors)
        assert (back.tensors, back.scales, back.warnings) == (marks, row.scales, ("w",))
        assert back.created == row.created
    assert FingerprintTable.open(location, version=3).keys().keys() == {r.key for r in rows[:3]}
    table.append([unit_row("later")])
    assert len(_models(table)) == 6
    assert list(verify_index(location)) == []


def test_a_second_compaction_finds_nothing_to_do_and_makes_no_version(
    location: IndexLocation,
) -> None:
    table = FingerprintTable.create(location)
    for i in range(3):
        table.append([unit_row(f"m{i}")])
    first = compact(table, keep_days=7)
    assert compact(table, keep_days=7).version == first.version


def test_rows_that_newer_ones_replace_are_removed(location: IndexLocation) -> None:
    table = FingerprintTable.create(location)
    name = "o'brien/model \\ 'x' -- ü"
    table.append([failed_row(name, "crashed", 1), unit_row("kept", 1, 1)])
    table.append([unit_row(name, 2, 3), unit_row("kept", 1, 9)])
    table.append([unit_row(name, 3, 2), unit_row("kept", 3, 1, revision="r2")])
    before = {row.key: row.vectors.tobytes() for row in table.rows([SPACE])}
    done = compact(table, keep_days=7)
    assert (done.rows_removed, done.rows_left) == (3, 0)
    assert _raw_count(location) == 3
    after = {
        row.key: row.vectors.tobytes() for row in FingerprintTable.open(location).rows([SPACE])
    }
    assert after == before
    assert FingerprintTable.open(location, version=1).keys("crashed").keys() == {
        (name, "r1", SPACE)
    }


def test_many_superseded_rows_go_in_several_commits(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    models = [f"m{i}" for i in range(450)]
    table.append([unit_row(model, 1, 1) for model in models])
    table.append([unit_row(model, 2, 2) for model in models])
    done = compact(table, keep_days=7)
    assert done.rows_removed == 450
    assert _raw_count(table.location) == 450
    assert all(row.vectors[0, 2] == 1 for row in table.rows([SPACE]))


def test_several_compactions_at_once_get_out_of_each_others_way(location: IndexLocation) -> None:
    table = FingerprintTable.create(location)
    for i in range(8):
        table.append([unit_row("often", i, i), unit_row(f"m{i}", i)])
    others = [FingerprintTable.open(location) for _ in range(6)]
    with ThreadPoolExecutor(len(others)) as threads:
        done = list(threads.map(lambda other: compact(other, keep_days=7), others))
    assert sum(one.rows_removed for one in done) == 7
    assert [one.rows_left for one in done] == [0] * 6
    assert _raw_count(location) == 9
    assert _models(FingerprintTable.open(location)) == sorted(
        ["often", *(f"m{i}" for i in range(8))]
    )
    assert list(verify_index(location)) == []


def test_a_compaction_waits_for_another_one_and_not_for_a_dead_one(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    for i in range(3):
        table.append([unit_row(f"m{i}")])
    waits = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        with Journal(table.location) as other:
            assert other.claim("compaction", "")
            done = threads.submit(compact, FingerprintTable.open(tmp_path), 7, waits.set)
            assert waits.wait(30)
            assert not done.done()
            assert FingerprintTable.open(tmp_path).version == table.version
        assert done.result(30).version > table.version
    waits.clear()
    with Journal(table.location) as other:
        assert other.claim("compaction", "")
        (claim,) = (tmp_path / "work" / "claims").iterdir()
        claim.write_text("a writer of whom nothing is left")
        compact(table, 7, waits.set)
    assert not waits.is_set()


# --- versions


def test_versions_within_the_time_stay_and_older_ones_go(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    for i in range(3):
        table.append([unit_row(f"m{i}", i)])  # versions 1 to 3
    first = compact(table, keep_days=7)  # version 4
    age(tmp_path, 20)
    table = FingerprintTable.open(tmp_path)
    table.append([unit_row("new")])  # version 5
    orphan = tmp_path / "table" / "kind=weights" / "left-by-a-killed-writer.parquet"
    orphan.write_bytes(b"half a file")
    done = compact(table, keep_days=30)
    assert done.files_deleted == 0
    assert _models(FingerprintTable.open(tmp_path, version=2)) == ["m0", "m1"]
    done = compact(table, keep_days=10)
    assert done.files_deleted == 3
    assert orphan.exists()  # it may belong to a commit that is under way
    assert _models(FingerprintTable.open(tmp_path, version=first.version)) == ["m0", "m1", "m2"]
    assert _models(FingerprintTable.open(tmp_path)) == ["m0", "m1", "m2", "new"]
    with pytest.raises(BadIndex, match=r"cannot read version 2 .*provray compact"):
        _models(FingerprintTable.open(tmp_path, version=2))
    os.utime(orphan, (time.time() - 11 * 86_400,) * 2)
    last = compact(table, keep_days=10)
    assert last.files_deleted == 1
    assert not orphan.exists()
    assert compact(table, keep_days=10).version == last.version
    assert list(verify_index(table.location)) == []


@pytest.mark.parametrize("days", [-1, 0, 366])
def test_a_time_that_cannot_be_kept_is_an_error(tmp_path: Path, days: int) -> None:
    table = FingerprintTable.create(tmp_path)
    with pytest.raises(BadRetention, match=f"for 1 to 365 days, got {days}"):
        compact(table, keep_days=days)


def test_an_older_version_of_the_log_remembers_no_longer_than_it_says(tmp_path: Path) -> None:
    """Delta's own default is a week: beyond it, files of kept versions would look like nobody's."""
    from provray.index.row import SCHEMA

    DeltaTable.create(str(tmp_path / "table"), SCHEMA, partition_by=["kind"])
    table = FingerprintTable.open(tmp_path)
    assert compact(table, keep_days=7).rows_left == 0
    with pytest.raises(BadRetention, match="for 1 to 7 days, got 8"):
        compact(table, keep_days=8)


# --- caches


def _cache(table: FingerprintTable, name: str) -> Path:
    folder = table.location.cache_folder / name
    cache.save(folder, {"a.faiss": b"x"})
    return folder


def test_caches_go_with_their_versions(tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path)
    for i in range(2):
        table.append([unit_row(f"m{i}", i)])
    age(tmp_path, 20)
    table = FingerprintTable.open(tmp_path)
    table.append([unit_row("new")])  # version 3
    old, kept = _cache(table, "v1-abc-3"), _cache(table, "v2-abc-3")
    newest, foreign = _cache(table, "v3-abc-3"), _cache(table, "v99-abc-3")
    partial = table.location.cache_folder / ".v2-abc-3.x"
    partial.mkdir()
    assert compact(table, keep_days=10).caches_deleted == 2
    assert [f.exists() for f in (old, kept, newest, foreign, partial)] == [
        False,
        True,
        True,
        False,
        True,
    ]
    os.utime(partial, (time.time() - 11 * 86_400,) * 2)
    assert compact(table, keep_days=10).caches_deleted == 1
    assert not partial.exists()


def test_caches_of_a_bucket_go_too(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    table = FingerprintTable.create(f"s3://{s3_bucket}/index")
    table.append([unit_row("a")])
    kept, foreign = _cache(table, "v1-abc-3"), _cache(table, "v7-abc-3")
    assert compact(table, keep_days=1).caches_deleted == 1
    assert (kept.exists(), foreign.exists()) == (True, False)
