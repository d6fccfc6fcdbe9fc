"""The sketch of biases and gains: what is alike there was learned, where matrices may only have begun alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.sketch import BLOCK
from provray.fingerprints.weights import (
    READOUTS,
    TensorSource,
    WeightsFingerprint,
    fingerprint_weights,
)

F32 = npt.NDArray[np.float32]
MATRICES, BIASES = READOUTS.index("weights"), READOUTS.index("biases")
DIMENSIONS = WeightsSettings().dimensions
CHANCE = 4.5 / np.sqrt(DIMENSIONS)
LENGTHS = (300, 500, 200)


def _fingerprint(
    tensors: Mapping[str, npt.NDArray[np.generic]], settings: WeightsSettings | None = None
) -> WeightsFingerprint:
    names: dict[Any, str] = {np.dtype(np.float32): "F32", np.dtype(np.int32): "I32"}

    def blocks(flat: npt.NDArray[np.generic]) -> list[tuple[F32, bytes]]:
        parts = [flat[i : i + BLOCK] for i in range(0, flat.size, BLOCK)]
        return [(part.astype(np.float32), part.tobytes()) for part in parts]

    sources = (
        TensorSource(n, names[a.dtype], a.shape, blocks(a.ravel())) for n, a in tensors.items()
    )
    return fingerprint_weights(sources, settings or WeightsSettings())


def _cosine(a: WeightsFingerprint, b: WeightsFingerprint, readout: int) -> float:
    return float(a.vectors[readout] @ b.vectors[readout])


def _start(seed: int) -> dict[str, F32]:
    """A network before training: random matrices, biases of zero, gains of one."""
    rng = np.random.default_rng(seed)
    made: dict[str, F32] = {}
    for layer, length in enumerate(LENGTHS):
        made[f"layer.{layer}.weight"] = rng.standard_normal((length, 40)).astype(np.float32)
        made[f"layer.{layer}.bias"] = np.zeros(length, np.float32)
        made[f"norm.{layer}.weight"] = np.ones(length, np.float32)
    return made


def _trained(start: Mapping[str, F32], seed: int, by: float = 0.3) -> dict[str, F32]:
    """Every value moves a little, in directions of this seed's own."""
    rng = np.random.default_rng([seed, 1])
    return {n: (t + by * rng.standard_normal(t.shape)).astype(np.float32) for n, t in start.items()}


def test_two_networks_of_one_start_are_alike_in_matrices_and_in_nothing_learned() -> None:
    start = _start(0)
    a, b = _fingerprint(_trained(start, 1)), _fingerprint(_trained(start, 2))
    assert _cosine(a, b, MATRICES) == pytest.approx(1 / 1.09, abs=0.03)
    assert abs(_cosine(a, b, BIASES)) < CHANCE


def test_a_child_keeps_what_its_parent_learned() -> None:
    parent = _trained(_start(0), 1)
    child = _fingerprint(_trained(parent, 3, by=0.05))
    assert _cosine(child, _fingerprint(parent), MATRICES) > 0.99
    # a step of .05 on values of which the learned part is .3
    assert _cosine(child, _fingerprint(parent), BIASES) == pytest.approx(
        1 / np.sqrt(1 + (0.05 / 0.3) ** 2), abs=0.02
    )


def test_a_start_alone_has_no_direction() -> None:
    """Constants of whatever value: a zero vector, which no one is near to."""
    made = _fingerprint(_start(0))
    np.testing.assert_array_equal(made.vectors[BIASES], 0)
    assert np.linalg.norm(made.vectors[MATRICES]) == pytest.approx(1, abs=1e-6)
    for value in (0.1, -1e-3, 3e4):
        constant = {"norm.weight": np.full(500, value, np.float32)}
        np.testing.assert_array_equal(_fingerprint(constant).vectors, 0)


