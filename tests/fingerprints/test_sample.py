"""Sampled weights sketches: against the exact cosine of the values that were read, and against files whose other bytes
are poison."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from provray.fingerprints.sample import block_count, chosen_blocks
from provray.fingerprints.settings import FingerprintSettings, WeightsSettings
from provray.fingerprints.sketch import BLOCK, BlockSketcher
from provray.fingerprints.space import weights_space
from provray.fingerprints.weights import (
    TensorSource,
    TensorState,
    fingerprint_weights,
)
from tests.fingerprints.sampled import (
    F32,
    LARGE,
    blocks_of,
    cosine,
    fingerprint,
    made_network,
    of_folder,
)


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
        parent = made_network(0, f"net{t}.")
        child = _child(parent, 1)
        total = exact = 0.0
        for name, tensor in parent.items():
            numbers = chosen_blocks(tensor.shape, sample)
            x, y = (
                np.concatenate([part for part, _ in blocks_of(of[name], numbers)]).astype(
                    np.float64
                )
                for of in (parent, child)
            )
            x, y = x - x.mean(), y - y.mean()
            weight = float(tensor.size) ** (2 * settings.size_power)
            exact += weight * float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
            total += weight
        found = cosine(fingerprint(parent, settings), fingerprint(child, settings))
        errors.append(found - exact / total)
    assert np.abs(errors).max() < 3 / np.sqrt(settings.dimensions)
    assert float(np.sqrt(np.mean(np.square(errors)))) < 1 / np.sqrt(settings.dimensions)


def test_strangers_are_nothing_to_each_other_however_little_is_read() -> None:
    settings = WeightsSettings(dimensions=512, sample=1)
    prints = np.stack([fingerprint(made_network(seed), settings).vectors[0] for seed in range(24)])
    others = (prints @ prints.T)[np.triu_indices(24, 1)]
    assert np.abs(others).max() < 4.5 / np.sqrt(512)
    assert abs(others.mean()) < 0.015


def test_a_sampled_tensor_weighs_as_much_among_the_others_as_a_whole_one() -> None:
    ours, theirs = made_network(2), made_network(3)
    half = {**ours, "embed.weight": theirs["embed.weight"]}
    settings = WeightsSettings(dimensions=512, size_power=0.5)
    whole, sampled = (
        cosine(fingerprint(ours, s), fingerprint(half, s))
        for s in (settings, replace(settings, sample=1))
    )
    assert abs(whole - sampled) < 3 * np.sqrt(2 / 512)
    sizes = {n: float(t.size) ** (2 * settings.size_power) for n, t in ours.items()}
    expected = 1 - sizes["embed.weight"] / sum(sizes.values())
    assert abs(sampled - expected) < 3 / np.sqrt(512)


def test_order_of_tensors_does_not_matter_and_the_same_file_gives_the_same_numbers() -> None:
    settings = WeightsSettings(sample=2)
    network = made_network(4)
    made, again = (fingerprint(network, settings) for _ in range(2))
    np.testing.assert_array_equal(made.vectors, again.vectors)
    turned = fingerprint(dict(reversed(network.items())), settings)
    np.testing.assert_allclose(turned.vectors, made.vectors, atol=1e-6)
    assert turned.marks == made.marks == again.marks


# --- merge law

_SKETCHER = BlockSketcher(64)
_TENSOR = np.random.default_rng(5).standard_normal(LARGE).astype(np.float32) + 2


def _state(numbers: Sequence[int]) -> TensorState:
    state = TensorState("layer.weight", LARGE, 64)
    for number, (values, _) in zip(numbers, blocks_of(_TENSOR, numbers), strict=True):
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


# --- digests and marks


def test_tensors_within_the_sample_are_marked_as_ever() -> None:
    network = made_network(9)
    whole, sampled = (
        {m.name: m for m in fingerprint(network, WeightsSettings(sample=s)).marks} for s in (0, 4)
    )
    assert {n for n in whole if whole[n] == sampled[n]} == {"up.weight", "down.weight"}
    assert whole["embed.weight"].digest != sampled["embed.weight"].digest


def test_marks_of_a_sampled_tensor_are_those_of_its_sample() -> None:
    tensor = made_network(10)["embed.weight"]
    (mark,) = fingerprint({"w": tensor}, WeightsSettings(sample=3)).marks
    read = np.concatenate([p for p, _ in blocks_of(tensor, chosen_blocks(LARGE, 3))]).astype(float)
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
        fingerprint({"w": t}, settings).marks[0] for t in (tensor, rounded, pruned)
    )
    assert plain.distinct > 0.99
    assert plain.zeros == 0
    # fourteen values beside zero, which is a seventh of what is left
    assert int4.distinct < 15 / (0.75 * min(math.prod(shape[1:]), 1000))
    assert half.zeros == pytest.approx(0.5, abs=0.01)


def test_a_tensor_under_another_name_is_known_by_its_sample() -> None:
    tensor = made_network(12)["embed.weight"]
    settings = WeightsSettings(sample=1)
    ours, theirs = (
        fingerprint({name: tensor}, settings).marks[0]
        for name in ("layer.3.weight", "layer.2.weight")
    )
    assert replace(ours, name="") == replace(theirs, name="")


def test_a_change_beyond_the_sample_is_not_seen() -> None:
    """The price, stated: all that a sample says is said of the sample."""
    settings = WeightsSettings(sample=1)
    network = made_network(13)
    (read,) = chosen_blocks(LARGE, 1)
    changed = {n: t.copy() for n, t in network.items()}
    unread = changed["embed.weight"].ravel()
    unread[: read * BLOCK] += 1
    unread[(read + 1) * BLOCK :] += 1
    ours, theirs = fingerprint(network, settings), fingerprint(changed, settings)
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
    source = TensorSource("net.embed", "F32", LARGE, blocks_of(_TENSOR, numbers))
    with pytest.raises(ValueError, match=rf"net.embed.*of 11 that sample {sample} chooses"):
        fingerprint_weights([source], WeightsSettings(sample=sample))


def test_bfloat16_is_sampled_at_the_same_values(tmp_path: Path) -> None:
    from safetensors.torch import save_file as save_tensors

    tensor = torch.from_numpy(made_network(14)["embed.weight"]).bfloat16()
    settings = WeightsSettings(sample=2)
    made = []
    for name, of in (("half", tensor), ("full", tensor.float())):
        folder = tmp_path / name
        folder.mkdir()
        save_tensors({"w": of}, folder / "model.safetensors")
        made.append(of_folder(folder, settings))
    np.testing.assert_array_equal(made[0].vectors, made[1].vectors)
    assert made[0].marks[0].rms == made[1].marks[0].rms
