"""Gradient fields on models whose fields can be written down, and the laws of their sketches."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from provray.fingerprints.gif import Fields, GifFingerprint, GifState, gradient_fields
from provray.fingerprints.quadrature import gauss_legendre
from provray.fingerprints.settings import GifSettings
from provray.fingerprints.sketch import cosine, unit

Scalar = Callable[[torch.Tensor], torch.Tensor]
"""From points (n, positions) to values (n,)."""

CHANNELS, POSITIONS = 2, 12


@dataclass
class Analytic:
    """A model given by formulas over inputs (B, channels, positions). `logits`: to (n, k), or None without a head."""

    norm: Scalar
    logits: Scalar | None = None
    positions: int = POSITIONS
    baseline: float = 0.25

    def endpoints(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full_like(inputs, self.baseline), inputs

    def top_class(self, inputs: torch.Tensor) -> torch.Tensor | None:
        return None if self.logits is None else self.logits(inputs).argmax(dim=1)

    def scalars(
        self, points: torch.Tensor, inputs: torch.Tensor, top: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.logits is None or top is None:
            return self.norm(points), None
        chosen = top.repeat_interleave(len(points) // len(inputs))
        return self.norm(points), self.logits(points).gather(1, chosen[:, None])[:, 0]

    def attribute(self, g: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        return g.sum(dim=1)


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _inputs(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, CHANNELS, POSITIONS, generator=_rng(seed), dtype=torch.float64)


def _linear(seed: int) -> tuple[torch.Tensor, Scalar]:
    weight = torch.randn(CHANNELS, POSITIONS, generator=_rng(seed), dtype=torch.float64)
    return weight, lambda x: (x * weight).flatten(1).sum(dim=1) + 3.0


def _power(degree: int) -> Scalar:
    return lambda x: (x**degree).flatten(1).sum(dim=1)


def _settings(steps: int = 8, points: int = 4, dimensions: int = 512) -> GifSettings:
    return GifSettings(dimensions=dimensions, steps=steps, points=points)


def _fields(
    model: Analytic,
    inputs: torch.Tensor,
    settings: GifSettings,
    *,
    rows: int = 1000,
    checked: int = 0,
) -> Fields:
    return gradient_fields(model, inputs, settings, rows=rows, checked=checked)


# --- fields


@pytest.mark.parametrize(("steps", "points"), [(1, 1), (4, 4), (8, 4), (8, 1)])
def test_field_of_a_linear_model_is_exact_at_every_point(steps: int, points: int) -> None:
    weight, norm = _linear(1)
    inputs = _inputs(5)
    fields = _fields(Analytic(norm), inputs, _settings(steps, points), checked=len(inputs))
    _, weights = gauss_legendre(steps)
    reached = weights.reshape(points, -1).sum(axis=1).cumsum()
    whole = ((inputs - 0.25) * weight).sum(dim=1).numpy()
    expected = reached[None, :, None] * whole[:, None, :]
    found = fields.by_scalar["feature_norm"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert fields.completeness["feature_norm"].max() < 1e-12


def test_field_of_a_quadratic_model_is_the_known_integral() -> None:
    """F = x'Ax / 2 with A symmetric: the integral of A(x0 + α(x - x0)) over α is A(x0 + x) / 2, from one node on."""
    size = CHANNELS * POSITIONS
    a = torch.randn(size, size, generator=_rng(2), dtype=torch.float64)
    a = a + a.T

    def norm(x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        return 0.5 * ((flat @ a) * flat).sum(dim=1)

    inputs = _inputs(6)
    x0 = torch.full_like(inputs, 0.25)
    middle = (((x0 + inputs).flatten(1) / 2) @ a).view_as(inputs)
    expected = ((inputs - x0) * middle).sum(dim=1).numpy()
    for steps in (1, 2, 8):
        fields = _fields(Analytic(norm), inputs, _settings(steps, 1), checked=len(inputs))
        np.testing.assert_allclose(
            fields.by_scalar["feature_norm"][:, 0], expected, rtol=1e-4, atol=1e-5
        )
        assert fields.completeness["feature_norm"].max() < 1e-9


@pytest.mark.parametrize(("degree", "enough"), [(4, 2), (6, 3), (8, 4)])
def test_a_polynomial_needs_half_its_degree_in_steps_and_no_more(degree: int, enough: int) -> None:
    inputs = _inputs(4, 3).abs() + 1
    model = Analytic(_power(degree))
    exact = _fields(model, inputs, _settings(enough, 1), checked=len(inputs))
    assert exact.completeness["feature_norm"].max() < 1e-9
    expected = (inputs**degree - 0.25**degree).sum(dim=1).numpy()
    np.testing.assert_allclose(exact.by_scalar["feature_norm"][:, 0], expected, rtol=1e-5)
    short = _fields(model, inputs, _settings(enough - 1, 1), checked=len(inputs))
    assert short.completeness["feature_norm"].min() > 1e-6


def test_completeness_error_is_the_relative_gap_that_a_kink_leaves() -> None:
    def norm(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x - 0.6).flatten(1).sum(dim=1) + 2.0

    inputs = _inputs(8, 4)
    fields = _fields(Analytic(norm), inputs, _settings(), checked=len(inputs))
    change = norm(inputs) - norm(torch.full_like(inputs, 0.25))
    reached = fields.by_scalar["feature_norm"][:, -1].sum(axis=1)
    expected = np.abs(reached - change.numpy()) / change.abs().numpy()
    np.testing.assert_allclose(fields.completeness["feature_norm"], expected, atol=1e-5)
    assert fields.completeness["feature_norm"].max() > 1e-3


def test_completeness_is_measured_of_as_many_probes_as_asked() -> None:
    inputs, model = _inputs(5), Analytic(_power(8), lambda x: torch.sin(x).sum(dim=2))
    assert _fields(model, inputs, _settings()).completeness == {}
    every = _fields(model, inputs, _settings(2, 1), checked=5).completeness
    some = _fields(model, inputs, _settings(2, 1), checked=2).completeness
    assert set(some) == {"feature_norm", "top_logit"}
    for name, errors in some.items():
        np.testing.assert_allclose(errors, every[name][:2], rtol=1e-6)


def test_top_logit_follows_each_probes_own_class() -> None:
    heads = torch.randn(3, CHANNELS, POSITIONS, generator=_rng(6), dtype=torch.float64)

    def logits(x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ncp,kcp->nk", x, heads)

    _, norm = _linear(7)
    inputs = _inputs(12)
    fields = _fields(Analytic(norm, logits), inputs, _settings(4, 2), checked=len(inputs))
    top = logits(inputs).argmax(dim=1)
    assert len(set(top.tolist())) == 3
    expected = ((inputs - 0.25) * heads[top]).sum(dim=1).numpy()
    assert fields.by_scalar["top_logit"].shape == (12, 2, POSITIONS)
    np.testing.assert_allclose(fields.by_scalar["top_logit"][:, -1], expected, atol=1e-5)
    assert fields.completeness["top_logit"].max() < 1e-9
    # Two scalars in one pass do not run into each other.
    alone = _fields(Analytic(norm), inputs, _settings(4, 2))
    np.testing.assert_allclose(
        fields.by_scalar["feature_norm"], alone.by_scalar["feature_norm"], atol=1e-6
    )


def test_a_model_without_a_head_has_a_field_of_its_features_alone() -> None:
    _, norm = _linear(8)
    fields = _fields(Analytic(norm), _inputs(3), _settings(), checked=3)
    assert set(fields.by_scalar) == {"feature_norm"}
    assert set(fields.completeness) == {"feature_norm"}
    state = GifState(_settings())
    state.add(["a", "b", "c"], fields)
    assert state.finish().readouts == ("mixed@feature_norm",)


def test_probes_of_one_batch_do_not_touch_each_other() -> None:
    def norm(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x).flatten(1).square().sum(dim=1).sqrt()

    inputs = _inputs(7, 9)
    together = _fields(Analytic(norm), inputs, _settings())
    for i in range(7):
        alone = _fields(Analytic(norm), inputs[i : i + 1], _settings())
        np.testing.assert_allclose(
            together.by_scalar["feature_norm"][i], alone.by_scalar["feature_norm"][0], atol=1e-6
        )


@pytest.mark.parametrize("rows", [1, 7, 14, 20, 55, 56, 1000])
def test_how_many_points_go_through_the_model_together_does_not_matter(rows: int) -> None:
    """Less than one point per probe, one, some, all eight, more than there are; points of the path straddle passes."""

    def norm(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x).flatten(1).square().sum(dim=1).sqrt()

    def logits(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x).sum(dim=2)

    inputs = _inputs(7, 21)
    whole = _fields(Analytic(norm, logits), inputs, _settings(8, 4), checked=len(inputs))
    parts = _fields(Analytic(norm, logits), inputs, _settings(8, 4), rows=rows, checked=len(inputs))
    assert set(parts.by_scalar) == {"feature_norm", "top_logit"}
    for name, field in whole.by_scalar.items():
        np.testing.assert_allclose(parts.by_scalar[name], field, atol=1e-6)
        np.testing.assert_allclose(parts.completeness[name], whole.completeness[name], atol=1e-9)


def test_smooth_models_are_nearly_complete_with_eight_steps() -> None:
    def norm(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x).flatten(1).square().sum(dim=1).sqrt()

    fields = _fields(Analytic(norm), _inputs(20, 10), _settings(8, 1), checked=20)
    assert np.median(fields.completeness["feature_norm"]) < 0.01


# --- sketches


def _random_fields(
    count: int, seed: int, points: int = 2, positions: int = 30
) -> npt.NDArray[np.float32]:
    return (
        np.random.default_rng(seed).standard_normal((count, points, positions)).astype(np.float32)
    )


def _sketch(values: npt.NDArray[np.float32], ids: Sequence[str], m: int = 512) -> GifFingerprint:
    state = GifState(_settings(dimensions=m))
    state.add(ids, Fields({"feature_norm": values}, {}))
    return state.finish()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, -0.7])
