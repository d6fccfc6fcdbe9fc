"""Inherited weights: does one model hold what another one learned?

Two questions, one after the other. Do they share anything at all: four scores, each against what unrelated pairs of the
same condition get. And is it something learned, or no more than the weights both began with: one number over the four
scores, against pairs of networks that began alike and have nothing else in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from provray.ancestry.calibration import Calibration, NullKey
from provray.ancestry.components import components
from provray.ancestry.null import Null
from provray.ancestry.scores import Scores, lower_profile

Floats = npt.NDArray[np.float64]

SAME, OTHER = "same architecture", "another architecture"
SAME_START = "same start"
FEATURES = ("weights", "biases", "shared", "lower profile")
SHARING = {SAME: FEATURES, OTHER: FEATURES[:3]}
"""Scores that can show weights to be shared, by condition. Between two architectures the lower layers of two models may
behave alike and hold nothing in common (docs/verdict.md), and what is held in common shows in the weights."""


@dataclass(frozen=True)
class Inheritance:
    """What one pair shows of inherited weights.

    p_shares: probability that an unrelated pair scores as much somewhere, over its scores in `SHARING` (Bonferroni).
    p_start: that a pair with nothing but its start in common scores as much. log_odds: for learned against not, prior
    1/2. nulls: what each score was held against.
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


def least_odds(fdr: float) -> float:
    """Log-odds from which the chance that a pair shares nothing learned is at most `fdr`: its local false discovery
    rate (Efron et al., JASA 2001), prior 1/2; never below 0."""
    return max(float(np.log1p(-fdr) - np.log(fdr)), 0.0)


def borne_out(
    first: npt.NDArray[np.intp],
    second: npt.NDArray[np.intp],
    log_odds: Floats,
    models: int,
    fdr: float,
) -> npt.NDArray[np.bool_]:
    """Which of these pairs of `models` models hang together by pairs of at least `least_odds`: among relatives who are
    sure, those who changed most need only be likelier kin than not."""
    sure = log_odds >= least_odds(fdr)
    links = zip(first[sure].tolist(), second[sure].tolist(), strict=True)
    family = np.array(components(models, links), np.intp)
    return (log_odds >= 0) & (family[first] == family[second])


def _allowed_odds(p_values: Floats) -> Floats:
    """Log-odds that a p-value allows at most, prior 1/2: -log(-e p log p) below 1/e, else 0 (Sellke, Bayarri & Berger,
    The American Statistician 2001)."""
    p = np.clip(p_values, 1e-300, np.exp(-1))
    return -np.log(-np.e * p * np.log(p)) + 0.0


def pattern(names: Mapping[str, object]) -> str:
    """Which features are there, as digits: `1101` lacks the third."""
    return "".join("1" if name in names else "0" for name in FEATURES)


def condition(ours: str | None, theirs: str | None) -> str:
    """What confounds a pair and can be seen: whether both are of one architecture. None: not known."""
    return SAME if len({ours, theirs} - {None}) == 1 else OTHER


@dataclass(frozen=True)
class Shown:
    """`Inheritance` of many pairs, as columns: 1, 1 and 0 where nothing was measured. p_values: of `FEATURES`, (pairs,
    4), NaN where there is none. nulls: by condition and score."""

    conditions: Sequence[str]
    p_shares: Floats
    p_start: Floats
    log_odds: Floats
    p_values: Floats
    nulls: Mapping[str, Mapping[str, Null]]

    def of(self, number: int) -> Inheritance | None:
        """What one pair shows; None if neither weights nor profile were measured for both."""
        found = {
            name: p
            for name, p in zip(FEATURES, self.p_values[number].tolist(), strict=True)
            if p == p
        }
        if not found:
            return None
        nulls = self.nulls[self.conditions[number]]
        return Inheritance(
            float(self.p_shares[number]),
            float(self.p_start[number]),
            float(self.log_odds[number]),
            found,
            {name: nulls[name] for name in found},
        )


def inheritance(
    values: Floats,
    conditions: Sequence[str],
    calibration: Calibration,
    nulls: Mapping[NullKey, Null],
) -> Shown:
    """What the scores of each pair show.

    values: of `FEATURES`, (pairs, 4), NaN where missing. conditions: of each pair. nulls: of the index, by score and
    condition; where it has none, the shipped ones.
    """
    of = np.array(conditions, str)
    p_values = np.full(values.shape, np.nan)
    held: dict[str, dict[str, Null]] = {}
    for told in sorted(set(conditions)):
        held[told] = {
            name: null
            for name in SHARING[told]
            if (null := nulls.get((name, told)) or calibration.nulls.get((name, told)))
        }
        for name, null in held[told].items():
            k = FEATURES.index(name)
            chosen = (of == told) & ~np.isnan(values[:, k])
            p_values[chosen, k] = null.p_values(values[chosen, k])
    there = ~np.isnan(p_values)
    known = np.where(there, p_values, 1.0)
    shares = np.minimum(known.min(1) * np.maximum(there.sum(1), 1), 1.0)
    odds, starts = learned(values, known[:, FEATURES.index("shared")], calibration)
    return Shown(conditions, shares, starts, odds, p_values, held)


def learned(values: Floats, common: Floats, calibration: Calibration) -> tuple[Floats, Floats]:
    """Log-odds that each pair shares something learned, and the p-value against pairs of one start.

    values: of `FEATURES`, (pairs, 4), NaN where missing. common: p-value of the tensors they share, which decides where
    there are no biases: without them nothing tells what was learned from a common start, unless whole tensors are the
    same.
    """
    weighed = np.stack([transformed(n, values[:, k]) for k, n in enumerate(FEATURES)], axis=-1)
    odds, p_values = np.zeros(len(values)), np.ones(len(values))
    kinds = ~np.isnan(values) @ (1 << np.arange(len(FEATURES)))
    for kind in np.unique(kinds).tolist():
        chosen = kinds == kind
        key = pattern({name: 0 for k, name in enumerate(FEATURES) if kind >> k & 1})
        if key in calibration.coefficients:
            weights = calibration.coefficients[key]
            terms = np.nan_to_num(weighed[chosen]) * weights[:-1]
            # not by a matrix product: the last bit of one pair must not depend on the others
            odds[chosen] = terms.sum(1) + weights[-1]
            p_values[chosen] = calibration.nulls[key, SAME_START].p_values(softplus(odds[chosen]))
        else:
            same = values[chosen, FEATURES.index("shared")] > 0
            p_values[chosen] = np.where(same, common[chosen], 1.0)
            odds[chosen] = _allowed_odds(p_values[chosen])
    return odds, p_values
