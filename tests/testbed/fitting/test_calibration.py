"""Calibrations fitted on some folds of a zoo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from provray.ancestry.inheritance import OTHER, SAME, SAME_START, SHARING
from provray.testbed.fitting.calibration import fit_calibration
from provray.testbed.fitting.verdict import Evidence

PATTERNS = {"1111", "1110", "1101", "1100"}


def test_what_was_learned_is_told_from_a_common_start(evidence: Evidence) -> None:
    """Fitted on one fold, asked of the other one."""
    pairs = evidence.pairs
    made = fit_calibration(pairs, [0], command="a test")
    assert set(made.coefficients) == PATTERNS
    assert made.facts == {"command": "a test"}
    biases = {"1": 3.0, "0": 0.0}  # -log(1 - cosine): of a child and of a network of the same start
    for pattern in PATTERNS:
        profile = float(pattern[3])
        child = made.log_odds(pattern, [4.0, biases["1"], 0.0, 2.0 * profile])
        start = made.log_odds(pattern, [2.3, biases["0"], 0.0, 0.0])
        assert child > 0 > start, pattern
        assert made.nulls[pattern, SAME_START].pairs == 8 * (4 + 4 + 6)
    wanted = {(score, condition) for condition, scores in SHARING.items() for score in scores}
    assert {key for key in made.nulls if key[1] != SAME_START} == wanted
    for score, condition in wanted:
        null = made.nulls[score, condition]
        assert null.pairs > 300
        assert (null.condition, null.origin) == (condition, "shipped")
    kin, away = (
        pairs.parts["biases"][pairs.comparable & (pairs.folds == 1)[:, None] & chosen]
        for chosen in (pairs.lineal, ~pairs.kin & ~pairs.start & pairs.alike)
    )
    null = made.nulls["biases", SAME]
    assert null.p_values(kin).max() < 1e-4
    assert 0.3 < np.median(null.p_values(away)) < 0.7


def test_the_other_fold_is_not_looked_at(evidence: Evidence) -> None:
    pairs = evidence.pairs
    generator = np.random.default_rng(0)
    other = pairs.folds == 1
    spoilt = {
        name: np.where(other[:, None], generator.random(matrix.shape), matrix)
        for name, matrix in pairs.parts.items()
    }
    one = fit_calibration(pairs, [0])
    same = fit_calibration(replace(pairs, parts=spoilt), [0])
    both = fit_calibration(replace(pairs, parts=spoilt), [0, 1])
    for pattern, weights in one.coefficients.items():
        assert np.array_equal(weights, same.coefficients[pattern])
        assert not np.allclose(weights, both.coefficients[pattern])
    for key, null in one.nulls.items():
        assert np.array_equal(null.quantiles, same.nulls[key].quantiles)


def test_an_architecture_can_be_left_out(evidence: Evidence) -> None:
    made = fit_calibration(evidence.pairs, [0, 1], without="mlp")
    whole = fit_calibration(evidence.pairs, [0, 1])
    assert ("weights", OTHER) in whole.nulls
    assert ("weights", OTHER) not in made.nulls, (
        "one architecture is left: nothing to compare it with"
    )
    assert made.nulls["1111", SAME_START].pairs * 2 == whole.nulls["1111", SAME_START].pairs


def test_too_few_pairs_make_no_null(evidence: Evidence) -> None:
    few = replace(evidence.pairs, start=evidence.pairs.start & False)
    made = fit_calibration(few, [0])
    assert ("weights", SAME) in made.nulls
    with pytest.raises(KeyError):
        made.nulls["1111", SAME_START]
