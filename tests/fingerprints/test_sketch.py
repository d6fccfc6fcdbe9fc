"""Count-sketches: linear, unbiased, and as exact as their docstrings say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provray.fingerprints.seeds import key_of
from provray.fingerprints.sketch import (
    BLOCK,
    BlockSketcher,
    cosine,
    count_sketch,
    count_sketch_sum,
    unit,
)


def _pair(n: int, seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of n values that have about `share` in common."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, n))
    return x, share * x + np.sqrt(1 - share**2) * y


def test_count_sketch_is_frozen() -> None:
    sketch = count_sketch(np.arange(1.0, 9.0), key_of("golden"), 4)
    assert sketch.tolist() == [-3.0, -4.0, -8.0, -9.0]


@given(
    st.integers(0, 2**64 - 1),
    st.integers(2, 120),
    st.data(),
    st.sampled_from([2, 4, 16, 512]),
)
def test_count_sketch_adds_over_parts(key: int, n: int, data: st.DataObject, m: int) -> None:
    x = np.random.default_rng(n).standard_normal(n)
    cut = data.draw(st.integers(0, n))
    whole = count_sketch(x, key, m)
    parts = count_sketch(x[:cut], key, m) + count_sketch(x[cut:], key, m, start=cut)
    assert whole.shape == (m,)
    np.testing.assert_allclose(parts, whole, atol=1e-12)


@given(st.integers(0, 2**64 - 1), st.floats(-3, 3), st.floats(-3, 3))
def test_count_sketch_is_linear(key: int, a: float, b: float) -> None:
    x, y = _pair(50, 0, 0.2)
    np.testing.assert_allclose(
        count_sketch(a * x + b * y, key, 16),
        a * count_sketch(x, key, 16) + b * count_sketch(y, key, 16),
        atol=1e-12,
    )


@pytest.mark.parametrize("share", [0.0, 0.5, -0.9, 1.0])
def test_count_sketch_keeps_inner_products_in_expectation(share: float) -> None:
    m, trials = 64, 2000
    x, y = _pair(100, 1, share)
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    found = np.array(
        [
            count_sketch(x, key_of("trial", t), m) @ count_sketch(y, key_of("trial", t), m)
            for t in range(trials)
        ]
    )
    bound = np.sqrt(2 / m)  # the standard deviation that the module states
    assert abs(found.mean() - x @ y) < 4.5 * bound / np.sqrt(trials)
    assert found.std() < 1.1 * bound


def test_sum_of_sketches_is_what_one_at_a_time_adds_up_to() -> None:
    values = np.random.default_rng(3).standard_normal((7, 40)).astype(np.float32)
    keys = [key_of("vector", i) for i in range(7)]
    plain = sum(count_sketch(v, k, 16) for v, k in zip(values, keys, strict=True))
    np.testing.assert_allclose(count_sketch_sum(values, keys, 16), plain, atol=1e-12)
    with pytest.raises(ValueError, match="as many keys"):
        count_sketch_sum(values, keys[:-1], 16)


def test_count_sketches_of_two_keys_have_nothing_in_common() -> None:
    x, _ = _pair(200, 2, 0.0)
    x /= np.linalg.norm(x)
    m, trials = 64, 500
    found = np.array(
        [
            count_sketch(x, key_of("one", t), m) @ count_sketch(x, key_of("two", t), m)
            for t in range(trials)
        ]
    )
    assert abs(found.mean()) < 4.5 * np.sqrt(2 / m / trials)


def test_unit_and_cosine_leave_zero_at_zero() -> None:
    vectors = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(unit(vectors), [[0.6, 0.8], [0.0, 0.0]], atol=1e-7)
    np.testing.assert_allclose(cosine(vectors, vectors), [1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(cosine(vectors[0], -2 * vectors[0]), -1.0, atol=1e-12)


def test_unit_of_very_small_float32_values_does_not_underflow() -> None:
    tiny = np.array([3e-30, 4e-30], np.float32)
    np.testing.assert_allclose(unit(tiny), [0.6, 0.8], atol=1e-6)


@pytest.mark.parametrize("n", [100, 5_000, BLOCK])
def test_block_sketch_keeps_inner_products_in_expectation(n: int) -> None:
    m, trials = 32, 60
    sketcher = BlockSketcher(m)
    x, y = _pair(n, 3, 0.6)
    x, y = (v / np.linalg.norm(v) for v in (x, y))
    found = []
    for t in range(trials):
        key = key_of("trial", t)
        a, _ = sketcher.add(x.astype(np.float32), key, 0)
        b, _ = sketcher.add(y.astype(np.float32), key, 0)
        found.append(a @ b)
    assert abs(np.mean(found) - x @ y) < 4.5 * np.sqrt(2 / m / trials)


def test_block_sketch_of_ones_is_the_sketch_of_a_block_of_ones() -> None:
    sketcher = BlockSketcher(64)
    for n in (1, 63, 64, 1000, BLOCK):
        values, ones = sketcher.add(np.ones(n, np.float32), key_of("ones"), 5)
        np.testing.assert_array_equal(values, ones)
        # Every value is counted exactly once, with a sign: parity and size follow.
        assert int(ones.sum() - n) % 2 == 0
        assert np.abs(ones).sum() <= n


def test_block_sketch_gives_every_value_a_bucket_of_a_balanced_order() -> None:
    """As many buckets as values: each takes exactly one. Fewer are the same ones laid over each other."""
    block = np.random.default_rng(6).standard_normal(BLOCK).astype(np.float32)
    fine, fine_ones = BlockSketcher(BLOCK).add(block, key_of("balance"), 0)
    assert np.all(np.abs(fine_ones) == 1)
    np.testing.assert_array_equal(np.sort(np.abs(fine)), np.sort(np.abs(block.astype(np.float64))))
    coarse, coarse_ones = BlockSketcher(16).add(block, key_of("balance"), 0)
    np.testing.assert_allclose(coarse, fine.reshape(-1, 16).sum(axis=0), atol=1e-9)
    np.testing.assert_array_equal(coarse_ones, fine_ones.reshape(-1, 16).sum(axis=0))


def test_blocks_and_keys_have_signs_of_their_own() -> None:
    sketcher = BlockSketcher(512)
    x = np.random.default_rng(4).standard_normal(BLOCK).astype(np.float32)
    x /= np.linalg.norm(x)
    here, _ = sketcher.add(x, key_of("a"), 0)
    for key, number in ((key_of("a"), 1), (key_of("b"), 0)):
        there, _ = sketcher.add(x, key, number)
        assert abs(cosine(here, there)) < 4.5 / np.sqrt(512)


def test_block_sketch_leaves_its_input_alone() -> None:
    x = np.random.default_rng(5).standard_normal(BLOCK).astype(np.float32)
    before = x.copy()
    BlockSketcher(64).add(x, key_of("a"), 0)
    np.testing.assert_array_equal(x, before)
