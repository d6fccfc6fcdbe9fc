"""Inherited behaviour: does one model answer as another does, and as no one else?

A thief or a student copies its victim's decisions, not its weights. Models that learned the same data also answer
alike, so
what counts is not how much the suspect agrees with a candidate but by how much more than with the next best model of
another family: the gap, on natural and on mixed inputs of the victim's own domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from provray.ancestry.calibration import Calibration
from provray.ancestry.null import Null
from provray.ancestry.scores import Scores

READOUTS = ("natural@probabilities", "mixed@probabilities")
THEFT = "theft"
VICTIM_AWAY = "victim not indexed"


@dataclass(frozen=True)
class Resemblance:
    """Of the candidate that stands out most. gaps: by readout, how much more the suspect agrees with it than with the
    best model of another family, `rival`. log_odds: for theft, prior 1/2. p_value: that the best candidate of a suspect
    whose victim is not there stands out as much; there is one best candidate, so it needs no correction."""

    model: str
    rival: str
    gaps: Mapping[str, float]
    log_odds: float
    p_value: float
    null: Null

    def limit(self, rate: float) -> float | None:
        """From which log-odds on theft is claimed at this rate; None where so few look-alikes allow no claim."""
        p = (rate * (self.null.pairs + 1) - 1) / self.null.pairs
        return self.null.limit(min(p, 0.1)) if p > 0 else None

    @property
    def probability(self) -> float:
        """Probability of theft before it is known how rare it is: prior 1/2."""
        return float(1 / (1 + np.exp(-self.log_odds)))


def stand_out(
    scores: Mapping[str, Scores], families: Mapping[str, int], calibration: Calibration
) -> Resemblance | None:
    """The candidate that the suspect resembles as no other; None with fewer than two families that give answers.

    scores: of the suspect with each candidate. families: a number for each candidate; kin share it.
    """
    answers = {
        model: [s.dna[name] for name in READOUTS]
        for model, s in scores.items()
        if all(name in s.dna for name in READOUTS)
    }
    if len({families[model] for model in answers}) < 2:
        return None
    best: tuple[float, str, list[float], str] | None = None
    for model, values in answers.items():
        others = [m for m in answers if families[m] != families[model]]
        gaps = [values[i] - max(answers[m][i] for m in others) for i in range(len(READOUTS))]
        odds = calibration.log_odds(THEFT, gaps)
        if best is None or odds > best[0]:
            best = odds, model, gaps, max(others, key=lambda m: sum(answers[m]))
    assert best is not None
    odds, model, found, rival = best
    null = calibration.nulls[THEFT, VICTIM_AWAY]
    return Resemblance(
        model, rival, dict(zip(READOUTS, found, strict=True)), odds, careful(null, odds), null
    )


def careful(null: Null, score: float) -> float:
    """The p-value with the suspect counted among the look-alikes of the null, as a conformal rank counts it: they
    are few,
    and to accuse a look-alike of theft is the worst error there is here."""
    return (null.pairs * null.p_value(score) + 1) / (null.pairs + 1)
