"""Collections of pictures: the file format of Fashion-MNIST, and parts that never mix."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from provray.testbed import pictures as module
from provray.testbed.assets import MissingAsset
from provray.testbed.pictures import FOLDER_VARIABLE, fashion_folder, pictures, read_idx


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


def test_an_idx_file_is_read_as_written(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "x.gz").write_bytes(idx(values))
    assert np.array_equal(read_idx(tmp_path / "x.gz"), values)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", mtime=0),
        gzip.compress(b"\x00\x00\x08\x03\x00", mtime=0),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(ValueError, match="no IDX file"):
        read_idx(tmp_path / "x.gz")


def test_a_file_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x09abc"))
    with pytest.raises(ValueError, match="declares"):
        read_idx(tmp_path / "x.gz")


def test_what_is_missing_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(MissingAsset, match="make fashion"):
        fashion_folder()


def test_parts_of_a_collection_never_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    for file, count in (("train", 15000), ("t10k", 600)):
        pixels = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (tmp_path / f"{file}-images-idx3-ubyte.gz").write_bytes(idx(pixels))
        labels = draw.integers(0, 10, count, dtype=np.uint8)
        (tmp_path / f"{file}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    module._fashion.cache_clear()
    parts = {
        name: pictures("fashion", name)[0].flatten(1)
        for name in ("train", "thief", "test", "probe")
    }
    module._fashion.cache_clear()
    assert [len(part) for part in parts.values()] == [4000, 10000, 250, 250]
    rows = torch.cat(list(parts.values()))
    assert len(torch.unique(rows, dim=0)) == len(rows)
    assert 0 <= float(rows.min()) < float(rows.max()) <= 1
