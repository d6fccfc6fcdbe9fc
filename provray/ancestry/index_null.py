"""The nulls of an index: what its own unrelated models score with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from provray.ancestry.calibration import NullKey
from provray.ancestry.cohort import MINIMUM, Cohort, families
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.inheritance import FEATURES, OTHER, SAME
from provray.ancestry.null import Null, fit_null
from provray.ancestry.scores import LOWER_HALF
from provray.fingerprints.weights import READOUTS

_OF_A_FAMILY = 4
"""Members of a family that count, at most: forty children of one model are one observation of strangers."""

Matrix = npt.NDArray[np.float64]


def index_nulls(
    fingerprints: Sequence[Fingerprint], cohorts: Mapping[str, Cohort]
) -> dict[NullKey, Null]:
    """Nulls by score and condition; none for an index of fewer than 16 unrelated families.

    Shared tensors have no null of their own: whoever shares one counts as family.
    """
    numbers = families(fingerprints)
    seen: Counter[int] = Counter()
    chosen = []
    for place, number in enumerate(numbers):
        if seen[number] < _OF_A_FAMILY and fingerprints[place].weights is not None:
            chosen.append(place)
        seen[number] += 1
    if len({numbers[place] for place in chosen}) < MINIMUM:
        return {}
    members = [fingerprints[place] for place in chosen]
    family = np.array([numbers[place] for place in chosen])
    types = np.array([m.weights.model_type if m.weights is not None else "" for m in members])
    strangers = np.triu(family[:, None] != family, 1)
    matrices: dict[str, Matrix] = {
        name: _cosines([None if m.weights is None else m.weights.vector(name) for m in members])
        for name in READOUTS
    }
    matrices["lower profile"] = _lower_profiles(members, cohorts)
    nulls: dict[NullKey, Null] = {}
    for score in FEATURES:
        if score not in matrices:
            continue
        values = matrices[score]
        for condition, alike in ((SAME, True), (OTHER, False)):
            rows, columns = np.nonzero(
                strangers & ((types[:, None] == types) == alike) & ~np.isnan(values)
            )
            involved = {*family[rows].tolist(), *family[columns].tolist()}
            if len(involved) < MINIMUM:
                continue
            null = fit_null(
                values[rows, columns],
                condition=condition,
                origin="index",
                families=len(involved),
            )
            if null is not None:
                nulls[score, condition] = null
    return nulls


def _cosines(vectors: Sequence[npt.NDArray[np.floating] | None]) -> Matrix:
    """Cosines of unit vectors; NaN where one is missing or zero."""
    there = [n for n, v in enumerate(vectors) if v is not None and v.any()]
    found = np.full((len(vectors), len(vectors)), np.nan)
    if there:
        stacked = np.stack([np.asarray(vectors[n], np.float64) for n in there])
        found[np.ix_(there, there)] = stacked @ stacked.T
    return found


def _lower_profiles(members: Sequence[Fingerprint], cohorts: Mapping[str, Cohort]) -> Matrix:
    found = np.full((len(members), len(members)), np.nan)
    for space in {m.dna.space for m in members if m.dna is not None}:
        held: list[Mapping[str, npt.NDArray[np.float64]]] = [
            cohorts[space].centre(m.dna) if m.dna is not None and m.dna.space == space else {}
            for m in members
        ]
        depths = [_cosines([vectors.get(name) for vectors in held]) for name in LOWER_HALF]
        lowest = np.min(depths, axis=0)
        found = np.where(np.isnan(lowest), found, lowest)
    return found
