"""What tells a thief from a look-alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from provray.ancestry.calibration import Calibration
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.resemblance import READOUTS, THEFT, VICTIM_AWAY
from provray.testbed.fitting.theft import fidelity_margins, fit_theft, gaps_of, make_questions
from provray.testbed.fitting.verdict import Evidence
from provray.testbed.scoreboard.outputs import Outputs

NOTHING = Calibration({}, {}, {"command": "a test"})


def test_a_gap_is_what_exceeds_the_best_other() -> None:
    scores = np.array([[0.9, 0.1], [0.5, 0.4], [0.6, 0.2]])
    assert gaps_of(scores) == pytest.approx(np.array([[0.3, -0.3], [-0.4, 0.2], [-0.3, -0.2]]))


def test_thieves_and_models_without_parents_are_asked(evidence: Evidence) -> None:
    asked = {q.suspect: q for q in evidence.questions}
    assert len(asked) == 96
    assert "digits/0.tuned" not in asked, "who inherits weights is no matter of behaviour"
    thief = asked["digits/0.thief"]
    assert len(thief.candidates) == 40
    assert [m for m, t in zip(thief.candidates, thief.true, strict=True) if t] == ["digits/0"]
    assert thief.gaps.shape == (40, len(READOUTS))
    assert thief.alone.shape == (39, len(READOUTS))
    assert thief.gaps[thief.true].min() > 0.3
    assert thief.alone.max() < 0.3
    assert (thief.fold, thief.margin) == (0, 0.1)
    base = asked["digits/1"]
    assert "digits/1" not in base.candidates
    assert not any("thief" in model or "tuned" in model for model in base.candidates)
    assert {"digits/3", "digits/1 start 2"} <= set(base.candidates)
    assert (base.fold, base.margin, base.true.any()) == (1, None, False)


def test_too_few_candidates_are_not_asked_about(evidence: Evidence) -> None:
    kept = {"digits/0", "digits/0.thief", "digits/2"}
    answers: dict[tuple[str, str], Fingerprint] = {
        ("digits", f.model): f
        for f in evidence.fingerprints
        if f.model in kept or evidence.pairs.folds[evidence.pairs.models.index(f.model)] == 1
    }
    asked = make_questions(evidence.records, answers, {})
    assert {q.fold for q in asked} == {1}


def test_a_victim_stands_out_from_what_look_alikes_reach(evidence: Evidence) -> None:
    """Fitted on one fold, asked of the other one."""
    made = fit_theft(NOTHING, evidence.questions, [0])
    assert made.facts == NOTHING.facts
    null = made.nulls[THEFT, VICTIM_AWAY]
    assert null.pairs == 40
    limit = null.limit(0.05)
    accused = 0
    for question in evidence.questions:
        if question.fold == 1:
            odds = np.array([made.log_odds(THEFT, gaps) for gaps in question.gaps])
            if question.true.any():
                assert odds.argmax() == question.true.argmax()
                assert odds.max() > limit
            else:
                accused += odds.max() > limit
    assert accused <= 6, f"{accused} of 40 look-alikes are accused at a rate of .05"


def test_a_null_needs_look_alikes(evidence: Evidence) -> None:
    thieves = [q for q in evidence.questions if q.true.any()]
    with pytest.raises(ValueError, match="0 look-alikes are too few"):
        fit_theft(NOTHING, thieves, [0, 1])


def test_margins_come_from_the_truth_or_from_answers(evidence: Evidence) -> None:
    def labels(*chosen: int) -> Outputs:
        return Outputs(np.zeros(1), {"digits": np.eye(3)[list(chosen)]})

    outputs = {
        "digits/0": labels(0, 1, 2, 0),
        "digits/0.thief": labels(0, 1, 2, 1),
        "digits/2": labels(0, 1, 1, 2),
    }
    assert fidelity_margins(evidence.records, outputs) == {"digits/0.thief": pytest.approx(0.25)}
    told = [
        replace(r, margin_mixed=0.4) if r.model == "digits/2.thief" else r for r in evidence.records
    ]
    assert fidelity_margins(told, {}) == {"digits/2.thief": 0.4}
