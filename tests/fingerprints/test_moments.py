"""Size and kurtosis of a tensor: exact, and the same however it was cut."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.sketch import BLOCK, BlockSketcher
from provray.fingerprints.weights import (
    TensorMark,
    TensorSource,
    TensorState,
    fingerprint_weights,
)


def _mark(tensor: np.ndarray, name: str = "w", dtype: str = "F32") -> TensorMark:
    flat = tensor.ravel()
    parts = [flat[i : i + BLOCK] for i in range(0, flat.size, BLOCK)]
    source = TensorSource(
        name, dtype, tensor.shape, [(p.astype(np.float32), p.tobytes()) for p in parts]
    )
    (mark,) = fingerprint_weights([source], WeightsSettings()).marks
    return mark


def _plain(values: np.ndarray) -> tuple[float, float]:
    """Root mean square and kurtosis about zero."""
    wide = values.astype(np.float64)
    return float(np.sqrt(np.mean(wide**2))), float(np.mean(wide**4) / np.mean(wide**2) ** 2)


def test_a_small_tensor_by_hand() -> None:
    """Squares 1, 4, 9, 16: mean 7.5. Fourth powers 1, 16, 81, 256: mean 88.5."""
    mark = _mark(np.array([[1.0, -2.0], [3.0, -4.0]], np.float32))
    assert mark.rms == pytest.approx(math.sqrt(7.5), rel=1e-15)
    assert mark.kurtosis == pytest.approx(88.5 / 7.5**2, rel=1e-15)
    assert mark.zeros == 0


def test_the_mean_stays_in_both() -> None:
    """About zero: gains around one are large and flat, and must not look like biases around zero."""
    mark = _mark(np.array([1.0, 1.0, 1.0, 2.0], np.float32))
    assert mark.rms == pytest.approx(math.sqrt(7 / 4))
    assert mark.kurtosis == pytest.approx((19 / 4) / (7 / 4) ** 2)


@pytest.mark.parametrize("value", [1.0, -1.0, 0.02])
def test_values_of_one_size_have_kurtosis_one(value: float) -> None:
    signs = np.where(np.random.default_rng(0).random(400) < 0.5, -1, 1)
    mark = _mark((value * signs).astype(np.float32))
    assert mark.kurtosis == pytest.approx(1, abs=1e-12)
    assert mark.rms == pytest.approx(abs(np.float32(value)), rel=1e-12)


@pytest.mark.parametrize(("shape", "dtype"), [((0, 4), np.float32), ((3, 5), np.float32)])
def test_nothing_and_zeros_are_zero(shape: tuple[int, ...], dtype: type) -> None:
    mark = _mark(np.zeros(shape, dtype))
    assert (mark.rms, mark.kurtosis) == (0.0, 0.0)


def test_normal_weights_have_kurtosis_three_whatever_their_size() -> None:
    tensor = np.random.default_rng(1).standard_normal((500, 400)).astype(np.float32)
    for scale in (1.0, 2.0**-10, 2.0**10):  # powers of two lose nothing
        mark = _mark(tensor * np.float32(scale))
        assert mark.rms == pytest.approx(scale * _plain(tensor)[0], rel=1e-12)
        assert mark.kurtosis == pytest.approx(3, abs=0.05)
        assert mark.kurtosis == pytest.approx(_plain(tensor)[1], rel=1e-12)


@pytest.mark.parametrize("value", [1e30, 3e38, 1e-30])
def test_huge_and_tiny_values_make_no_nonsense(value: float) -> None:
    mark = _mark(np.array([value, -value, value / 2, 0], np.float32))
    assert math.isfinite(mark.rms)
    assert mark.rms == pytest.approx(value * 0.75, rel=1e-6)
    assert math.isfinite(mark.kurtosis)


def test_tensors_that_do_not_count_are_measured_too() -> None:
    """Heads, statistics, small tensors and counters: a counter's size is its value."""
    rng = np.random.default_rng(2)
    for name in ("classifier.weight", "bn.running_mean", "layer.bias"):
        values = rng.standard_normal(5).astype(np.float32)
        mark = _mark(values, name)
        assert (mark.rms, mark.kurtosis) == pytest.approx(_plain(values))
    assert _mark(np.array(450, np.int64), "bn.num_batches_tracked", "I64").rms == 450


_TENSOR = np.random.default_rng(3).standard_normal((37, 8000)).astype(np.float32) + 1  # 4.5 blocks
_SKETCHER = BlockSketcher(64)


def _state(numbers: list[int], sketched: bool) -> TensorState:
    state = TensorState("w", _TENSOR.shape, 64)
    for number in numbers:
        block = _TENSOR.ravel()[number * BLOCK : (number + 1) * BLOCK]
        if sketched:
            state.add(block, number, _SKETCHER)
        else:
            state.count_values(block)
    return state


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)), st.lists(st.integers(1, 4), max_size=4), st.booleans())
def test_blocks_merged_in_any_order_measure_the_same(
    order: list[int], cuts: list[int], sketched: bool
) -> None:
    edges = [0, *sorted(set(cuts)), 5]
    first, *rest = (_state(order[a:b], sketched) for a, b in itertools.pairwise(edges))
    for state in rest:
        first.merge(copy.deepcopy(state))
    mark = first.mark("0" * 16, 1.0)
    assert (mark.rms, mark.kurtosis) == pytest.approx(_plain(_TENSOR), rel=1e-12)
    assert mark.zeros == 0


def test_a_part_is_not_the_whole() -> None:
    part, whole = (_state(numbers, False).mark("", 1.0) for numbers in ([0], [0, 1, 2, 3, 4]))
    assert part.rms != whole.rms
    assert part.kurtosis != whole.kurtosis