def test_cosine_is_the_mean_cosine_over_probes_and_points(share: float) -> None:
    """Scales differ from probe to probe and from point to point, and must not weigh."""
    count, m, trials = 16, 512, 24
    rng = np.random.default_rng(11)
    ours = _random_fields(count, 12)
    theirs = share * ours + np.sqrt(1 - share**2) * _random_fields(count, 13)
    ours, theirs = (
        (f * np.exp(rng.standard_normal((count, 2, 1)))).astype(np.float32) for f in (ours, theirs)
    )
    exact = float(np.mean(np.sum(unit(ours) * unit(theirs), axis=-1)))
    errors = []
    for t in range(trials):
        ids = [f"trial{t}-{i}" for i in range(count)]
        a, b = _sketch(ours, ids, m), _sketch(theirs, ids, m)
        errors.append(float(cosine(a.vectors[0], b.vectors[0])) - exact)
    rms = float(np.sqrt(np.mean(np.square(errors))))
    assert rms < 1.5 / np.sqrt(m)
    assert abs(np.mean(errors)) < 4 * rms / np.sqrt(trials) + 2 / m


def test_fields_of_other_probes_are_another_direction() -> None:
    values = _random_fields(8, 14)
    a = _sketch(values, [f"a{i}" for i in range(8)])
    b = _sketch(values, [f"b{i}" for i in range(8)])
    assert abs(float(cosine(a.vectors[0], b.vectors[0]))) < 4.5 / np.sqrt(512)


