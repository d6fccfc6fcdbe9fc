"""DNA sketches against linear CKA computed plainly, and the laws that let shards be added anywhere."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from provray.fingerprints.dna import DnaFingerprint, DnaState, depth_name, readout_names
from provray.fingerprints.settings import DnaSettings
from provray.fingerprints.sketch import cosine

F64 = npt.NDArray[np.float64]
SMALL = DnaSettings(dimensions=32, depths=(0.0, 1.0))


def _ids(count: int, name: str = "p") -> list[str]:
    return [f"{name}{i:04d}" for i in range(count)]


def _features(n: int, d: int, seed: int) -> F64:
    """Features with a mean that is far from zero, as pooled activations have."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) + 2 * rng.standard_normal(d)


def _related(features: F64, d: int, share: float, seed: int) -> F64:
    """Features of width d that keep some of what `features` say about the probes."""
    rng = np.random.default_rng(seed)
    mixed = features @ rng.standard_normal((features.shape[1], d)) / np.sqrt(features.shape[1])
    return share * mixed + (1 - share) * rng.standard_normal((len(features), d))


def _gram(features: F64) -> F64:
    """Centred Gram matrix, written as in the paper."""
    n = len(features)
    centre = np.eye(n) - np.ones((n, n)) / n
    return centre @ features @ features.T @ centre


def _linear_cka(f: F64, g: F64) -> float:
    k, other = _gram(f), _gram(g)
    return float(np.sum(k * other) / np.linalg.norm(k) / np.linalg.norm(other))


def _fingerprint(
    features: F64, ids: Sequence[str], settings: DnaSettings = SMALL, stratum: str = "noise"
) -> DnaFingerprint:
    state = DnaState(settings)
    state.add(stratum, ids, [torch.from_numpy(features)] * 2, None)
    return state.finish()


def _z(made: DnaFingerprint, n: int) -> F64:
    """The sketch before it was brought to unit norm."""
    m = made.vectors.shape[1]
    return made.vectors[0].astype(np.float64) * made.scales[0, 0] * np.sqrt(m) * n


# --- against the exact quantity


