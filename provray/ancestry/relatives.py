"""Which of many models share what was learned: the error-controlled rule that a lineage is built on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from provray.ancestry.calibration import Calibration, NullKey
from provray.ancestry.cohort import Cohort
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.inheritance import (
    FEATURES,
    OTHER,
    SAME,
    SAME_START,
    pattern,
    softplus,
    transformed,
)
from provray.ancestry.matrices import Matrix, same_architecture, score_matrices
from provray.ancestry.null import Null, adjusted

Bools = npt.NDArray[np.bool_]


def relatives(
    members: Sequence[Fingerprint],
    cohorts: Mapping[str, Cohort],
    calibration: Calibration,
    nulls: Mapping[NullKey, Null],
    fdr: float,
) -> Bools:
    """Which pairs share learned weights, models × models, symmetric: among all pairs that are said to, at most `fdr`
    are expected to share none; and among those, at most `fdr` no more than a start."""
    count = len(members)
    scores = score_matrices(members, cohorts)
    rows, columns = np.triu_indices(count, 1)
    if not len(rows):
        return np.zeros((count, count), bool)
    alike = same_architecture(members)[rows, columns]
    shares, common = np.ones(len(rows)), np.ones(len(rows))
    tests = np.zeros(len(rows))
    for name in FEATURES:
        for condition, of in ((SAME, alike), (OTHER, ~alike)):
            null = nulls.get((name, condition)) or calibration.nulls.get((name, condition))
            values = scores[name][rows, columns]
            chosen = of & ~np.isnan(values)
            if null is not None:
                p_values = null.p_values(values[chosen])
                shares[chosen] = np.minimum(shares[chosen], p_values)
                tests[chosen] += 1
                if name == "shared":
                    common[chosen] = p_values
    shares = np.minimum(shares * np.maximum(tests, 1), 1.0)
    kept = np.flatnonzero(np.array(adjusted(shares.tolist(), len(rows))) <= fdr)
    odds, start = _learned(scores, rows[kept], columns[kept], common[kept], calibration)
    accepted = (np.array(adjusted(start.tolist(), len(kept))) <= fdr) & (odds >= 0)
    found = np.zeros((count, count), bool)
    found[rows[kept][accepted], columns[kept][accepted]] = True
    return found | found.T


def _learned(
    scores: Mapping[str, Matrix],
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    common: npt.NDArray[np.float64],
    calibration: Calibration,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Log-odds that a pair shares something learned, and the p-value against pairs of one start. common: p-value of the
    tensors they share, which decides where there are no biases, as in `inheritance`."""
    values = np.stack([scores[name][rows, columns] for name in FEATURES], axis=-1)
    weighed = np.stack([transformed(n, values[:, k]) for k, n in enumerate(FEATURES)], axis=-1)
    odds, p_values = np.full(len(rows), -np.inf), np.ones(len(rows))
    there = ~np.isnan(values)
    for kind in np.unique(there, axis=0):
        chosen = (there == kind).all(1)
        key = pattern({name: 0 for name, present in zip(FEATURES, kind, strict=True) if present})
        if key in calibration.coefficients:
            weights = calibration.coefficients[key]
            odds[chosen] = np.nan_to_num(weighed[chosen]) @ weights[:-1] + weights[-1]
            null = calibration.nulls[key, SAME_START]
            p_values[chosen] = null.p_values(softplus(odds[chosen]))
        else:
            same = scores["shared"][rows, columns] > 0
            odds[chosen] = np.where(same[chosen], 0.0, -np.inf)
            p_values[chosen] = np.where(same[chosen], common[chosen], 1.0)
    return odds, p_values
