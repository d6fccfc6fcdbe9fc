"""Sampled weights sketches: against the exact cosine of the values that were read, and against files whose other bytes
are poison."""

from __future__ import annotations

import itertools
import json
import math
import struct
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from provray.fingerprints.sample import Span, block_count, chosen_blocks, sample_ranges
from provray.fingerprints.settings import FingerprintSettings, WeightsSettings
from provray.fingerprints.sketch import BLOCK, BlockSketcher
from provray.fingerprints.space import weights_space
from provray.fingerprints.weights import (
    TensorSource,
    TensorState,
    WeightsFingerprint,
    fingerprint_weights,
)
from provray.models.checkpoint import TensorEntry, iter_tensor, open_checkpoint
from provray.models.errors import BrokenModel

F32 = npt.NDArray[np.float32]
LARGE = (700, 1000)  # 10.7 blocks


def _sources(entries: Iterable[TensorEntry], sample: int) -> Iterator[TensorSource]:
    for entry in entries:
        blocks = iter_tensor(entry, BLOCK, chosen_blocks(entry.shape, sample))
        yield TensorSource(entry.name, entry.dtype, entry.shape, blocks)


def _of_folder(folder: Path, settings: WeightsSettings) -> WeightsFingerprint:
    return fingerprint_weights(_sources(open_checkpoint(folder).tensors, settings.sample), settings)


def _blocks(tensor: F32, numbers: Iterable[int]) -> list[tuple[F32, bytes]]:
    parts = [tensor.ravel()[n * BLOCK : (n + 1) * BLOCK] for n in numbers]
    return [(part, part.tobytes()) for part in parts]


def _fingerprint(tensors: Mapping[str, F32], settings: WeightsSettings) -> WeightsFingerprint:
    return fingerprint_weights(
        (
            TensorSource(n, "F32", t.shape, _blocks(t, chosen_blocks(t.shape, settings.sample)))
            for n, t in tensors.items()
        ),
        settings,
    )


def _cosine(a: WeightsFingerprint, b: WeightsFingerprint) -> float:
    return float(a.vectors[0] @ b.vectors[0])


