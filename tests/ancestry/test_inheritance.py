"""Inherited weights of one pair: which scores speak, what they are held against, and learned against begun alike."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from provray.ancestry.calibration import Calibration, shipped_calibration
from provray.ancestry.inheritance import (
    FEATURES,
    OTHER,
    SAME,
    SAME_START,
    Inheritance,
    borne_out,
    condition,
    features,
    inheritance,
    least_odds,
    pattern,
    softplus,
    transformed,
)
from provray.ancestry.null import Null, fit_null
from provray.ancestry.scores import LOWER_HALF, Scores


def _null(scale: float, origin: str = "shipped") -> Null:
    """What unrelated pairs score whose cosines are normal."""
    scores = scale * np.random.default_rng(0).standard_normal(2000)
    null = fit_null(scores, condition=SAME, origin=origin, families=50)
    assert null is not None
    return null


def _constant() -> Null:
    null = fit_null([0.0] * 999, condition=SAME, origin="shipped", families=50)
    assert null is not None
    return null


NULLS = {
    ("weights", SAME): _null(0.03),
    ("biases", SAME): _null(0.05),
    ("shared", SAME): _constant(),
    ("lower profile", SAME): _null(0.2),
}
MADE = Calibration(
    {"1110": np.array([0.5, 2.0, 3.0, 0.0, -6.0]), "1111": np.array([0.5, 2.0, 3.0, 1.0, -6.0])},
    {**NULLS, ("1110", SAME_START): _null(0.5), ("1111", SAME_START): _null(0.5)},
)
CHILD = Scores(weights=0.98, biases=0.95, shared=0.3)
TWIN = Scores(weights=0.9, biases=0.1, shared=0.0)
STRANGER = Scores(weights=0.01, biases=-0.02, shared=0.0)


def _shown(
    scores: Scores, told: str, calibration: Calibration, nulls: dict[tuple[str, str], Null]
) -> Inheritance | None:
    return inheritance(_values([scores]), [told], calibration, nulls).of(0)


def _values(scores: list[Scores]) -> np.ndarray:
    found = [features(s) for s in scores]
    return np.array([[f.get(name, np.nan) for name in FEATURES] for f in found]).reshape(-1, 4)


def test_only_what_was_measured_is_a_feature() -> None:
    profile = dict(zip(LOWER_HALF, (0.9, 0.4, 0.6, 0.8), strict=True))
    whole = features(Scores(0.1, 0.2, 0.3, profile))
    assert whole == {"weights": 0.1, "biases": 0.2, "shared": 0.3, "lower profile": 0.4}
    assert tuple(whole) == FEATURES
    assert features(Scores(weights=0.0)) == {"weights": 0.0}
    assert (
        features(Scores(dna={LOWER_HALF[0]: 1.0, "noise@1": 1.0})) == {}
    )  # half a profile is none
    assert pattern(whole) == "1111"
    assert pattern(features(Scores(0.1, None, 0.0))) == "1010"


def test_a_cosine_counts_by_how_near_it_is_to_one() -> None:
    assert float(transformed("weights", 0.99)) == pytest.approx(-math.log(0.011))
    assert float(transformed("biases", 1.0)) == pytest.approx(-math.log(0.001))
    assert float(transformed("biases", 1.0 + 1e-6)) == pytest.approx(-math.log(0.001))  # rounding
    grown = transformed("weights", np.linspace(-1, 1, 201))
    assert np.all(np.diff(grown) > 0)
    assert float(transformed("shared", 0.7)) == 0.7


def test_softplus_keeps_what_is_beyond_doubt_and_flattens_the_rest() -> None:
    assert softplus(30.0) == pytest.approx(30.0)
    assert softplus(0.0) == pytest.approx(math.log(2))
    assert 0 < softplus(-30.0) < 1e-12


def test_condition_is_the_architecture() -> None:
    assert condition("vit", "vit") == SAME
    assert condition("vit", "resnet") == OTHER
    assert condition("vit", None) == SAME  # nothing known of the other: nothing tells them apart
    assert condition(None, None) == OTHER


def test_many_pairs_at_once_are_each_alone() -> None:
    """Whoever else is compared: other features, other conditions, other nulls."""
    profile = dict.fromkeys(LOWER_HALF, 0.5)
    pairs = [
        (CHILD, SAME),
        (STRANGER, OTHER),
        (Scores(), SAME),
        (replace(TWIN, dna=profile), SAME),
        (Scores(weights=0.999, shared=0.6), SAME),
        (replace(CHILD, biases=None), OTHER),
    ]
    nulls = {("weights", OTHER): _null(0.1, origin="index"), ("biases", SAME): _null(0.2, "index")}
    table = inheritance(_values([s for s, _ in pairs]), [told for _, told in pairs], MADE, nulls)
    together = [table.of(n) for n in range(len(pairs))]
    assert together == [_shown(s, told, MADE, nulls) for s, told in pairs]
    assert [found is None for found in together] == [False, False, True, False, False, False]
    nothing = (table.p_shares[2], table.p_start[2], table.log_odds[2])
    assert nothing == (1.0, 1.0, 0.0)
    assert len(inheritance(_values([]), [], MADE, nulls).p_shares) == 0


def test_p_shares_is_the_least_p_value_times_how_many_there_are() -> None:
    found = _shown(CHILD, SAME, MADE, {})
    assert found is not None
    each = {
        "weights": NULLS["weights", SAME].p_value(0.98),
        "biases": NULLS["biases", SAME].p_value(0.95),
        "shared": 1 / 1000,
    }
    assert found.p_values == pytest.approx(each)
    assert found.p_shares == pytest.approx(3 * min(each.values()), rel=1e-9, abs=0)
    assert set(found.nulls) == set(each)


def test_lower_layers_alone_show_shared_weights_within_one_architecture_only() -> None:
    """MiniLM and mpnet: nothing in common but how their lower layers behave on noise."""
    alike = replace(STRANGER, dna=dict.fromkeys(LOWER_HALF, 0.95))
    nulls = {(name, OTHER): null for (name, _), null in NULLS.items()}
    one, other = (_shown(alike, told, MADE, nulls) for told in (SAME, OTHER))
    assert one is not None
    assert other is not None
    assert one.p_shares < 1e-3
    assert other.p_shares > 0.5
    assert set(one.p_values) - set(other.p_values) == {"lower profile"}
    assert other.p_shares == pytest.approx(min(3 * min(other.p_values.values()), 1.0))
    assert one.log_odds == other.log_odds  # it still weighs in what else is shared


def test_log_odds_are_the_weighted_features() -> None:
    found = _shown(CHILD, SAME, MADE, {})
    assert found is not None
    expected = -0.5 * math.log(0.021) - 2 * math.log(0.051) + 3 * 0.3 - 6
    assert found.log_odds == pytest.approx(expected)
    assert found.probability == pytest.approx(1 / (1 + math.exp(-expected)))
    start = MADE.nulls["1110", SAME_START]
    assert found.p_start == pytest.approx(start.p_value(float(softplus(expected))))


def test_a_common_start_shares_and_is_not_learned() -> None:
    child, twin, stranger = (_shown(s, SAME, MADE, {}) for s in (CHILD, TWIN, STRANGER))
    assert child is not None
    assert twin is not None
    assert stranger is not None
    assert child.p_shares < 1e-6
    assert twin.p_shares < 1e-6
    assert stranger.p_shares > 0.05
    assert child.p_start < 0.01
    assert twin.p_start > 0.05
    assert child.log_odds > 0 > twin.log_odds > stranger.log_odds


def test_the_shipped_calibration_tells_children_twins_and_strangers_apart() -> None:
    shipped = shipped_calibration()
    for profile in (0.95, None):
        dna = {} if profile is None else dict.fromkeys(LOWER_HALF, profile)
        child, twin, stranger = (
            _shown(replace(s, dna=dna), SAME, shipped, {})
            for s in (replace(CHILD, weights=0.995, biases=0.99, shared=0.1), TWIN, STRANGER)
        )
        assert child is not None
        assert twin is not None
        assert stranger is not None
        assert child.p_start < 0.01
        assert child.log_odds > 0
        assert twin.p_shares < 1e-6
        assert twin.log_odds < 0
        assert stranger.log_odds < 0


def test_the_indexs_own_null_goes_before_the_shipped_one() -> None:
    wide = _null(0.4, origin="index")
    found = _shown(CHILD, SAME, MADE, {("weights", SAME): wide, ("biases", OTHER): wide})
    assert found is not None
    assert found.nulls["weights"].origin == "index"
    assert found.p_values["weights"] == pytest.approx(wide.p_value(0.98), rel=1e-12)
    assert found.nulls["biases"].origin == "shipped"  # that of another condition is not its own


def test_nothing_measured_shows_nothing() -> None:
    assert _shown(Scores(), SAME, MADE, {}) is None
    assert _shown(Scores(dna={"noise@1": 0.9}), SAME, MADE, {}) is None
    assert _shown(CHILD, OTHER, MADE, {}) is None  # no null of this condition


def test_without_biases_only_whole_tensors_show_what_was_learned() -> None:
    """Matrices alone cannot tell a child from a network of the same start."""
    alike = _shown(Scores(weights=0.999, shared=0.0), SAME, MADE, {})
    frozen = _shown(Scores(weights=0.999, shared=0.6), SAME, MADE, {})
    assert alike is not None
    assert frozen is not None
    assert alike.p_shares < 1e-6
    assert alike.p_start == 1.0
    assert frozen.p_start == pytest.approx(1 / 1000)


def test_odds_must_be_as_sure_as_the_rate_that_was_asked() -> None:
    assert least_odds(0.05) == pytest.approx(math.log(19))
    assert least_odds(0.01) == pytest.approx(math.log(99))
    assert least_odds(0.5) == least_odds(0.9) == 0.0


def test_the_likely_count_among_the_sure_and_nowhere_else() -> None:
    first, second = np.array([0, 1, 0, 3, 1]), np.array([1, 2, 2, 4, 3])
    odds = np.array([5.0, 1.0, 4.0, 2.0, -1.0])
    assert borne_out(first, second, odds, 5, 0.05).tolist() == [True, True, True, False, False]
    assert borne_out(first, second, odds, 5, 0.2).tolist() == [True, True, True, True, False]
    none = np.empty(0, np.intp)
    assert borne_out(none, none, np.empty(0), 3, 0.05).tolist() == []


def test_whole_tensors_speak_for_models_without_biases() -> None:
    calibration = shipped_calibration()
    shown = inheritance(
        np.array([[0.9, np.nan, 0.8, np.nan], [0.9, np.nan, 0.0, np.nan]]),
        [SAME] * 2,
        calibration,
        {},
    )
    assert shown.log_odds[0] > least_odds(0.01)
    assert shown.log_odds[1] == 0.0
    assert shown.p_start[1] == 1.0
