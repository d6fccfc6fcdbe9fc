"""The nulls of an index: what its own unrelated models score with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from provray.ancestry.calibration import NullKey
from provray.ancestry.cohort import MINIMUM, Cohort
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.inheritance import OTHER, SAME, SHARING
from provray.ancestry.lineup import line_up
from provray.ancestry.matrices import same_architecture, score_matrices
from provray.ancestry.null import Null, fit_null

_OF_A_FAMILY = 4
"""Members of a family that count, at most: forty children of one model are one observation of strangers."""


def index_nulls(
    fingerprints: Sequence[Fingerprint], cohorts: Mapping[str, Cohort]
) -> dict[NullKey, Null]:
    """Nulls by score and condition; none for an index of fewer than 16 unrelated families.

    Shared tensors have no null of their own: whoever shares one counts as family.
    """
    numbers = line_up(fingerprints).families
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
    same = same_architecture(members)
    strangers = np.triu(family[:, None] != family, 1)
    matrices = score_matrices(members, cohorts)
    nulls: dict[NullKey, Null] = {}
    for condition, alike in ((SAME, True), (OTHER, False)):
        for score in SHARING[condition]:
            if score == "shared":
                continue
            values = matrices[score]
            rows, columns = np.nonzero(strangers & (same == alike) & ~np.isnan(values))
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
