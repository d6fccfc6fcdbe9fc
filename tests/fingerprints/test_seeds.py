"""Random streams: frozen for ever, addressable anywhere, and fair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provray.fingerprints.seeds import integers, key_of, permutation, signs, words

GOLDEN = 5434833403847302432
"""key_of("golden")."""


def _splitmix64(seed: int, count: int) -> list[int]:
    """The published generator, one step at a time in Python's integers."""
    mask = 2**64 - 1
    made, state = [], seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        made.append(z ^ (z >> 31))
    return made


# A change of any of these makes every fingerprint ever stored incomparable: raise `space.FORMAT` with it.
def test_keys_are_frozen() -> None:
    assert key_of("golden") == GOLDEN
    assert key_of("a") == 3405396810240292928
    assert key_of("dna-r", "0123456789abcdef") == 5118054914051442315
    assert key_of("weights", "layer.0.weight", 4, 8) == 12751764700755849505


def test_words_are_frozen() -> None:
    assert words(GOLDEN, 4).tolist() == [
        7318158712912212689,
        17641946081970484913,
        2981416948673004839,
        14733238303716234604,
    ]
    # The largest key and a far counter wrap around without a warning.
    assert words(2**64 - 1, 2, start=10**12).tolist() == [
        16091484694707276405,
        12123836000338882555,
    ]


def test_signs_are_frozen() -> None:
    drawn = "".join("+" if s > 0 else "-" for s in signs(GOLDEN, 70))
    assert drawn == "++-+---+++++--+-----++++-+++++-++--+--++-+-+--+-+---++++-++--+-++-++--"


def test_integers_and_orders_are_frozen() -> None:
    assert integers(GOLDEN, 8, 10).tolist() == [3, 9, 1, 7, 4, 0, 9, 5]
    assert permutation(GOLDEN, 8).tolist() == [5, 2, 0, 4, 7, 3, 1, 6]


@given(st.integers(0, 2**64 - 1))
def test_words_are_those_of_splitmix64(key: int) -> None:
    assert words(key, 5).tolist() == _splitmix64(key, 5)


@given(st.integers(0, 2**64 - 1), st.integers(0, 200), st.integers(0, 200))
def test_a_stream_can_be_entered_anywhere(key: int, start: int, count: int) -> None:
    np.testing.assert_array_equal(words(key, count, start), words(key, start + count)[start:])


@given(st.integers(0, 2**64 - 1), st.integers(1, 300), st.integers(1, 300))
def test_fewer_signs_are_the_beginning_of_more(key: int, a: int, b: int) -> None:
    short, long = sorted((a, b))
    drawn = signs(key, short)
    np.testing.assert_array_equal(drawn, signs(key, long)[:short])
    assert drawn.shape == (short,)
    assert set(np.unique(drawn)) <= {-1, 1}


def test_signs_are_balanced_and_independent_between_keys() -> None:
    count = 20_000
    drawn = np.stack([signs(key_of("balance", i), count) for i in range(20)]).astype(float)
    assert np.abs(drawn.mean(axis=1)).max() < 4.5 / np.sqrt(count)
    assert abs(drawn.mean()) < 4.5 / np.sqrt(drawn.size)
    products = drawn @ drawn.T / count
    assert np.abs(products - np.eye(20)).max() < 4.5 / np.sqrt(count)
    # Nor is a sign tied to the one before it, or to the one a word (64 signs) before.
    for lag in (1, 8, 64):
        assert abs((drawn[:, lag:] * drawn[:, :-lag]).mean()) < 4.5 / np.sqrt(drawn.size)


@pytest.mark.parametrize("below", [1, 2, 3, 10, 257, 2**20])
def test_integers_are_uniform_below_their_bound(below: int) -> None:
    drawn = integers(key_of("uniform", below), 50_000, below)
    assert drawn.min() >= 0
    assert drawn.max() < below
    bins = min(below, 10)
    counts = np.bincount(drawn * bins // below, minlength=bins)
    # Bins hold equal numbers of values, up to one value when `below` is no multiple of them.
    expected = np.bincount(np.arange(below) * bins // below, minlength=bins) / below * drawn.size
    assert np.all(np.abs(counts - expected) < 4.5 * np.sqrt(expected))


@given(st.integers(0, 2**64 - 1), st.integers(0, 300))
def test_a_permutation_holds_every_place_once(key: int, count: int) -> None:
    assert sorted(permutation(key, count).tolist()) == list(range(count))


def test_parts_of_a_key_do_not_run_together() -> None:
    keys = [key_of("ab", "c"), key_of("a", "bc"), key_of("abc"), key_of("a", "b", "c")]
    keys += [key_of("w", 12, 3), key_of("w", 1, 23), key_of("w", 3, 12), key_of("w", 123)]
    assert len(set(keys)) == len(keys)
