"""Nulls against distributions of which the tail is known, and the false discovery rate against simulated truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from provray.ancestry.null import LEVELS, MINIMUM_PAIRS, Null, adjusted, fit_null

Draw = Callable[[np.random.Generator, int], np.ndarray]


def _normal(rng: np.random.Generator, count: int) -> np.ndarray:
    return 0.03 * rng.standard_normal(count)


def _exponential(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.exponential(0.2, count) - 1


def _heavy(rng: np.random.Generator, count: int) -> np.ndarray:
    """A Pareto tail of shape .25."""
    return rng.uniform(size=count) ** -0.25


def _fitted(draw: Draw, count: int = 20_000, seed: int = 0) -> Null:
    scores = draw(np.random.default_rng(seed), count)
    null = fit_null(scores, condition="same", origin="index", families=7)
    assert null is not None
    return null


# --- one null


@pytest.mark.parametrize(
    ("draw", "p", "least", "most"),
    [
        # a normal tail ends faster than an exponential one: beyond the fit the stated p may only be too high
        (_normal, 0.01, 0.8, 1.05),
        (_normal, 0.001, 0.2, 1.0),
        (_exponential, 0.01, 0.9, 1.1),
        (_exponential, 0.001, 0.8, 1.25),
        (_heavy, 0.01, 0.9, 1.1),
        (_heavy, 0.001, 0.75, 1.3),
    ],
)
def test_fresh_scores_exceed_the_limit_as_often_as_stated(
    draw: Draw, p: float, least: float, most: float
) -> None:
    null = _fitted(draw)
    fresh = draw(np.random.default_rng(1), 1_000_000)
    assert least * p < np.mean(fresh >= null.limit(p)) < most * p
    assert least * p < np.mean(null.p_values(fresh) <= p) < most * p


@pytest.mark.parametrize("draw", [_normal, _exponential, _heavy])
def test_p_values_of_the_bulk_are_those_of_the_distribution(draw: Draw) -> None:
    null = _fitted(draw)
    fresh = draw(np.random.default_rng(2), 100_000)
    for share in (0.2, 0.5, 0.8, 0.89):
        assert null.p_value(float(np.quantile(fresh, share))) == pytest.approx(1 - share, abs=0.015)


@pytest.mark.parametrize("draw", [_normal, _exponential, _heavy])
def test_p_values_only_fall_and_never_reach_zero(draw: Draw) -> None:
    null = _fitted(draw)
    low, high = float(null.quantiles[0]) - 1, float(null.quantiles[-1])
    p = null.p_values(np.linspace(low, high + 3 * (high - low), 20_001))
    assert np.all(np.diff(p) <= 0)
    assert p[0] == 1
    assert 0 < p[-1] < 1e-4
    assert np.abs(np.diff(p)).max() < 0.05  # and no step where the tail begins


@pytest.mark.parametrize("draw", [_normal, _exponential, _heavy])
@pytest.mark.parametrize("p", [0.1, 0.03, 1e-3, 1e-9])
def test_limit_is_the_score_of_a_p_value(draw: Draw, p: float) -> None:
    null = _fitted(draw)
    assert null.p_value(null.limit(p)) == pytest.approx(p, rel=1e-9)


def test_one_value_is_worth_the_same_alone_and_among_many() -> None:
    null = _fitted(_normal)
    scores = np.array([-1.0, 0.0, 0.03, 0.2, np.nan])
    assert null.p_values(scores).tolist()[:4] == [null.p_value(s) for s in scores[:4]]
    assert null.p_values(scores)[-1] == 1.0  # what was not measured is no evidence


def test_a_constant_null_only_counts() -> None:
    null = fit_null([0.0] * 199, condition="same", origin="index", families=20)
    assert null is not None
    assert null.p_value(0.0) == 1.0
    assert null.p_value(-0.1) == 1.0
    assert null.p_value(1e-6) == pytest.approx(1 / 200)
    assert null.p_value(1.0) == pytest.approx(1 / 200)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_scoring_what_most_score_is_no_evidence(share: float) -> None:
    """Most pairs share nothing: nothing is no rarer for the few that share something."""
    few = int(400 * share)
    null = fit_null(
        [0.0] * (400 - few) + np.linspace(0.1, 0.2, few).tolist(),
        condition="same",
        origin="index",
        families=20,
    )
    assert null is not None
    assert null.p_value(0.0) == 1.0
    assert null.p_value(0.05) <= max(0.1, 1.03 * share)
    assert null.p_value(0.5) < 0.01


def test_too_few_pairs_have_no_null() -> None:
    scores = _normal(np.random.default_rng(3), MINIMUM_PAIRS)
    assert fit_null(scores[:-1], condition="", origin="index", families=9) is None
    null = fit_null(scores, condition="any", origin="index", families=9)
    assert null is not None
    assert (null.pairs, null.families, null.condition) == (MINIMUM_PAIRS, 9, "any")
    assert null.quantiles.shape == LEVELS.shape
    assert (null.quantiles[0], null.quantiles[-1]) == (scores.min(), scores.max())


def test_order_of_the_scores_does_not_matter() -> None:
    scores = _heavy(np.random.default_rng(4), 500)
    there = fit_null(scores, condition="", origin="index", families=9)
    back = fit_null(scores[::-1], condition="", origin="index", families=9)
    assert there is not None
    assert back is not None
    assert (there.shape, there.scale) == (back.shape, back.scale)


# --- many tests at once


def test_adjusted_is_benjamini_hochbergs() -> None:
    """By hand: p * 10 / rank from the last to the first, never falling."""
    p = [0.01, 0.001, 0.04, 0.03, 0.5]
    expected = [0.05, 0.01, 0.1, 0.1, 1.0]
    assert adjusted(p, 10) == pytest.approx(expected)
    assert adjusted(p, 5) == pytest.approx([0.025, 0.005, 0.05, 0.05, 0.5])
    assert adjusted([], 3) == []


def test_groups_of_one_change_nothing() -> None:
    p = np.random.default_rng(5).uniform(size=40) ** 3
    assert adjusted(p.tolist(), 100, list(range(40))) == pytest.approx(adjusted(p.tolist(), 100))


def test_clones_do_not_vouch_for_each_other() -> None:
    """Twenty copies of one look-alike are one chance event, and were one without the copies."""
    clones = [0.004] * 20
    assert adjusted(clones, 100)[0] == pytest.approx(0.02)
    assert adjusted(clones, 100, [7] * 20) == pytest.approx([0.4] * 20)
    assert adjusted([0.004], 100) == pytest.approx([0.4])


def test_a_group_counts_by_its_simes_p_value() -> None:
    """By hand: min(.01 * 2 / 1, .5 * 2 / 2) = .02, of ten tests the best: .2. No member is surer than that."""
    assert adjusted([0.01, 0.5], 10, [4, 4]) == pytest.approx([0.2, 1.0])


def test_a_sure_member_does_not_make_its_family_sure() -> None:
    q = adjusted([1e-9, 0.5, 0.5, 0.9], 10, [0, 0, 0, 1])
    assert q[0] < 1e-6
    assert min(q[1:]) >= 0.5


def test_all_pairs_of_a_large_index_are_adjusted_in_one_go() -> None:
    p = np.random.default_rng(8).uniform(size=300_000) ** 2
    ranked = np.sort(p) * p.size / np.arange(1, p.size + 1)
    expected = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1)
    np.testing.assert_allclose(np.sort(adjusted(p.tolist(), p.size)), expected, rtol=1e-9)


def test_more_p_values_than_tests_are_refused() -> None:
    with pytest.raises(ValueError, match="3 p-values cannot come from 2 tests"):
        adjusted([0.1, 0.2, 0.3], 2)


@pytest.mark.parametrize("rate", [0.05, 0.2])
@pytest.mark.parametrize("signals", [5, 100])
def test_false_discoveries_stay_under_the_rate_that_was_asked(rate: float, signals: int) -> None:
    rng = np.random.default_rng(6)
    nulls, false, power = 300, [], []
    for _ in range(200):
        p = np.concatenate([rng.uniform(size=nulls), rng.beta(0.1, 30, signals)])
        accepted = np.array(adjusted(p.tolist(), p.size)) <= rate
        false.append(accepted[:nulls].sum() / max(accepted.sum(), 1))
        power.append(accepted[nulls:].mean())
    expected = rate * nulls / (nulls + signals)
    error = np.std(false) / np.sqrt(len(false))
    assert np.mean(false) < expected + 4 * error
    assert (
        np.mean(false) > expected - 4 * error
    )  # BH is exact for independent tests: nor is it timid
    assert np.mean(power) > 0.4


def test_false_discoveries_stay_under_the_rate_with_families_of_clones() -> None:
    """Half of the families that hold nothing have eight members that score alike; counted are families."""
    rng = np.random.default_rng(7)
    sizes = np.array([1] * 60 + [8] * 60 + [3] * 20)
    groups = np.repeat(np.arange(sizes.size), sizes)
    false = []
    for _ in range(200):
        own = np.concatenate([rng.uniform(size=120), rng.beta(0.1, 30, 20)])
        q = np.array(adjusted(own[groups].tolist(), groups.size, groups.tolist()))
        found = np.unique(groups[q <= 0.2])
        false.append((found < 120).sum() / max(found.size, 1))
    assert 0 < np.mean(false) < 0.2