def test_sketch_is_what_its_definition_says() -> None:
    n, m = 17, SMALL.dimensions
    features = _features(n, 5, 0)
    signs = DnaState(SMALL).signs(_ids(n)).numpy()
    plain = np.array([signs[k] @ _gram(features) @ signs[m + k] for k in range(m)])
    made = _fingerprint(features, _ids(n))
    np.testing.assert_allclose(_z(made, n), plain, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(made.vectors[0], plain / np.linalg.norm(plain), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_inner_products_of_sketches_are_unbiased(share: float) -> None:
    n, m, trials = 12, SMALL.dimensions, 300
    f = _features(n, 4, 1)
    g = _related(f, 7, share, 2)
    exact = float(np.sum(_gram(f) * _gram(g)))
    found = []
    for t in range(trials):
        ids = _ids(n, f"trial{t}-")
        found.append(_z(_fingerprint(f, ids), n) @ _z(_fingerprint(g, ids), n) / m)
    error = np.std(found) / np.sqrt(trials)
    assert error < 0.1 * np.linalg.norm(_gram(f)) * np.linalg.norm(_gram(g))  # it can tell
    assert abs(np.mean(found) - exact) < 4 * error


@pytest.mark.parametrize("share", [0.0, 0.4, 0.7, 1.0])
def test_cosine_of_sketches_is_linear_cka(share: float) -> None:
    """The error of one sketch is of the order 1/sqrt(m); over many seeds it averages out."""
    n, trials = 40, 24
    settings = DnaSettings(dimensions=256, depths=(0.0, 1.0))
    f = _features(n, 6, 3)
    g = _related(f, 9, share, 4)
    exact = _linear_cka(f, g)
    errors = []
    for t in range(trials):
        ids = _ids(n, f"trial{t}-")
        a, b = _fingerprint(f, ids, settings), _fingerprint(g, ids, settings)
        errors.append(float(cosine(a.vectors[0], b.vectors[0])) - exact)
    rms = float(np.sqrt(np.mean(np.square(errors))))
    assert rms < 2 / np.sqrt(settings.dimensions)
    # A ratio of unbiased estimates is biased by the order of 1/m, which is all that may remain.
    assert abs(np.mean(errors)) < 4 * rms / np.sqrt(trials) + 2 / settings.dimensions


def test_unrelated_features_are_far_apart_and_a_copy_is_not() -> None:
    ids = _ids(60)
    settings = DnaSettings(dimensions=256, depths=(0.0, 1.0))
    wide = _fingerprint(_features(60, 30, 5), ids, settings).vectors[0]
    other = _fingerprint(_features(60, 2, 6), ids, settings).vectors[0]
    assert cosine(wide, wide) == pytest.approx(1, abs=1e-6)
    # Two matrices of rank 30 and 2 over 60 probes share what chance gives them, no more.
    chance = _linear_cka(_features(60, 30, 5), _features(60, 2, 6))
    assert abs(float(cosine(wide, other)) - chance) < 4 * 2 / np.sqrt(256)


def test_scales_are_trace_and_norm_of_the_gram_matrix() -> None:
    n, trials = 15, 200
    features = _features(n, 4, 7)
    gram = _gram(features)
    squares = []
    for t in range(trials):
        made = _fingerprint(features, _ids(n, f"trial{t}-"))
        assert made.scales[0, 1] == pytest.approx(np.trace(gram) / n, rel=1e-12)
        squares.append(made.scales[0, 0] ** 2)
    exact = np.linalg.norm(gram) ** 2 / n**2
    assert abs(np.mean(squares) - exact) < 4 * np.std(squares) / np.sqrt(trials)


# --- what the Gram matrix does not see


@pytest.mark.parametrize("change", ["rotation", "scale", "translation", "padding", "order"])
def test_changes_that_keep_the_gram_matrix_keep_the_vector(change: str) -> None:
    n, d = 20, 6
    ids, features = _ids(n), _features(n, d, 8)
    before = _fingerprint(features, ids).vectors
    if change == "rotation":
        rotation, _ = np.linalg.qr(np.random.default_rng(9).standard_normal((d, d)))
        features = features @ rotation
    elif change == "scale":
        features = 37.0 * features
    elif change == "translation":
        features = features + 1000.0 * np.arange(d)
    elif change == "padding":
        features = np.concatenate([features, np.full((n, 3), 5.0)], axis=1)
    else:
        order = np.random.default_rng(10).permutation(n)
        ids, features = [ids[i] for i in order], features[order]
    np.testing.assert_allclose(_fingerprint(features, ids).vectors, before, atol=1e-6)


def test_answers_to_other_probes_are_another_vector() -> None:
    features = _features(20, 6, 11)
    a = _fingerprint(features, _ids(20, "a")).vectors[0]
    b = _fingerprint(features, _ids(20, "b")).vectors[0]
    assert abs(float(cosine(a, b))) < 4 * 2 / np.sqrt(SMALL.dimensions)


@pytest.mark.parametrize("value", [0.0, 0.1, -1234.5])
def test_a_readout_that_does_not_react_is_zero(value: float) -> None:
    state = DnaState(SMALL)
    dead = torch.full((21, 5), value, dtype=torch.float32)
    state.add("noise", _ids(21), [dead, torch.from_numpy(_features(21, 5, 12))], None)
    made = state.finish()
    np.testing.assert_array_equal(made.vectors[0], 0)
    assert np.linalg.norm(made.vectors[1]) == pytest.approx(1, abs=1e-6)


def test_rounding_noise_of_a_readout_that_does_not_react_is_no_direction() -> None:
    """A constant readout in float32 differs by an ulp from batch to batch; that must not become a unit vector."""
    rng = np.random.default_rng(13)
    ulp = np.float32(np.finfo(np.float32).eps)
    vectors = []
    for _ in range(2):
        dead = np.float32(0.7) * (1 + ulp * rng.integers(-1, 2, (40, 8)).astype(np.float32))
        vectors.append(_fingerprint(dead.astype(np.float32), _ids(40)).vectors[0])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


# --- places


def test_readout_names_are_frozen() -> None:
    settings = DnaSettings(dimensions=8, depths=(0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0))
    places = ["0", "1/6", "1/3", "1/2", "2/3", "5/6", "1", "probabilities"]
    assert readout_names(settings) == tuple(
        f"{stratum}@{place}" for stratum in ("natural", "mixed", "noise") for place in places
    )
    assert depth_name(1 / 3) == "1/3"


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (1, [0, 0, 0, 0, 0, 0, 0]),
        (2, [0, 0, 0, 1, 1, 1, 1]),
        (5, [0, 1, 1, 2, 3, 3, 4]),
        (7, [0, 1, 2, 3, 4, 5, 6]),
        (13, [0, 2, 4, 6, 8, 10, 12]),
    ],
)
def test_relative_depths_pick_their_layers(layers: int, expected: list[int]) -> None:
    settings = DnaSettings(dimensions=16, depths=(0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0))
    hidden = [torch.from_numpy(_features(10, 3 + i, i)) for i in range(layers)]
    state = DnaState(settings)
    state.add("mixed", _ids(10), hidden, None)
    made = state.finish()
    assert made.readouts == readout_names(settings)[8:15]
    for vector, layer in zip(made.vectors, expected, strict=True):
        alone = _fingerprint(hidden[layer].numpy(), _ids(10), DnaSettings(16, (0.0, 1.0)), "mixed")
        np.testing.assert_allclose(vector, alone.vectors[0], atol=1e-6)


