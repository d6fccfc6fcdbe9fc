"""Every score of a pair of models, kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from provray.ancestry.cohort import Cohort, cohort_of
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.shared_tensors import shared_values
from provray.fingerprints.sketch import unit
from provray.fingerprints.space import require_same
from provray.fingerprints.weights import READOUTS
from provray.index.row import Row


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
    shared = [_weights(suspect, other) for other in others]
    dna, gif = (_behaviour(kind, suspect, others, cohorts) for kind in ("dna", "gif"))
    return [Scores(*w, d, g) for w, d, g in zip(shared, dna, gif, strict=True)]


def _weights(a: Fingerprint, b: Fingerprint) -> tuple[float | None, float | None, float | None]:
    """Cosines of weights and biases, and the share of values in common."""
    if a.weights is None or b.weights is None:
        return None, None, None
    require_same(a.weights.space, b.weights.space, what="weights sketches")
    weights, biases = (_cosine(a.weights, b.weights, readout) for readout in READOUTS)
    return weights, biases, shared_values(a.contents, b.contents, min(a.body_size, b.body_size))


def _behaviour(
    kind: str,
    suspect: Fingerprint,
    others: Sequence[Fingerprint],
    cohorts: Mapping[str, Cohort],
) -> list[dict[str, float]]:
    """Cosines of one kind's centred readouts, by name, with each of the others; those of equal readouts at once."""
    found: list[dict[str, float]] = [{} for _ in others]
    ours: Row | None = getattr(suspect, kind)
    if ours is None:
        return found
    cohort = cohort_of(ours, cohorts)
    centred = cohort.centre(ours)
    alike: dict[tuple[str, ...], list[tuple[int, Row]]] = {}
    for number, other in enumerate(others):
        theirs: Row | None = getattr(other, kind)
        if theirs is not None and theirs.modality == ours.modality:
            require_same(
                ours.space, theirs.space, what=f"{kind} of {suspect.model} and {other.model}"
            )
            alike.setdefault(theirs.readouts, []).append((number, theirs))
    for readouts, rows in alike.items():
        names = sorted(centred.keys() & set(readouts))
        if not names:
            continue
        order = [readouts.index(name) for name in names]
        vectors = np.stack([row.vectors for _, row in rows])[:, order]
        cosines = np.einsum(
            "nrd,rd->nr",
            unit(vectors - cohort.means_of(names, vectors.shape[2])),
            np.stack([centred[name] for name in names]),
        )
        for (number, _), values in zip(rows, cosines.tolist(), strict=True):
            found[number] = dict(zip(names, values, strict=True))
    return found


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