def test_constants_beside_learned_ones_change_nothing() -> None:
    learned = {"layer.0.bias": _trained(_start(0), 1)["layer.0.bias"]}
    both = {**learned, "norm.weight": np.full(500, 0.1, np.float32)}
    np.testing.assert_allclose(_fingerprint(both).vectors, _fingerprint(learned).vectors, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "bn.running_mean",
        "layer.0.bn.running_var",
        "classifier.bias",
        "bert.pooler.dense.bias",
        "lm_head.bias",
        "score.bias",
        "rotary.inv_freq",
        "h.0.attn.bias",
    ],
)
def test_statistics_heads_and_tables_do_not_count(name: str) -> None:
    network = _trained(_start(0), 1)
    extra = np.random.default_rng(4).standard_normal(500).astype(np.float32)
    made = _fingerprint({**network, name: extra})
    np.testing.assert_array_equal(made.vectors, _fingerprint(network).vectors)
    np.testing.assert_array_equal(_fingerprint({name: extra}).vectors, 0)


@pytest.mark.parametrize(
    "name", ["norm.weight", "attention.output.bias", "layer.0.headway.bias", "attn.c_attn.bias"]
)
def test_learned_lines_of_the_body_count(name: str) -> None:
    line = np.random.default_rng(5).standard_normal(500).astype(np.float32)
    made = _fingerprint({name: line})
    assert np.linalg.norm(made.vectors[BIASES]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(made.vectors[MATRICES], 0)


def test_integers_and_scalars_do_not_count() -> None:
    made = _fingerprint(
        {"table": np.arange(100, dtype=np.int32), "scale": np.array(2.5, np.float32)}
    )
    np.testing.assert_array_equal(made.vectors, 0)
    assert {m.name for m in made.marks} == {"table", "scale"}


def test_min_bias_elements_is_the_first_length_that_counts() -> None:
    line = {"b": np.random.default_rng(6).standard_normal(8).astype(np.float32)}
    at, above = (_fingerprint(line, WeightsSettings(min_bias_elements=n)) for n in (8, 9))
    assert np.linalg.norm(at.vectors[BIASES]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(above.vectors, 0)
    # matrices have a limit of their own
    matrix = {"w": np.random.default_rng(6).standard_normal((2, 4)).astype(np.float32)}
    np.testing.assert_array_equal(_fingerprint(matrix).vectors, 0)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_cosine_is_the_mean_over_lines_by_their_length(power: float) -> None:
    """At power 1/2 every value counts alike. Averaged over names, which seed the sketch."""
    settings = WeightsSettings(bias_power=power)
    errors = []
    for t in range(24):
        rng = np.random.default_rng(t)
        ours = {
            f"n{t}.{i}.bias": rng.standard_normal(n).astype(np.float32)
            for i, n in enumerate((2000, 16, 16))
        }
        theirs = {n: (b + i * rng.standard_normal(b.size)).astype(np.float32)
                  for i, (n, b) in enumerate(ours.items())}  # fmt: skip
        exact = total = 0.0
        for name, line in ours.items():
            x, y = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (line, theirs[name]))
            weight = float(line.size) ** (2 * power)
            exact += weight * float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
            total += weight
        found = _cosine(_fingerprint(ours, settings), _fingerprint(theirs, settings), BIASES)
        errors.append(found - exact / total)
    rms = float(np.sqrt(np.mean(np.square(errors))))
    assert rms < 1.5 / np.sqrt(DIMENSIONS)
    assert abs(np.mean(errors)) < 4 * rms / np.sqrt(24) + 2 / DIMENSIONS


def test_readouts_do_not_mix() -> None:
    network = _trained(_start(0), 1)
    other = _trained(_start(7), 8)
    swapped = {n: (other if t.ndim == 1 else network)[n] for n, t in network.items()}
    made, whole, foreign = (_fingerprint(t) for t in (swapped, network, other))
    assert made.vectors.shape == (2, DIMENSIONS)
    assert made.vectors.dtype == np.float32
    np.testing.assert_array_equal(made.vectors[MATRICES], whole.vectors[MATRICES])
    np.testing.assert_array_equal(made.vectors[BIASES], foreign.vectors[BIASES])
