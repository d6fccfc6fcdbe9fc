"""Verification: a sound index has no findings, and each kind of damage, done for real, has its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from provray.ancestry.snapshot import open_snapshot
from provray.ancestry.verify_caches import verify_caches
from provray.fingerprints.settings import FingerprintSettings
from provray.fingerprints.space import weights_space
from provray.index import cache
from provray.index.location import BadIndex, IndexLocation
from provray.index.row import Row, rows_to_table
from provray.index.table import FingerprintTable
from provray.index.verify import Finding, verify_index
from tests.index.small import failed_row, unit_row
from tests.index.test_table_s3 import PROBES

SETTINGS = FingerprintSettings()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound index: two models of two kinds, a failure, a probe set, a space, and the cache of a question."""
    table = FingerprintTable.create(tmp_path / "index")
    table.keep_probes(PROBES)
    table.keep_spaces([weights_space(SETTINGS)])
    table.append([unit_row("a", 0), _behaviour("a", 1), failed_row("bad", "broken")])
    table.append([unit_row("b", 2), _behaviour("b", 3)])
    open_snapshot(table.location, ["weights-1"])
    return tmp_path / "index"


def _behaviour(model: str, number: int) -> Row:
    return unit_row(model, number, kind="dna", space="dna-1", modality="text", probes=PROBES.digest)


def _findings(root: Path) -> list[Finding]:
    location = IndexLocation.of(root)
    return [*verify_index(location), *verify_caches(FingerprintTable.open(location))]


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def _only_finding(root: Path) -> Finding:
    (finding,) = _findings(root)
    assert finding.remedy
    return finding


def _data_file(root: Path, model: str, kind: str = "weights") -> Path:
    """The data file that holds the rows of a model."""
    for path in (root / "table" / f"kind={kind}").glob("*.parquet"):
        if model in pq.ParquetFile(path).read(["model"])["model"].to_pylist():
            return path
    raise AssertionError(model)


# --- sound


def test_a_sound_index_has_no_findings(root: Path) -> None:
    assert _findings(root) == []
    FingerprintTable.open(root).append([])
    assert _findings(root) == []


def test_an_index_in_a_bucket_is_read_the_same_way(s3_bucket: str) -> None:
    location = IndexLocation.of(f"s3://{s3_bucket}/index")
    with pytest.raises(BadIndex, match="no index at"):
        list(verify_index(location))
    table = FingerprintTable.create(location)
    table.append([unit_row("name with spaces, ü and %20"), _behaviour("b", 1)])
    (finding,) = verify_index(location)
    assert f"{PROBES.digest}.parquet" in finding.where
    table.keep_probes(PROBES)
    assert list(verify_index(location)) == []


def test_rows_of_one_key_that_agree_are_no_finding(root: Path) -> None:
    """As when two crawls measure one model at once: newer ones win, and both say the same."""
    nearly = unit_row("a", 0, seconds=5).vectors + np.float32(1e-4) * np.eye(8, dtype=np.float32)[1]
    _append_raw(root, unit_row("a", seconds=5, vectors=nearly))
    _append_raw(root, failed_row("a", "crashed", 6))
    assert _findings(root) == []


# --- damage


def _append_raw(root: Path, *rows: Row) -> None:
    """Rows as a writer would append them that looks at nothing."""
    write_deltalake(str(root / "table"), rows_to_table(list(rows)), mode="append")


def test_a_log_that_cannot_be_read_is_found(root: Path) -> None:
    (root / "table" / "_delta_log" / f"{1:020}.json").write_text("garbage{")
    (finding,) = verify_index(IndexLocation.of(root))
    assert finding.where == "table/_delta_log"
    assert "backup" in finding.remedy


def test_a_data_file_that_is_missing_is_found(root: Path) -> None:
    gone = _data_file(root, "b")
    gone.unlink()
    finding = _missing_file_finding(root)
    assert gone.name in finding.where
    assert "crawl into a new index" in finding.remedy


def _missing_file_finding(root: Path) -> Finding:
    (finding,) = verify_index(IndexLocation.of(root))
    return finding


def test_a_data_file_that_was_cut_or_damaged_is_found(root: Path) -> None:
    path = _data_file(root, "b")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert path.name in _missing_file_finding(root).where
    path.write_bytes(whole)
    assert list(verify_index(IndexLocation.of(root))) == []
    path.write_bytes(b"")
    assert path.name in _missing_file_finding(root).where


def test_a_data_file_with_other_rows_than_the_log_says_is_found(root: Path) -> None:
    path = _data_file(root, "b")
    data = pq.ParquetFile(path).read()
    pq.write_table(pa.concat_tables([data, data]), path)
    finding = _missing_file_finding(root)
    assert "2 rows, the log says 1" in finding.says


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        (np.array([[np.nan, 1, 0, 0]], np.float32), "not finite"),
        (np.array([[np.inf, 1, 0, 0]], np.float32), "not finite"),
        (np.array([[2, 0, 0, 0]], np.float32), "norm 2.000 instead of 1"),
        (np.array([[0.5, 0, 0, 0]], np.float32), "norm 0.500 instead of 1"),
    ],
)
def test_vectors_that_are_none_are_found(root: Path, vectors: np.ndarray, says: str) -> None:
    FingerprintTable.open(root).append([unit_row("odd", vectors=vectors)])
    (finding,) = verify_index(IndexLocation.of(root))
    assert finding.where == "odd (weights-1)"
    assert says in finding.says


