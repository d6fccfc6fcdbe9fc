"""Every score of a pair of models, kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from provray.ancestry.cohort import Cohort, cohort_of
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.shared_tensors import shared_values
from provray.fingerprints.space import require_same
from provray.fingerprints.weights import READOUTS
from provray.index.row import Row

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Cosines of one pair. `weights`, `biases`: of the two weights sketches, None if one is missing. `shared`: share of
    the smaller body's learned values that stand in tensors of both. `dna`: by readout (`noise@1/6`,
    `mixed@probabilities` ...), centred by the cohort. `gif`: by scalar, centred."""

    weights: float | None = None
    biases: float | None = None
    shared: float | None = None
    dna: Mapping[str, float] = field(default_factory=dict)
    gif: Mapping[str, float] = field(default_factory=dict)


def compare(a: Fingerprint, b: Fingerprint, cohorts: Mapping[str, Cohort]) -> Scores:
    """All scores of a pair; see `compare_all`."""
    return compare_all(a, [b], cohorts)[0]


def compare_all(
    suspect: Fingerprint, others: Sequence[Fingerprint], cohorts: Mapping[str, Cohort]
) -> list[Scores]:
    """All scores of a suspect with each of the others. Kinds and readouts that one of two lacks, and behaviour of two
    modalities, are left out.

    cohorts: by space id. Raises SpaceMismatch if two have a kind in different spaces.
    """
    ours = {
        kind: cohort_of(row, cohorts).centre(row)
        for kind in ("dna", "gif")
        if (row := getattr(suspect, kind)) is not None
    }
    return [_pair(suspect, other, ours, cohorts) for other in others]


def _pair(
    a: Fingerprint,
    b: Fingerprint,
    ours: Mapping[str, Mapping[str, Floats]],
    cohorts: Mapping[str, Cohort],
) -> Scores:
    weights = biases = shared = None
    if a.weights is not None and b.weights is not None:
        require_same(a.weights.space, b.weights.space, what="weights sketches")
        weights, biases = (_cosine(a.weights, b.weights, readout) for readout in READOUTS)
        shared = shared_values(a.contents, b.contents, min(a.body_size, b.body_size))
    behaviour: dict[str, dict[str, float]] = {"dna": {}, "gif": {}}
    for kind, found in behaviour.items():
        row, theirs = getattr(a, kind), getattr(b, kind)
        if row is None or theirs is None or row.modality != theirs.modality:
            continue
        require_same(row.space, theirs.space, what=f"{kind} of {a.model} and {b.model}")
        centred = cohort_of(theirs, cohorts).centre(theirs)
        for name in sorted(ours[kind].keys() & centred.keys()):
            found[name] = float(ours[kind][name] @ centred[name])
    return Scores(weights, biases, shared, behaviour["dna"], behaviour["gif"])


LOWER_HALF = ("noise@0", "noise@1/6", "noise@1/3", "noise@1/2")
BEHAVIOUR = ("mixed@probabilities", "mixed@1", "noise@1")


def behaviour_score(scores: Scores) -> float | None:
    """Mean of the scores that speak of a model's outputs; None if none was measured."""
    values = [scores.dna[name] for name in BEHAVIOUR if name in scores.dna]
    values.extend(scores.gif.values())
    return sum(values) / len(values) if values else None


def lower_profile(scores: Scores) -> float | None:
    """Lowest score over the lower half of the depth profile on noise; None if it was not measured."""
    values = [scores.dna[name] for name in LOWER_HALF if name in scores.dna]
    return min(values) if len(values) == len(LOWER_HALF) else None


def _cosine(ours: Row, theirs: Row, readout: str) -> float | None:
    a, b = ours.vector(readout), theirs.vector(readout)
    # a zero sketch says that there was nothing to sketch, not that two models differ
    if a is None or b is None or not a.any() or not b.any():
        return None
    return float(a @ b)
