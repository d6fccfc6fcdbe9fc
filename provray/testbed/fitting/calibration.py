"""Fit what verdicts are calibrated by, on the families of some folds of a zoo."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt

from provray.ancestry.calibration import Calibration, NullKey
from provray.ancestry.inheritance import (
    FEATURES,
    OTHER,
    SAME,
    SAME_START,
    SHARING,
    softplus,
    transformed,
)
from provray.ancestry.null import Null, fit_null
from provray.testbed.fitting.pairs import Bools, Pairs
from provray.testbed.scoreboard.parts import LOWER_PROFILE, SHARED_VALUES

Floats = npt.NDArray[np.float64]
PARTS = {
    "weights": "weights",
    "biases": "biases",
    "shared": SHARED_VALUES,
    "lower profile": LOWER_PROFILE,
}
_SEED = 7
_STRANGERS = 8000
"""Ordinary unrelated pairs that are fitted on; all pairs of the same start and all look-alikes are."""
_HARD = 0.5
"""Lower profile from which an unrelated pair counts as a look-alike."""


def fit_calibration(
    pairs: Pairs, folds: Collection[int], without: str = "", **facts: str
) -> Calibration:
    """Weights and nulls from the pairs of these folds alone; `without`: an architecture that is left out."""
    inside = pairs.comparable & np.isin(pairs.folds, list(folds))[:, None]
    there = pairs.types != without
    inside &= there[:, None] & there
    inside &= np.triu(np.ones_like(inside), 1)
    coefficients: dict[str, Floats] = {}
    nulls: dict[NullKey, Null] = {}
    for condition, alike in ((SAME, pairs.alike), (OTHER, ~pairs.alike)):
        for name in SHARING[condition]:
            part = PARTS[name]
            chosen = inside & alike & ~pairs.kin & ~pairs.start & ~np.isnan(pairs.parts[part])
            if (null := _null(pairs, pairs.parts[part], chosen, condition)) is not None:
                nulls[name, condition] = null
    values = np.stack([transformed(name, pairs.parts[PARTS[name]]) for name in FEATURES], axis=-1)
    for there in _patterns():
        weights = _logistic(pairs, values, inside, there)
        key = "".join("1" if t else "0" for t in there)
        coefficients[key] = weights
        odds = np.nan_to_num(values * np.array(there)) @ weights[:-1] + weights[-1]
        null = _null(pairs, softplus(odds), inside & pairs.start, SAME_START)
        if null is not None:
            nulls[key, SAME_START] = null
    return Calibration(coefficients, nulls, facts)


def _patterns() -> Iterator[tuple[bool, ...]]:
    """Every set of features that a verdict can rest on: without biases nothing tells learning from a common start."""
    for shared, profile in itertools.product((True, False), repeat=2):
        yield True, True, shared, profile


def _null(pairs: Pairs, scores: Floats, chosen: Bools, condition: str) -> Null | None:
    rows, columns = np.nonzero(chosen)
    if not len(rows):
        return None
    families = {*pairs.families[rows].tolist(), *pairs.families[columns].tolist()}
    return fit_null(
        scores[rows, columns], condition=condition, origin="shipped", families=len(families)
    )


def _logistic(pairs: Pairs, values: Floats, inside: Bools, there: tuple[bool, ...]) -> Floats:
    """Weights and intercept for the features that are there; the others get 0.

    Ancestors with their descendants against, in equal parts, pairs of one start and other strangers. Cousins are
    left out: how much they share is anything from all to next to nothing.
    """
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(_SEED)
    used = inside & ~np.isnan(values[..., list(there)]).any(-1)
    hard = np.nan_to_num(pairs.parts[LOWER_PROFILE]) > _HARD
    strangers = used & ~pairs.kin & ~pairs.start
    parts = [
        np.argwhere(used & pairs.lineal),
        np.argwhere(used & pairs.start),
        np.argwhere(strangers & hard),
        generator.permutation(np.argwhere(strangers & ~hard))[:_STRANGERS],
    ]
    chosen = np.concatenate(parts)
    share = [2.0 / max(len(parts[0]), 1), 1.0 / max(len(parts[1]), 1)]
    share += [1.0 / max(len(parts[2]) + len(parts[3]), 1)] * 2
    weight = np.concatenate([np.full(len(p), s) for p, s in zip(parts, share, strict=True)])
    x = values[chosen[:, 0], chosen[:, 1]][:, list(there)]
    y = np.arange(len(chosen)) < len(parts[0])
    scale = x.std(0) + 1e-6
    model = LogisticRegression(C=10.0, max_iter=5000)
    model.fit(x / scale, y, sample_weight=weight * len(chosen) / 4)
    weights = np.zeros(len(there) + 1)
    weights[:-1][list(there)] = model.coef_[0] / scale
    weights[-1] = model.intercept_[0]
    return weights