def test_a_probe_without_a_field_adds_nothing() -> None:
    values = _random_fields(4, 15)
    with_dead = np.concatenate([values, np.zeros_like(values[:1])])
    ids = [f"p{i}" for i in range(5)]
    np.testing.assert_allclose(
        _sketch(with_dead, ids).vectors, _sketch(values, ids[:4]).vectors, atol=1e-7
    )
    np.testing.assert_array_equal(_sketch(with_dead[4:], ids[4:]).vectors, 0)


# --- merge laws

_COUNT = 14
_VALUES = {"feature_norm": _random_fields(_COUNT, 16), "top_logit": _random_fields(_COUNT, 17)}
_ERRORS = {name: np.random.default_rng(18).random(_COUNT) for name in _VALUES}


def _shard(rows: Sequence[int]) -> GifState:
    state = GifState(_settings(dimensions=64))
    rows = list(rows)
    state.add(
        [f"probe{r}" for r in rows],
        Fields({n: v[rows] for n, v in _VALUES.items()}, {n: e[rows] for n, e in _ERRORS.items()}),
    )
    return state


def _merged(*states: GifState) -> GifState:
    first, *rest = (copy.deepcopy(s) for s in states)
    for state in rest:
        first.merge(state)
    return first


def _assert_equal(a: GifFingerprint, b: GifFingerprint) -> None:
    assert a.readouts == b.readouts
    np.testing.assert_allclose(a.vectors, b.vectors, atol=1e-6)
    np.testing.assert_allclose(a.completeness, b.completeness, rtol=1e-12)


@given(
    st.permutations(range(_COUNT)), st.lists(st.integers(1, _COUNT - 1), max_size=5), st.randoms()
)
def test_shards_and_their_order_do_not_matter(
    order: list[int], cuts: list[int], random: object
) -> None:
    edges = [0, *sorted(set(cuts)), _COUNT]
    shards = [_shard(order[a:b]) for a, b in itertools.pairwise(edges)]
    random.shuffle(shards)  # type: ignore[attr-defined]
    _assert_equal(_merged(*shards).finish(), _shard(range(_COUNT)).finish())


def test_merging_is_commutative_and_associative_and_leaves_the_other_alone() -> None:
    a, b, c = _shard(range(5)), _shard(range(5, 6)), _shard(range(6, _COUNT))
    _assert_equal(_merged(a, b).finish(), _merged(b, a).finish())
    _assert_equal(_merged(_merged(a, b), c).finish(), _merged(a, _merged(b, c)).finish())
    empty = GifState(_settings(dimensions=64))
    _assert_equal(_merged(empty, a).finish(), a.finish())
    before = copy.deepcopy(b).finish()
    empty.merge(b)
    empty.merge(a)
    empty.add(["more"], Fields({n: v[:1] for n, v in _VALUES.items()}, {}))
    _assert_equal(b.finish(), before)


def test_completeness_is_the_median_and_unknown_where_it_was_not_measured() -> None:
    state = _shard(range(_COUNT))
    expected = [np.median(_ERRORS[n]) for n in ("feature_norm", "top_logit")]
    np.testing.assert_allclose(state.finish().completeness, expected)
    assert np.isnan(_sketch(_random_fields(2, 19), ["a", "b"]).completeness).all()


def test_what_cannot_be_merged_is_an_error() -> None:
    with pytest.raises(ValueError, match="settings"):
        GifState(_settings(8)).merge(GifState(_settings(16)))
    with pytest.raises(ValueError, match="without probes"):
        GifState(_settings()).finish()
    with pytest.raises(ValueError, match="as many keys"):
        _sketch(_random_fields(3, 20), ["only", "two"])
