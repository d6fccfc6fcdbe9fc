"""Who is answered like as no other: gaps to the next best of another family, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from provray.ancestry.calibration import Calibration, shipped_calibration
from provray.ancestry.null import fit_null
from provray.ancestry.resemblance import READOUTS, THEFT, VICTIM_AWAY, careful, stand_out
from provray.ancestry.scores import Scores

NULL = fit_null(
    np.random.default_rng(0).exponential(size=500), condition="", origin="shipped", families=9
)
assert NULL is not None
MADE = Calibration({THEFT: np.array([10.0, 4.0, 1.0])}, {(THEFT, VICTIM_AWAY): NULL})


def _answers(natural: float, mixed: float) -> Scores:
    return Scores(dna=dict(zip(READOUTS, (natural, mixed), strict=True)))


SCORES = {"a": _answers(0.9, 0.8), "b": _answers(0.6, 0.7), "c": _answers(0.7, 0.1)}
APART = {"a": 0, "b": 1, "c": 2}


def test_the_gap_is_to_the_best_of_another_family_in_each_readout() -> None:
    found = stand_out(SCORES, APART, MADE)
    assert found is not None
    assert found.model == "a"
    assert found.gaps == pytest.approx({READOUTS[0]: 0.2, READOUTS[1]: 0.1})
    assert found.rival == "b"  # the best over both readouts
    assert found.log_odds == pytest.approx(10 * 0.2 + 4 * 0.1 + 1)
    assert NULL is not None
    assert found.p_value == pytest.approx((500 * NULL.p_value(found.log_odds) + 1) / 501)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-3.4)))


def test_no_p_value_is_less_than_that_of_the_first_among_all_look_alikes() -> None:
    """The null rests on few of them: whoever beats all of them is one of one more."""
    assert NULL is not None
    assert NULL.p_value(1e9) < 1e-9
    assert careful(NULL, 1e9) == pytest.approx(1 / 501)
    assert careful(NULL, -1e9) == 1.0
    median = float(NULL.quantiles[25])
    assert careful(NULL, median) == pytest.approx(0.5, abs=0.002)


def test_kin_of_the_victim_are_no_rivals() -> None:
    """A fine-tune of the victim answers like it too, and takes nothing from the finding."""
    kin = {**SCORES, "a/child": _answers(0.88, 0.79)}
    apart = stand_out(kin, {**APART, "a/child": 3}, MADE)
    together = stand_out(kin, {**APART, "a/child": 0}, MADE)
    assert apart is not None
    assert together is not None
    assert together == stand_out(SCORES, APART, MADE)
    assert apart.model == "a"
    assert apart.rival == "a/child"
    assert apart.p_value > together.p_value


def test_agreeing_much_with_many_is_no_sign() -> None:
    """What counts is the gap: .95 beside another .95 is less than .5 beside .1."""
    alike = stand_out({"a": _answers(0.95, 0.95), "b": _answers(0.95, 0.95)}, APART, MADE)
    alone = stand_out({"a": _answers(0.5, 0.5), "b": _answers(0.1, 0.1)}, APART, MADE)
    assert alike is not None
    assert alone is not None
    assert set(alike.gaps.values()) == {0.0}
    assert alone.p_value < alike.p_value


def test_the_order_of_the_candidates_does_not_matter() -> None:
    turned = dict(reversed(SCORES.items()))
    assert stand_out(turned, APART, MADE) == stand_out(SCORES, APART, MADE)


def test_models_without_answers_are_no_candidates() -> None:
    headless = {"h": Scores(dna={"noise@1": 1.0}), "half": Scores(dna={READOUTS[0]: 1.0})}
    numbers = {**APART, "h": 7, "half": 8}
    assert stand_out({**SCORES, **headless}, numbers, MADE) == stand_out(SCORES, APART, MADE)
    assert stand_out(headless, numbers, MADE) is None


def test_nobody_stands_out_of_one_family() -> None:
    assert stand_out(SCORES, dict.fromkeys("abc", 4), MADE) is None
    assert stand_out({"a": SCORES["a"]}, APART, MADE) is None
    assert stand_out({}, {}, MADE) is None


def test_under_the_shipped_calibration_a_wider_gap_is_rarer() -> None:
    p = []
    for gap in (0.0, 0.1, 0.3, 0.6):
        scores = {"a": _answers(0.3 + gap, 0.3 + gap), "b": _answers(0.3, 0.3)}
        found = stand_out(scores, APART, shipped_calibration())
        assert found is not None
        p.append(found.p_value)
    assert p == sorted(p, reverse=True)
    assert p[0] > 0.3
    assert p[-1] < 0.01
