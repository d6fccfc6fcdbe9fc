"""The scores that speak of inherited weights, of all pairs of many models at once: models × models, NaN where
missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from provray.ancestry.cohort import Cohort, cohort_of
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.scores import LOWER_HALF
from provray.ancestry.shared_tensors import Content, shared_values
from provray.fingerprints.weights import READOUTS

Matrix = npt.NDArray[np.float64]


def score_matrices(
    members: Sequence[Fingerprint], cohorts: Mapping[str, Cohort]
) -> dict[str, Matrix]:
    """Every score of `inheritance.FEATURES` by name."""
    sketches = {
        name: cosines([None if m.weights is None else m.weights.vector(name) for m in members])
        for name in READOUTS
    }
    return {
        **sketches,
        "shared": shared_matrix(members),
        "lower profile": lower_profiles(members, cohorts),
    }


def cosines(vectors: Sequence[npt.NDArray[np.floating] | None]) -> Matrix:
    """Cosines of unit vectors; NaN where one is missing or zero."""
    there = [n for n, v in enumerate(vectors) if v is not None and v.any()]
    found = np.full((len(vectors), len(vectors)), np.nan)
    if there:
        stacked = np.stack([np.asarray(vectors[n], np.float64) for n in there])
        found[np.ix_(there, there)] = stacked @ stacked.T
    return found


def lower_profiles(members: Sequence[Fingerprint], cohorts: Mapping[str, Cohort]) -> Matrix:
    """Lowest score over the lower half of the depth profile on noise."""
    found = np.full((len(members), len(members)), np.nan)
    for space in sorted({m.dna.space for m in members if m.dna is not None}):
        held: list[Mapping[str, npt.NDArray[np.float64]]] = [
            cohort_of(m.dna, cohorts).centre(m.dna)
            if m.dna is not None and m.dna.space == space
            else {}
            for m in members
        ]
        depths = [cosines([vectors.get(name) for vectors in held]) for name in LOWER_HALF]
        lowest = np.min(depths, axis=0)
        found = np.where(np.isnan(lowest), found, lowest)
    return found


def shared_matrix(members: Sequence[Fingerprint]) -> Matrix:
    """`shared_values` of every pair."""
    there = np.array([bool(m.contents) for m in members], bool)
    found = np.where(there[:, None] & there, 0.0, np.nan)
    holders: dict[Content, list[int]] = {}
    for number, member in enumerate(members):
        for content in member.contents:
            holders.setdefault(content, []).append(number)
    for i, j in {(i, j) for held in holders.values() for i in held for j in held}:
        found[i, j] = shared_values(members[i].contents, members[j].contents) or 0.0
    return found


def same_architecture(members: Sequence[Fingerprint]) -> npt.NDArray[np.bool_]:
    """Whether two models are of one architecture, by their config."""
    types = np.array([row.model_type if (row := m.weights or m.dna) else "" for m in members])
    alike: npt.NDArray[np.bool_] = types[:, None] == types
    return alike
