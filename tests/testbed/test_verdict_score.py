"""The figures of the verdict, on a made-up zoo where the right ones are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from provray.testbed.fitting.calibration import fit_calibration
from provray.testbed.fitting.verdict import Evidence
from provray.testbed.scoreboard.verdict_score import (
    BOOSTED,
    COMPARED,
    THRESHOLDS,
    VERDICT,
    log_odds,
    score_calibration,
    score_inheritance,
    score_theft,
    score_unseen,
)


def test_log_odds_are_above_zero_for_kin_alone(evidence: Evidence) -> None:
    pairs = evidence.pairs
    odds = log_odds(pairs, fit_calibration(pairs, [0]))
    asked = pairs.comparable & (pairs.folds == 1)[:, None]
    assert odds[asked & pairs.lineal].min() > 0
    assert odds[asked & ~pairs.kin].max() < 0
    bare = {name: np.full_like(matrix, np.nan) for name, matrix in pairs.parts.items()}
    assert np.isnan(log_odds(replace(pairs, parts=bare), fit_calibration(pairs, [0]))).all()


def test_children_outrank_networks_of_the_same_start(evidence: Evidence) -> None:
    cells = score_inheritance(evidence)
    assert set(cells) == set(COMPARED)
    of_verdict = cells[VERDICT]
    assert set(of_verdict) >= {"all white-box", "fine-tune"}
    assert not any("stolen" in name for name in of_verdict), "theft is no inheritance"
    assert of_verdict["all white-box"].first.count == 16
    assert of_verdict["all white-box"].first.value == 1.0
    assert of_verdict["all white-box"].hard.value == 1.0


def test_each_architecture_is_scored_by_fits_without_it(evidence: Evidence) -> None:
    cells = score_unseen(evidence)
    assert set(cells) == {"mlp", "net"}
    for by_score in cells.values():
        assert set(by_score) == {VERDICT, BOOSTED}
        assert (by_score[VERDICT].first.count, by_score[VERDICT].first.value) == (8, 1.0)


def test_thefts_are_scored_by_margin_and_look_alikes_beside_them(evidence: Evidence) -> None:
    half = [replace(q, margin=0.015) if "digits/1" in q.suspect else q for q in evidence.questions]
    scores = score_theft([replace(q, margin=None) if q.margin is None else q for q in half])
    some = sum(q.margin is not None and q.margin >= 0.02 for q in half)
    assert scores.by_margin["all"].count == scores.by_margin["≥ 1 point"].count == 16
    assert 0 < scores.by_margin["≥ 2 points"].count == some < 16
    assert scores.by_margin["all"].first.value == 1.0
    assert scores.by_margin["all"].named.value == 1.0
    assert scores.by_margin["all"].hard.value == 1.0
    assert set(scores.accused) == set(THRESHOLDS)
    rates = [scores.accused[limit]["look-alikes"] for limit in THRESHOLDS]
    assert all(rate.count == 80 for rate in rates)
    assert [r.value for r in rates] == sorted(r.value for r in rates)
    assert rates[1].value <= 0.15


def test_each_fold_is_judged_by_what_the_other_one_taught(evidence: Evidence) -> None:
    """In one fold victims agree most with their thieves, in the other one least: each misleads the other."""
    turned = [replace(q, gaps=-q.gaps, alone=-q.alone) if q.fold else q for q in evidence.questions]
    thefts = score_theft(turned).by_margin["all"]
    assert (thefts.first.count, thefts.first.value, thefts.named.value) == (16, 0.0, 0.0)


def test_probabilities_are_held_against_the_truth(evidence: Evidence) -> None:
    error, bins = score_calibration(evidence)
    assert sum(b.count for b in bins) == 2 * 16
    assert error < 0.15
    sure = bins[-1]
    assert sure.said > 0.9
    assert sure.right == pytest.approx(1.0)
    assert bins[0].right == 0.0