def test_probabilities_are_a_readout_only_where_there_is_a_head() -> None:
    hidden = [torch.from_numpy(_features(9, 4, 14))] * 2
    probabilities = torch.softmax(torch.from_numpy(_features(9, 3, 15)), dim=1)
    with_head, without = DnaState(SMALL), DnaState(SMALL)
    with_head.add("noise", _ids(9), hidden, probabilities)
    without.add("noise", _ids(9), hidden, None)
    made = with_head.finish()
    assert made.readouts == ("noise@0", "noise@1", "noise@probabilities")
    assert without.finish().readouts == ("noise@0", "noise@1")
    alone = _fingerprint(probabilities.numpy(), _ids(9))
    np.testing.assert_allclose(made.vectors[2], alone.vectors[0], atol=1e-6)


# --- merge laws

_N = 24
_STRATA = ["natural"] * 7 + ["mixed"] * 9 + ["noise"] * 8
_HIDDEN = [torch.from_numpy(_features(_N, d, d).astype(np.float32)) for d in (3, 4, 5)]
_PROBABILITIES = torch.softmax(_HIDDEN[2], dim=1)


def _shard(rows: Sequence[int]) -> DnaState:
    """State of these probes, added stratum by stratum."""
    state = DnaState(SMALL)
    for stratum in dict.fromkeys(_STRATA[r] for r in rows):
        own = [r for r in rows if _STRATA[r] == stratum]
        ids = [f"probe{r}" for r in own]
        state.add(stratum, ids, [h[own] for h in _HIDDEN], _PROBABILITIES[own])
    return state


def _assert_equal(a: DnaFingerprint, b: DnaFingerprint) -> None:
    assert a.readouts == b.readouts
    np.testing.assert_allclose(a.vectors, b.vectors, atol=1e-6)
    np.testing.assert_allclose(a.scales, b.scales, rtol=1e-9)


def _merged(*states: DnaState) -> DnaState:
    first, *rest = (copy.deepcopy(s) for s in states)
    for state in rest:
        first.merge(state)
    return first


@given(st.permutations(range(_N)), st.lists(st.integers(1, _N - 1), max_size=6), st.randoms())
def test_shards_and_their_order_do_not_matter(
    order: list[int], cuts: list[int], random: object
) -> None:
    edges = [0, *sorted(set(cuts)), _N]
    shards = [_shard(order[a:b]) for a, b in itertools.pairwise(edges)]
    random.shuffle(shards)  # type: ignore[attr-defined]
    _assert_equal(_merged(*shards).finish(), _shard(range(_N)).finish())


def test_merging_is_commutative_and_associative() -> None:
    a, b, c = _shard(range(8)), _shard(range(8, 9)), _shard(range(9, _N))
    _assert_equal(_merged(a, b).finish(), _merged(b, a).finish())
    _assert_equal(_merged(_merged(a, b), c).finish(), _merged(a, _merged(b, c)).finish())
    _assert_equal(_merged(DnaState(SMALL), a).finish(), a.finish())  # the empty state adds nothing
    _assert_equal(_merged(a, DnaState(SMALL)).finish(), a.finish())


def test_merging_leaves_the_other_state_alone() -> None:
    a, b = _shard(range(12)), _shard(range(12, _N))
    before = copy.deepcopy(b).finish()
    empty = DnaState(SMALL)
    empty.merge(b)
    empty.merge(a)
    a.merge(b)
    _assert_equal(b.finish(), before)
    _assert_equal(a.finish(), empty.finish())


def test_strata_are_kept_apart() -> None:
    """What a model says of noise does not depend on what else it was asked."""
    noise = [r for r in range(_N) if _STRATA[r] == "noise"]
    whole, part = _shard(range(_N)).finish(), _shard(noise).finish()
    rows = [whole.readouts.index(name) for name in part.readouts]
    np.testing.assert_allclose(whole.vectors[rows], part.vectors, atol=1e-6)


def test_what_cannot_be_merged_is_an_error() -> None:
    with pytest.raises(ValueError, match="settings"):
        DnaState(SMALL).merge(DnaState(DnaSettings(64, (0.0, 1.0))))
    narrow, wide = DnaState(SMALL), DnaState(SMALL)
    narrow.add("noise", _ids(4), [torch.ones(4, 3)] * 2, None)
    wide.add("noise", _ids(4, "q"), [torch.ones(4, 5)] * 2, None)
    with pytest.raises(ValueError, match=r"\(3, 3\) and \(5, 5\)"):
        narrow.merge(wide)
    with pytest.raises(ValueError, match="without probes"):
        DnaState(SMALL).finish()
