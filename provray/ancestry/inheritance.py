"""Inherited weights: does one model hold what another one learned?

Two questions, one after the other. Do they share anything at all: four scores, each against what unrelated pairs of the
same condition get. And is it something learned, or no more than the weights both began with: one number over the four
scores, against pairs of networks that began alike and have nothing else in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from provray.ancestry.calibration import Calibration, NullKey
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.null import Null
from provray.ancestry.scores import Scores, lower_profile

SAME, OTHER = "same architecture", "another architecture"
SAME_START = "same start"
FEATURES = ("weights", "biases", "shared", "lower profile")


@dataclass(frozen=True)
class Inheritance:
    """What one pair shows of inherited weights.

    p_shares: probability that an unrelated pair scores as much somewhere, over all its scores (Bonferroni). p_start:
    that a pair with nothing but its start in common scores as much. log_odds: for learned against not, prior 1/2.
    nulls: what each score was held against.
    """

    p_shares: float
    p_start: float
    log_odds: float
    p_values: Mapping[str, float]
    nulls: Mapping[str, Null]

    @property
    def probability(self) -> float:
        """Probability that something learned is shared, before it is known how rare kin are: prior 1/2."""
        return float(1 / (1 + np.exp(-self.log_odds)))


def features(scores: Scores) -> dict[str, float]:
    """The scores of a pair that speak of inherited weights, by name; only those that were measured."""
    values = (scores.weights, scores.biases, scores.shared, lower_profile(scores))
    return {name: v for name, v in zip(FEATURES, values, strict=True) if v is not None}


def transformed(name: str, value: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    """A score as it is weighed: cosines by how near they are to 1, -log(1 - cosine + .001). A child keeps .99
    where a twin of the same start and data reaches .9, and that difference must count."""
    x = np.asarray(value, np.float64)
    return x if name == "shared" else -np.log(np.maximum(1 - x, 0.0) + 1e-3)


def softplus(log_odds: npt.NDArray[np.float64] | float) -> Any:
    """log(1 + e^x): how far beyond doubt. What lies far below it is no tail, and must not shape the tail that is
    fitted."""
    return np.logaddexp(0.0, log_odds)


def pattern(names: Mapping[str, object]) -> str:
    """Which features are there, as digits: `1101` lacks the third."""
    return "".join("1" if name in names else "0" for name in FEATURES)


def condition(a: Fingerprint, b: Fingerprint) -> str:
    """What confounds a pair and can be seen: whether both are of one architecture."""
    types = {row.model_type for f in (a, b) if (row := f.weights or f.dna) is not None}
    return SAME if len(types) == 1 else OTHER


def inheritance(
    scores: Scores,
    condition: str,
    calibration: Calibration,
    nulls: Mapping[NullKey, Null],
) -> Inheritance | None:
    """What the scores of a pair show; None if neither weights nor profile were measured for both.

    nulls: of the index, by score and condition; where it has none, the shipped ones.
    """
    found = features(scores)
    held = {
        name: null
        for name in found
        if (null := nulls.get((name, condition)) or calibration.nulls.get((name, condition)))
    }
    if not held:
        return None
    p_values = {name: null.p_value(found[name]) for name, null in held.items()}
    p_shares = min(1.0, min(p_values.values()) * len(p_values))
    key = pattern(found)
    if key not in calibration.coefficients:
        # without biases nothing tells what was learned from a common start, unless whole tensors are the same
        same = found.get("shared", 0.0) > 0
        return Inheritance(p_shares, p_values["shared"] if same else 1.0, 0.0, p_values, held)
    log_odds = calibration.log_odds(
        key, [float(transformed(n, found[n])) if n in found else 0.0 for n in FEATURES]
    )
    start = calibration.nulls[key, SAME_START]
    return Inheritance(p_shares, start.p_value(softplus(log_odds)), log_odds, p_values, held)
