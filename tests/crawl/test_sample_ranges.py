"""A fetch that brings the sampled bytes and no others is enough: files whose other bytes are poison, or holes."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from provray.crawl.sample_ranges import Span, sample_ranges
from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.sketch import BLOCK
from provray.models.checkpoint import TensorEntry, open_checkpoint
from provray.models.errors import BrokenModel
from tests.fingerprints.sampled import made_network, of_folder


def _ranges(folder: Path, sample: int) -> dict[Path, tuple[Span, ...]]:
    return sample_ranges(open_checkpoint(folder).tensors, WeightsSettings(sample=sample))


def _bytes_in(ranges: Mapping[Path, Sequence[Span]]) -> int:
    return sum(end - begin for spans in ranges.values() for begin, end in spans)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two files: float32 and float16 matrices larger than a sample, small ones, integers, an empty one."""
    folder = tmp_path / "model"
    folder.mkdir()
    network = made_network(6)
    first = {**network, "ids": np.arange(90_000).reshape(300, 300)}
    second = {
        "half.weight": made_network(7)["embed.weight"].astype(np.float16),
        "norm.weight": np.linspace(0, 1, 500, dtype=np.float32),
        "none.weight": np.zeros((0, 9), np.float32),
    }
    save_file(first, folder / "one.safetensors")
    save_file(second, folder / "two.safetensors")
    return folder


def _poisoned(source: Path, target: Path, ranges: Mapping[Path, Sequence[Span]]) -> None:
    """The same files with NaN patterns in every tensor byte outside `ranges`."""
    target.mkdir()
    for path, spans in ranges.items():
        raw = path.read_bytes()
        start = 8 + struct.unpack("<Q", raw[:8])[0]
        bad = bytearray(raw[:start] + b"\xff" * (len(raw) - start))
        for begin, end in spans:
            bad[begin:end] = raw[begin:end]
        (target / path.name).write_bytes(bad)


@pytest.mark.parametrize("sample", [1, 2, 5])
def test_bytes_outside_the_ranges_are_never_looked_at(
    model: Path, tmp_path: Path, sample: int
) -> None:
    settings = WeightsSettings(sample=sample)
    ranges = _ranges(model, sample)
    _poisoned(model, tmp_path / "poisoned", ranges)
    read, expected = of_folder(tmp_path / "poisoned", settings), of_folder(model, settings)
    np.testing.assert_array_equal(read.vectors, expected.vectors)
    assert read.marks == expected.marks
    assert _bytes_in(ranges) < open_checkpoint(model).nbytes
    # and the poison is deadly: whoever reads more meets it
    with pytest.raises(BrokenModel, match="NaN"):
        of_folder(tmp_path / "poisoned", WeightsSettings(sample=sample + 1))


@pytest.mark.parametrize("sample", [1, 2, 5])
def test_no_byte_of_the_ranges_is_superfluous(model: Path, tmp_path: Path, sample: int) -> None:
    """Whatever range is poisoned, the fingerprint notices, at its first block and at its last."""
    ranges = _ranges(model, sample)
    for path, spans in ranges.items():
        for begin, end in spans:
            for place in (begin, end - 8):
                raw = bytearray(path.read_bytes())
                raw[place : place + 8] = bytes(b ^ 0x11 for b in raw[place : place + 8])
                broken = tmp_path / f"broken-{path.stem}-{place}"
                broken.mkdir()
                for other in ranges:
                    content = bytes(raw) if other == path else other.read_bytes()
                    (broken / other.name).write_bytes(content)
                settings = WeightsSettings(sample=sample)
                assert of_folder(broken, settings).marks != of_folder(model, settings).marks


def test_a_file_of_holes_with_the_ranges_filled_in_is_enough(model: Path, tmp_path: Path) -> None:
    """What a fetch by ranges leaves on disk: header and ranges, and nothing written anywhere else."""
    settings = WeightsSettings(sample=1)
    sparse = tmp_path / "sparse"
    sparse.mkdir()
    for path, spans in _ranges(model, 1).items():
        raw = path.read_bytes()
        header = 8 + struct.unpack("<Q", raw[:8])[0]
        with (sparse / path.name).open("wb") as file:
            for begin, end in ((0, header), *spans):
                file.seek(begin)
                file.write(raw[begin:end])
            file.truncate(len(raw))
    made, expected = of_folder(sparse, settings), of_folder(model, settings)
    np.testing.assert_array_equal(made.vectors, expected.vectors)
    assert made.marks == expected.marks


def test_ranges_are_sorted_apart_and_within_the_tensors(model: Path) -> None:
    checkpoint = open_checkpoint(model)
    for sample in (1, 2, 3, 5, 8):
        ranges = sample_ranges(reversed(checkpoint.tensors), WeightsSettings(sample=sample))
        assert ranges == _ranges(model, sample)
        for path, spans in ranges.items():
            of_file = [e for e in checkpoint.tensors if e.file == path]
            assert all(a < b for a, b in spans)
            assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))
            assert spans[0][0] >= min(e.begin for e in of_file)
            assert spans[-1][1] <= max(e.end for e in of_file)


def test_reading_everything_is_one_range_a_file(model: Path) -> None:
    checkpoint = open_checkpoint(model)
    for sample in (0, 11):  # the largest tensor has 11 blocks
        ranges = _ranges(model, sample)
        assert [len(spans) for spans in ranges.values()] == [1, 1]
        assert _bytes_in(ranges) == checkpoint.nbytes


def test_a_file_without_a_value_has_no_range(tmp_path: Path) -> None:
    entry = TensorEntry("none", "F32", (0, 4), tmp_path / "a.safetensors", 80, 80)
    assert sample_ranges([entry], WeightsSettings(sample=1)) == {entry.file: ()}


def test_a_huge_tensor_is_read_by_its_sample(tmp_path: Path) -> None:
    """A sparse file of 137 GB: only the sample of it can have been read."""
    rows = 2**22
    header = {
        "w": {"dtype": "F32", "shape": [rows, 8192], "data_offsets": [0, rows * 8192 * 4]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    settings = WeightsSettings(sample=2)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + rows * 8192 * 4)
    entries = open_checkpoint(tmp_path).tensors
    values = np.random.default_rng(8).standard_normal(BLOCK).astype("<f4")
    with path.open("r+b") as file:
        for begin, end in sample_ranges(entries, settings)[path]:
            assert end - begin == values.nbytes
            file.seek(begin)
            file.write(values.tobytes())
    (mark,) = of_folder(tmp_path, settings).marks
    assert mark.zeros == 0
    assert mark.rms == pytest.approx(1, abs=0.02)


def test_only_what_was_read_whole_can_be_bit_identical(model: Path) -> None:
    whole = of_folder(model, WeightsSettings())
    for sample in (1, 2, 10):
        assert of_folder(model, WeightsSettings(sample=sample)).digest == ""
    for sample in (11, 1000):
        made = of_folder(model, WeightsSettings(sample=sample))
        assert made.digest == whole.digest != ""
        assert made.marks == whole.marks
        np.testing.assert_array_equal(made.vectors, whole.vectors)