def _network(seed: int, prefix: str = "") -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    shapes = {"embed.weight": LARGE, "up.weight": (400, 500), "down.weight": (60, 80)}
    return {
        prefix + n: (0.3 + rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()
    }


def _child(parent: Mapping[str, F32], seed: int) -> dict[str, F32]:
    """Its rows moved by different amounts, the last ones most: the sample is not the whole in small."""
    rng = np.random.default_rng([seed, 1])
    return {
        n: (t + np.linspace(0, 2, len(t))[:, None] * rng.standard_normal(t.shape)).astype(
            np.float32
        )
        for n, t in parent.items()
    }


# --- which blocks


@given(
    st.lists(st.integers(0, 3000), max_size=3),
    st.integers(0, 40),
)
@hypothesis_settings(max_examples=200)
def test_a_sample_is_so_many_full_blocks_in_order_or_the_whole_tensor(
    shape: list[int], sample: int
) -> None:
    numbers = list(chosen_blocks(shape, sample))
    count = block_count(shape)
    if not sample or count <= sample:
        assert numbers == list(range(count))
    else:
        assert len(numbers) == sample
        assert numbers == sorted(set(numbers))
        assert numbers[0] >= 0
        assert (numbers[-1] + 1) * BLOCK <= math.prod(shape)


@pytest.mark.parametrize(
    ("shape", "sample", "numbers"),
    [
        (LARGE, 1, [9]),
        (LARGE, 4, [1, 4, 5, 8]),
        ((1000, 700), 1, [4]),
        ((1000, 700), 4, [0, 2, 5, 8]),
        ((30522, 384), 1, [106]),
        ((30522, 384), 4, [26, 73, 128, 138]),
    ],
)
def test_blocks_that_are_read_are_the_same_for_ever(
    shape: tuple[int, int], sample: int, numbers: list[int]
) -> None:
    assert list(chosen_blocks(shape, sample)) == numbers


def test_every_place_is_read_of_some_shape_and_none_of_every_shape() -> None:
    shapes = [(rows, 10 * BLOCK // rows + 1) for rows in range(1, 301)]
    seen = np.bincount([n for shape in shapes for n in chosen_blocks(shape, 2)], minlength=10)
    # two of ten blocks each, so a fifth of 300 shapes, give or take four standard deviations
    assert np.abs(seen[:10] - 60).max() < 4 * np.sqrt(300 * 0.2 * 0.8)


def test_a_sample_is_spread_over_the_tensor() -> None:
    numbers = chosen_blocks((100 * BLOCK,), 10)
    assert [number // 10 for number in numbers] == list(range(10))


def test_a_tensor_of_any_declared_size_costs_nothing_to_sample() -> None:
    """A header may claim whatever it likes."""
    tracemalloc.start()
    assert len(chosen_blocks((2**31, 2**31), 16)) == 16
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("sample", [-1, -16])
def test_a_sample_is_no_less_than_nothing_left_out(sample: int) -> None:
    with pytest.raises(ValueError, match=f"sample must be a number of blocks.*{sample}"):
        WeightsSettings(sample=sample)


# --- spaces


def test_reading_everything_is_the_space_it_always_was_and_every_sample_is_one_of_its_own() -> None:
    whole = FingerprintSettings()
    assert weights_space(whole).id == "weights-b0201c58f63d6a75"
    ids = {
        weights_space(replace(whole, weights=WeightsSettings(sample=sample))).id
        for sample in (0, 1, 2, 4, 8, 16)
    }
    assert len(ids) == 6
    assert "weights-8d58c2227d536d7c" in ids  # of four blocks
    assert "weights-b0201c58f63d6a75" in ids


# --- against the exact quantity


@pytest.mark.parametrize("sample", [1, 3])
def test_cosine_is_the_mean_cosine_of_the_values_that_were_read(sample: int) -> None:
    """Weighed by the size of whole tensors. Tensor names seed the sketch, so renaming the network draws another one."""
    settings = WeightsSettings(dimensions=512, sample=sample)
    errors = []
    for t in range(12):
        parent = _network(0, f"net{t}.")
        child = _child(parent, 1)
        total = exact = 0.0
        for name, tensor in parent.items():
            numbers = chosen_blocks(tensor.shape, sample)
            x, y = (
                np.concatenate([part for part, _ in _blocks(of[name], numbers)]).astype(np.float64)
                for of in (parent, child)
            )
            x, y = x - x.mean(), y - y.mean()
            weight = float(tensor.size) ** (2 * settings.size_power)
            exact += weight * float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
            total += weight
        found = _cosine(_fingerprint(parent, settings), _fingerprint(child, settings))
        errors.append(found - exact / total)
    assert np.abs(errors).max() < 3 / np.sqrt(settings.dimensions)
    assert float(np.sqrt(np.mean(np.square(errors)))) < 1 / np.sqrt(settings.dimensions)


def test_strangers_are_nothing_to_each_other_however_little_is_read() -> None:
    settings = WeightsSettings(dimensions=512, sample=1)
    prints = np.stack([_fingerprint(_network(seed), settings).vectors[0] for seed in range(24)])
    others = (prints @ prints.T)[np.triu_indices(24, 1)]
    assert np.abs(others).max() < 4.5 / np.sqrt(512)
    assert abs(others.mean()) < 0.015


def test_a_sampled_tensor_weighs_as_much_among_the_others_as_a_whole_one() -> None:
    ours, theirs = _network(2), _network(3)
    half = {**ours, "embed.weight": theirs["embed.weight"]}
    settings = WeightsSettings(dimensions=512, size_power=0.5)
    whole, sampled = (
        _cosine(_fingerprint(ours, s), _fingerprint(half, s))
        for s in (settings, replace(settings, sample=1))
    )
    assert abs(whole - sampled) < 3 * np.sqrt(2 / 512)
    sizes = {n: float(t.size) ** (2 * settings.size_power) for n, t in ours.items()}
    expected = 1 - sizes["embed.weight"] / sum(sizes.values())
    assert abs(sampled - expected) < 3 / np.sqrt(512)


def test_order_of_tensors_does_not_matter_and_the_same_file_gives_the_same_numbers() -> None:
    settings = WeightsSettings(sample=2)
    network = _network(4)
    made, again = (_fingerprint(network, settings) for _ in range(2))
    np.testing.assert_array_equal(made.vectors, again.vectors)
    turned = _fingerprint(dict(reversed(network.items())), settings)
    np.testing.assert_allclose(turned.vectors, made.vectors, atol=1e-6)
    assert turned.marks == made.marks == again.marks


# --- merge law

_SKETCHER = BlockSketcher(64)
_TENSOR = np.random.default_rng(5).standard_normal(LARGE).astype(np.float32) + 2


def _state(numbers: Sequence[int]) -> TensorState:
    state = TensorState("layer.weight", LARGE, 64)
    for number, (values, _) in zip(numbers, _blocks(_TENSOR, numbers), strict=True):
        state.add(values, number, _SKETCHER)
    return state


@given(st.permutations(list(chosen_blocks(LARGE, 5))), st.integers(0, 5))
def test_sampled_blocks_add_up_in_any_order_and_any_parts(order: list[int], cut: int) -> None:
    whole = _state(chosen_blocks(LARGE, 5))
    merged = _state(order[:cut])
    merged.merge(_state(order[cut:]))
    expected = whole.finish(0.125)
    np.testing.assert_allclose(merged.finish(0.125), expected, atol=1e-6 * np.linalg.norm(expected))
    assert merged.count == whole.count == 5 * BLOCK


# --- nothing else is read


def _ranges(folder: Path, sample: int) -> dict[Path, tuple[Span, ...]]:
    return sample_ranges(open_checkpoint(folder).tensors, WeightsSettings(sample=sample))


def _bytes_in(ranges: Mapping[Path, Sequence[Span]]) -> int:
    return sum(end - begin for spans in ranges.values() for begin, end in spans)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two files: float32 and float16 matrices larger than a sample, small ones, integers, an empty one."""
    folder = tmp_path / "model"
    folder.mkdir()
    network = _network(6)
    first = {**network, "ids": np.arange(90_000).reshape(300, 300)}
    second = {
        "half.weight": _network(7)["embed.weight"].astype(np.float16),
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
    read, expected = _of_folder(tmp_path / "poisoned", settings), _of_folder(model, settings)
    np.testing.assert_array_equal(read.vectors, expected.vectors)
    assert read.marks == expected.marks
    assert _bytes_in(ranges) < open_checkpoint(model).nbytes
    # and the poison is deadly: whoever reads more meets it
    with pytest.raises(BrokenModel, match="NaN"):
        _of_folder(tmp_path / "poisoned", WeightsSettings(sample=sample + 1))


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
                assert _of_folder(broken, settings).marks != _of_folder(model, settings).marks


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
    made, expected = _of_folder(sparse, settings), _of_folder(model, settings)
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
    (mark,) = _of_folder(tmp_path, settings).marks
    assert mark.zeros == 0
    assert mark.rms == pytest.approx(1, abs=0.02)


# --- digests and marks


def test_only_what_was_read_whole_can_be_bit_identical(model: Path) -> None:
    whole = _of_folder(model, WeightsSettings())
    for sample in (1, 2, 10):
        assert _of_folder(model, WeightsSettings(sample=sample)).digest == ""
    for sample in (11, 1000):
        made = _of_folder(model, WeightsSettings(sample=sample))
        assert made.digest == whole.digest != ""
        assert made.marks == whole.marks
        np.testing.assert_array_equal(made.vectors, whole.vectors)


def test_tensors_within_the_sample_are_marked_as_ever() -> None:
    network = _network(9)
    whole, sampled = (
        {m.name: m for m in _fingerprint(network, WeightsSettings(sample=s)).marks} for s in (0, 4)
    )
    assert {n for n in whole if whole[n] == sampled[n]} == {"up.weight", "down.weight"}
    assert whole["embed.weight"].digest != sampled["embed.weight"].digest


def test_marks_of_a_sampled_tensor_are_those_of_its_sample() -> None:
    tensor = _network(10)["embed.weight"]
    (mark,) = _fingerprint({"w": tensor}, WeightsSettings(sample=3)).marks
    read = np.concatenate([p for p, _ in _blocks(tensor, chosen_blocks(LARGE, 3))]).astype(float)
    assert mark.shape == LARGE
    assert mark.rms == pytest.approx(np.sqrt(np.mean(read**2)), rel=1e-9)
    assert mark.kurtosis == pytest.approx(np.mean(read**4) / np.mean(read**2) ** 2, rel=1e-9)
    assert mark.zeros == 0
    assert mark.distinct > 0.99


@pytest.mark.parametrize("shape", [LARGE, (4000, 100), (3, 200_000), (20, 10, 60, 60)])
@pytest.mark.parametrize("sample", [1, 2, 4])
def test_marks_of_a_sample_see_pruning_and_rounding(shape: tuple[int, ...], sample: int) -> None:
    """One scale a row: a sampled row must not straddle two where rows are short."""
    rng = np.random.default_rng(11)
    tensor = rng.standard_normal(shape).astype(np.float32)
    scale = np.abs(tensor).max(axis=tuple(range(1, len(shape))), keepdims=True) / 7
    rounded = (np.round(tensor / scale) * scale).astype(np.float32)
    pruned = np.where(np.abs(tensor) < 0.6745, 0, tensor).astype(np.float32)
    settings = WeightsSettings(sample=sample)
    plain, int4, half = (
        _fingerprint({"w": t}, settings).marks[0] for t in (tensor, rounded, pruned)
    )
    assert plain.distinct > 0.99
    assert plain.zeros == 0
    # fourteen values beside zero, which is a seventh of what is left
    assert int4.distinct < 15 / (0.75 * min(math.prod(shape[1:]), 1000))
    assert half.zeros == pytest.approx(0.5, abs=0.01)


def test_a_tensor_under_another_name_is_known_by_its_sample() -> None:
    tensor = _network(12)["embed.weight"]
    settings = WeightsSettings(sample=1)
    ours, theirs = (
        _fingerprint({name: tensor}, settings).marks[0]
        for name in ("layer.3.weight", "layer.2.weight")
    )
    assert replace(ours, name="") == replace(theirs, name="")


def test_a_change_beyond_the_sample_is_not_seen() -> None:
    """The price, stated: all that a sample says is said of the sample."""
    settings = WeightsSettings(sample=1)
    network = _network(13)
    (read,) = chosen_blocks(LARGE, 1)
    changed = {n: t.copy() for n, t in network.items()}
    unread = changed["embed.weight"].ravel()
    unread[: read * BLOCK] += 1
    unread[(read + 1) * BLOCK :] += 1
    ours, theirs = _fingerprint(network, settings), _fingerprint(changed, settings)
    assert ours.marks == theirs.marks
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)
    assert ours.digest == theirs.digest == ""


# --- sources that do not fit the settings


@pytest.mark.parametrize(
    ("sample", "numbers"),
    [(1, range(11)), (0, [3]), (0, range(10)), (2, [4]), (1, []), (11, range(10))],
)
def test_blocks_that_the_settings_do_not_choose_are_an_error(
    sample: int, numbers: Sequence[int]
) -> None:
    source = TensorSource("net.embed", "F32", LARGE, _blocks(_TENSOR, numbers))
    with pytest.raises(ValueError, match=rf"net.embed.*of 11 that sample {sample} chooses"):
        fingerprint_weights([source], WeightsSettings(sample=sample))


def test_bfloat16_is_sampled_at_the_same_values(tmp_path: Path) -> None:
    from safetensors.torch import save_file as save_tensors

    tensor = torch.from_numpy(_network(14)["embed.weight"]).bfloat16()
    settings = WeightsSettings(sample=2)
    made = []
    for name, of in (("half", tensor), ("full", tensor.float())):
        folder = tmp_path / name
        folder.mkdir()
        save_tensors({"w": of}, folder / "model.safetensors")
        made.append(_of_folder(folder, settings))
    np.testing.assert_array_equal(made[0].vectors, made[1].vectors)
    assert made[0].marks[0].rms == made[1].marks[0].rms
