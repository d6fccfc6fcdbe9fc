"""What unrelated models score: the null that a candidate is held against.

Up to their 90th percentile the scores of unrelated pairs speak for themselves; beyond it a generalised Pareto tail
(Pickands, Annals of Statistics 1975) is fitted by probability-weighted moments (Hosking & Wallis, Technometrics
1987). Its
shape is never below zero: a tail that ends would give a p-value of nothing to a score that no one has seen yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVELS: Floats = np.concatenate([np.linspace(0.0, 0.9, 46), [1.0]])
"""Probabilities of the kept quantiles; the last one is the largest score of the fit."""
_TAIL = 0.9
MINIMUM_PAIRS = 40
"""Pairs below which no null is fitted: its tail would rest on four scores."""


@dataclass(frozen=True)
class Null:
    """Scores of unrelated pairs. `condition`: what these pairs have in common. `origin`: `index` or `shipped`.
    `pairs`, `families`: how many it rests on. `quantiles`: at `LEVELS`. `shape`, `scale`: of the tail above the
    quantile at .9; the scale is in units of the score."""

    condition: str
    origin: str
    pairs: int
    families: int
    quantiles: Floats
    shape: float
    scale: float

    @property
    def edge(self) -> float:
        """Where the fitted tail begins."""
        return float(self.quantiles[-2])

    def p_value(self, score: float) -> float:
        """Probability that an unrelated pair scores this much or more."""
        if self.quantiles[-1] == self.quantiles[0]:
            # nobody ever scored anything but one value: there is no tail to fit, only the count
            return 1 / (self.pairs + 1) if score > self.quantiles[0] else 1.0
        if score <= self.edge:
            # turned round, so that of equal quantiles the lowest level counts: this much *or more*
            return 1.0 - float(np.interp(-score, -self.quantiles[-2::-1], LEVELS[-2::-1]))
        return (1 - _TAIL) * float(self._beyond((score - self.edge) / self.scale))

    def p_values(self, scores: Floats) -> Floats:
        """The same of many scores; 1 for NaN."""
        if self.quantiles[-1] == self.quantiles[0]:
            return np.where(scores > self.quantiles[0], 1 / (self.pairs + 1), 1.0)
        below = 1.0 - np.interp(-scores, -self.quantiles[-2::-1], LEVELS[-2::-1])
        tail = (1 - _TAIL) * self._beyond(np.maximum(scores - self.edge, 0.0) / self.scale)
        found: Floats = np.where(scores > self.edge, tail, below)
        return np.where(np.isnan(scores), 1.0, found)

    def _beyond(self, excess: Any) -> Any:
        """Share of the tail that lies further out than `excess`, in scales."""
        if self.shape < 1e-6:
            return np.exp(-excess)
        return (1 + self.shape * excess) ** (-1 / self.shape)

    def limit(self, p: float) -> float:
        """The score whose p-value is `p`; p above 0, and at most .1."""
        ratio = (1 - _TAIL) / p
        if self.shape < 1e-6:
            return self.edge + self.scale * float(np.log(ratio))
        return self.edge + self.scale / self.shape * float(ratio**self.shape - 1)


def fit_null(
    scores: Sequence[float] | Floats, *, condition: str, origin: str, families: int
) -> Null | None:
    """The null of these scores of unrelated pairs; None for fewer than `MINIMUM_PAIRS` of them."""
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if len(values) < MINIMUM_PAIRS:
        return None
    quantiles = np.quantile(values, LEVELS)
    shape, scale = _pareto(values[values > quantiles[-2]] - quantiles[-2])
    return Null(condition, origin, len(values), families, quantiles, shape, scale)


def _pareto(excesses: Floats) -> tuple[float, float]:
    """Shape and scale by probability-weighted moments; the exponential tail where the shape would be negative."""
    if not len(excesses):
        return 0.0, 1e-9
    mean = float(excesses.mean())
    ranks = (np.arange(1, len(excesses) + 1) - 0.35) / len(excesses)
    weighted = float((np.sort(excesses) * (1 - ranks)).mean())
    shape = 2 - mean / (mean - 2 * weighted) if mean > 2 * weighted else 0.0
    if shape <= 0:
        return 0.0, max(mean, 1e-9)
    shape = min(shape, 0.5)
    return shape, max(mean * (1 - shape), 1e-9)


def adjusted(
    p_values: Sequence[float], tests: int, groups: Sequence[int] | None = None
) -> list[float]:
    """Benjamini-Hochberg adjusted p-values (JRSS B 1995) of the best of `tests` hypotheses, in the given order.

    Whatever was not looked at counts as a test that would not have been rejected. Accepting what is at most q keeps the
    expected share of false acceptances at q. groups: hypotheses that stand or fall together (models of one family): a
    group ranks once, by its Simes p-value (Biometrika 1986), or twenty copies of one look-alike would vouch for each
    other.
    """
    if tests < len(p_values):
        raise ValueError(f"{len(p_values)} p-values cannot come from {tests} tests")
    p = np.asarray(p_values, dtype=np.float64)
    if not len(p):
        return []
    labels = np.arange(len(p)) if groups is None else np.asarray(groups)
    names, group = np.unique(labels, return_inverse=True)
    joint = _simes(p, group)
    order = np.argsort(joint)
    ranked = joint[order] * tests / np.arange(1, len(order) + 1)
    by_rank = np.append(np.minimum.accumulate(ranked[::-1])[::-1], np.inf)
    # a member ranks where its own p-value stands among the groups: no surer than its group, nor than it is by itself
    ranks = np.searchsorted(joint[order], p, side="right")
    alone = np.minimum(p * tests / np.maximum(ranks, 1), by_rank[ranks])
    grouped = dict(zip(names[order].tolist(), by_rank.tolist(), strict=False))
    return [
        float(min(1.0, max(grouped[label], own)))
        for label, own in zip(labels.tolist(), alone.tolist(), strict=True)
    ]


def _simes(p: Floats, group: npt.NDArray[np.intp]) -> Floats:
    """Simes p-value of each group: the least of p * members / rank within it."""
    order = np.lexsort((p, group))
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    ranks = np.arange(len(p)) - starts[group[order]] + 1
    found: Floats = np.minimum.reduceat(p[order] * sizes[group[order]] / ranks, starts)
    return found