def test_a_readout_in_which_nothing_varied_is_sound(root: Path) -> None:
    silent = np.zeros((1, 4), np.float32)
    FingerprintTable.open(root).append([unit_row("silent", vectors=silent)])
    assert list(verify_index(IndexLocation.of(root))) == []


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("vectors", b"1234567", "holds 7 bytes of vectors, not 1 readouts of 8 numbers"),
        ("readouts", ["one", "two"], "not 2 readouts of 8 numbers"),
        ("dimensions", 9, "not 1 readouts of 9 numbers"),
        ("status", "splendid", "unknown status 'splendid'"),
        ("kind", "dna", "holds 0 scales for 1 readouts, not 2"),
        ("kind", "gif", "holds 0 scales for 1 readouts, not 1"),
        ("scales", [1.0], "holds 1 scales for 1 readouts, not 0"),
    ],
)
def test_rows_that_contradict_themselves_are_found(
    root: Path, column: str, value: object, says: str
) -> None:
    data = rows_to_table([unit_row("odd")])
    place = data.schema.get_field_index(column)
    field = data.schema.field(column)
    write_deltalake(
        str(root / "table"),
        data.set_column(place, field, pa.array([value], field.type)),
        mode="append",
    )
    (finding,) = verify_index(IndexLocation.of(root))
    assert finding.where == "odd (weights-1)"
    assert says in finding.says


@pytest.mark.parametrize(
    "other", [unit_row("a", 5, 9), unit_row("a", 0, 9, weights_digest="another")]
)
def test_two_rows_of_a_key_that_contradict_each_other_are_found(root: Path, other: Row) -> None:
    _append_raw(root, other, unit_row("c"))
    (finding,) = verify_index(IndexLocation.of(root))
    assert finding.where == "a (weights-1)"
    assert "contradict" in finding.says


def test_a_probe_set_of_which_a_byte_changed_is_found(root: Path) -> None:
    """Wherever the byte is, unless it changes no probe (Parquet keeps statistics and names of its writer too)."""
    (path,) = (root / "probes").iterdir()
    whole, found = path.read_bytes(), 0
    places = range(0, len(whole), 37)
    for at in places:
        _flip(path, at)
        findings = list(verify_index(IndexLocation.of(root)))
        if findings:
            found += 1
            assert [f.where for f in findings] == [f"probes/{PROBES.digest}.parquet"]
            assert "delete it" in findings[0].remedy
        else:
            assert FingerprintTable.open(root).probe_set(PROBES.digest) == PROBES
        path.write_bytes(whole)
    assert found > len(places) / 4


def test_a_probe_set_under_anothers_name_is_found(root: Path) -> None:
    (path,) = (root / "probes").iterdir()
    path.with_name(f"{'0' * 64}.parquet").write_bytes(path.read_bytes())
    assert "instead of the one it is named after" in _only_finding(root).says


def test_a_probe_set_that_is_missing_is_found_by_the_rows_that_rest_on_it(root: Path) -> None:
    (path,) = (root / "probes").iterdir()
    path.unlink()
    finding = _only_finding(root)
    assert finding.where == f"probes/{PROBES.digest}.parquet"
    assert "dna-1" in finding.says


def test_a_space_that_was_changed_is_found(root: Path) -> None:
    (path,) = (root / "spaces").iterdir()
    plain = json.loads(path.read_text())
    plain["settings"] = plain["settings"].replace("1024", "512")
    path.write_text(json.dumps(plain, sort_keys=True))
    finding = _only_finding(root)
    assert finding.where == f"spaces/{weights_space(SETTINGS).id}.json"
    with pytest.raises(BadIndex, match="was changed"):
        FingerprintTable.open(root).spaces()


def _cache(root: Path) -> Path:
    (folder,) = (root / "cache").iterdir()
    return folder


def test_a_cache_of_which_a_byte_changed_is_found(root: Path) -> None:
    _flip(_cache(root) / "weights.faiss", 60)
    finding = _only_finding(root)
    assert finding.where == f"cache/{_cache(root).name}"
    assert "seal" in finding.says


def test_a_cache_that_holds_other_vectors_than_the_table_is_found(root: Path) -> None:
    """Sealed well, and still not of this table."""
    folder = _cache(root)
    contents = cache.load(folder)
    assert contents is not None
    other = FingerprintTable.create(root.with_name("other"))
    other.append([unit_row("a", 5), unit_row("b", 2)])
    open_snapshot(other.location, ["weights-1"])
    foreign = cache.load(_cache(root.with_name("other")))
    assert foreign is not None
    cache.save(folder, contents | {"weights.faiss": foreign["weights.faiss"]})
    finding = _only_finding(root)
    assert "other vectors" in finding.says
    assert str(folder) in finding.remedy
    cache.save(folder, contents | {"rows.arrow": foreign["rows.arrow"]})
    assert "other vectors" in _only_finding(root).says
    cache.save(folder, contents)
    assert _findings(root) == []
