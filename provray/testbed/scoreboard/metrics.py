"""How good a score is, with intervals over families.

Families, not pairs, are what was drawn from the world: a hundred children of one network are one observation of how
networks differ. So every interval is a percentile bootstrap over families (Efron 1979): families are drawn with
replacement, their questions come along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
RESAMPLES = 1000
SEED = 20234


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval over families, and how many questions it rests on."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def draws(families: int) -> Floats:
    """How often each of `families` is drawn in each resample: RESAMPLES × families, seeded."""
    generator = np.random.default_rng(SEED)
    return generator.multinomial(families, [1 / families] * families, RESAMPLES).astype(np.float64)


def _interval(values: Floats) -> tuple[float, float]:
    kept = values[np.isfinite(values)]
    if not kept.size:
        return float("nan"), float("nan")
    low, high = np.percentile(kept, [2.5, 97.5])
    return float(low), float(high)


def share(hits: npt.NDArray[np.bool_], families: Ints) -> Estimate:
    """Share of questions answered right."""
    if not len(hits):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    names, numbers = np.unique(families, return_inverse=True)
    right = np.bincount(numbers, hits.astype(np.float64), len(names))
    asked = np.bincount(numbers, minlength=len(names)).astype(np.float64)
    weights = draws(len(names))
    low, high = _interval((weights @ right) / (weights @ asked))
    return Estimate(float(np.mean(hits)), low, high, len(hits))


def auc(
    positive: Floats, positive_families: Ints, negative: Floats, negative_families: Ints
) -> Estimate:
    """Share of (positive, negative) pairs in the right order, ties half: the area under the ROC curve.

    Families of positives and of negatives are numbered alike and drawn together.
    """
    if not len(positive) or not len(negative):
        return Estimate(float("nan"), float("nan"), float("nan"), len(positive))
    names = np.unique(np.concatenate([positive_families, negative_families]))
    rows = np.searchsorted(names, positive_families)
    columns = np.searchsorted(names, negative_families)
    wins, pairs = (np.zeros((len(names), len(names))) for _ in range(2))
    for family in np.unique(columns):
        against = np.sort(negative[columns == family])
        below = np.searchsorted(against, positive, "left")
        equal = np.searchsorted(against, positive, "right") - below
        wins[:, family] = np.bincount(rows, below + 0.5 * equal, len(names))
        pairs[:, family] = np.bincount(rows, minlength=len(names)) * len(against)
    weights = draws(len(names))
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = np.einsum("bi,ij,bj->b", weights, wins, weights) / np.einsum(
            "bi,ij,bj->b", weights, pairs, weights
        )
    low, high = _interval(resampled)
    return Estimate(float(wins.sum() / pairs.sum()), low, high, len(positive))


def threshold_at(negative: Floats, rate: float) -> float:
    """The least score that at most a share `rate` of the negatives exceed; +inf if there is none to judge by."""
    if not len(negative):
        return float("inf")
    allowed = int(rate * len(negative))
    return float(np.sort(negative)[::-1][min(allowed, len(negative) - 1)])
