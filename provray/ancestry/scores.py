"""Every score of a pair of models, kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provray.ancestry.cohort import Cohort, cohort_of
from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.space import require_same


@dataclass(frozen=True)
class Scores:
    """Cosines of one pair. `weights`: of the weights sketches, None if one is missing. `dna`: by readout
    (`noise@1/6`, `mixed@probabilities` ...), centred by the cohort. `gif`: by scalar, centred."""

    weights: float | None = None
    dna: Mapping[str, float] = field(default_factory=dict)
    gif: Mapping[str, float] = field(default_factory=dict)


def compare(a: Fingerprint, b: Fingerprint, cohorts: Mapping[str, Cohort]) -> Scores:
    """All scores of a pair. Kinds and readouts that one of them lacks, and behaviour of two modalities, are left out.

    cohorts: by space id. Raises SpaceMismatch if both have a kind in different spaces.
    """
    weights = None
    if a.weights is not None and b.weights is not None:
        require_same(a.weights.space, b.weights.space, what="weights sketches")
        if len(a.weights.vectors) and len(b.weights.vectors):
            weights = float(a.weights.vectors[0] @ b.weights.vectors[0])
    behaviour: dict[str, dict[str, float]] = {"dna": {}, "gif": {}}
    for kind, found in behaviour.items():
        ours, theirs = getattr(a, kind), getattr(b, kind)
        if ours is None or theirs is None or ours.modality != theirs.modality:
            continue
        require_same(ours.space, theirs.space, what=f"{kind} of {a.model} and {b.model}")
        cohort = cohort_of(ours, cohorts)
        centred_a, centred_b = cohort.centre(ours), cohort.centre(theirs)
        for name in centred_a.keys() & centred_b.keys():
            found[name] = float(centred_a[name] @ centred_b[name])
    return Scores(
        weights, dict(sorted(behaviour["dna"].items())), dict(sorted(behaviour["gif"].items()))
    )
