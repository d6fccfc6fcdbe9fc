"""Every fingerprint part as a matrix of scores: models × models, NaN where a pair has no such score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from provray.ancestry.cohort import Cohort, mean_by_family
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.matrices import shared_matrix
from provray.ancestry.scores import BEHAVIOUR, LOWER_HALF
from provray.fingerprints.weights import READOUTS as WEIGHTS_READOUTS

Matrix = npt.NDArray[np.float64]

SHARED_VALUES = "shared values"
LOWER_PROFILE = "lower profile"
BEHAVIOUR_MEAN = "behaviour mean"


def fold_cohorts(fingerprints: Sequence[Fingerprint], kind: str) -> dict[str, Cohort]:
    """The cohorts that some models make, each of their families counting once, by space."""
    spaces = {row.space for f in fingerprints if (row := getattr(f, kind)) is not None}
    cohorts = {}
    for space in spaces:
        own = [f for f in fingerprints if (r := getattr(f, kind)) is not None and r.space == space]
        means, size = mean_by_family(own, kind)
        cohorts[space] = Cohort(space, means, size, "other fold")
    return cohorts


def part_matrices(
    fingerprints: Sequence[Fingerprint], cohorts: Mapping[str, Cohort]
) -> dict[str, Matrix]:
    """Scores by part: `weights`, `biases`, `shared values`, `dna noise@1/6` …, `gif mixed@top_logit` …; and two
    that combine them as verdicts do.

    Behaviour is centred by the cohort of its space, in `cohorts`.
    """
    count = len(fingerprints)
    vectors: dict[str, dict[int, npt.NDArray[np.float64]]] = {}
    for number, fingerprint in enumerate(fingerprints):
        weights = fingerprint.weights
        for name in WEIGHTS_READOUTS if weights is not None else ():
            sketch = weights.vector(name) if weights is not None else None
            if sketch is not None and sketch.any():
                vectors.setdefault(name, {})[number] = sketch.astype(np.float64)
        for kind in ("dna", "gif"):
            row = getattr(fingerprint, kind)
            if row is None:
                continue
            for name, vector in cohorts[row.space].centre(row).items():
                key = f"{kind} {name}@{row.modality}"
                vectors.setdefault(key, {})[number] = vector
    found: dict[str, Matrix] = {}
    for key, held in vectors.items():
        name = key if key in WEIGHTS_READOUTS else key.rsplit("@", 1)[0]
        matrix = found.setdefault(name, np.full((count, count), np.nan))
        rows = np.array(list(held))
        stacked = np.stack(list(held.values()))
        matrix[np.ix_(rows, rows)] = stacked @ stacked.T
    found[SHARED_VALUES] = shared_matrix(fingerprints)
    lower = np.stack([found[f"dna {name}"] for name in LOWER_HALF])
    found[LOWER_PROFILE] = lower.min(0)
    outputs = [f"dna {name}" for name in BEHAVIOUR if f"dna {name}" in found]
    outputs += [name for name in found if name.startswith("gif ")]
    found[BEHAVIOUR_MEAN] = mean_of([found[name] for name in outputs])
    return found


def mean_of(matrices: Sequence[Matrix]) -> Matrix:
    """Mean of what is there; NaN where nothing is."""
    stacked = np.stack(matrices)
    there = ~np.isnan(stacked)
    total = np.where(there, stacked, 0.0).sum(0)
    counts = there.sum(0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
