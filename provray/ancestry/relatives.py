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
    SHARING,
    borne_out,
    learned,
)
from provray.ancestry.matrices import same_architecture, score_matrices
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
    for condition, of in ((SAME, alike), (OTHER, ~alike)):
        for name in SHARING[condition]:
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
    values = np.stack([scores[name][rows[kept], columns[kept]] for name in FEATURES], axis=-1)
    odds, start = learned(values, common[kept], calibration)
    passing = np.array(adjusted(start.tolist(), len(kept))) <= fdr
    kept, odds = kept[passing], odds[passing]
    accepted = kept[borne_out(rows[kept], columns[kept], odds, count, fdr)]
    found = np.zeros((count, count), bool)
    found[rows[accepted], columns[accepted]] = True
    return found | found.T
