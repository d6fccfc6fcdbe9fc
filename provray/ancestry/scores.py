"""Every score of a pair of models, kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from provray.ancestry.cohort import Cohort, cohort_of
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.lineup import Lineup, line_up
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


@dataclass(frozen=True)
class ScoreTable:
    """`Scores` of one model with many others, as columns: NaN where one was not measured."""

    weights: Floats
    biases: Floats
    shared: Floats
    dna: Mapping[str, Floats]
    gif: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.weights)

    def of(self, number: int) -> Scores:
        """Those with one of the others."""
        weights, biases, shared = (
            _measured(column[number]) for column in (self.weights, self.biases, self.shared)
        )
        return Scores(weights, biases, shared, _row(self.dna, number), _row(self.gif, number))

    @property
    def behaviour(self) -> Floats:
        """`behaviour_score` of each."""
        columns = [self.dna[name] for name in BEHAVIOUR if name in self.dna]
        columns.extend(self.gif.values())
        total, count = np.zeros(len(self)), np.zeros(len(self))
        for column in columns:
            total += np.nan_to_num(column)
            count += ~np.isnan(column)
        return np.divide(total, count, out=np.full(len(self), np.nan), where=count > 0)

    @property
    def lower_profile(self) -> Floats:
        """`lower_profile` of each."""
        if not self.dna.keys() >= set(LOWER_HALF):
            return np.full(len(self), np.nan)
        lowest: Floats = np.min([self.dna[name] for name in LOWER_HALF], axis=0)
        return lowest

    @property
    def features(self) -> Floats:
        """The scores that speak of inherited weights, a row for each of the others; see `inheritance.FEATURES`."""
        return np.stack([self.weights, self.biases, self.shared, self.lower_profile], axis=1)


def compare(a: Fingerprint, b: Fingerprint, cohorts: Mapping[str, Cohort]) -> Scores:
    """All scores of a pair; see `compare_all`."""
    return compare_all(a, line_up([b]), cohorts).of(0)


def compare_all(suspect: Fingerprint, others: Lineup, cohorts: Mapping[str, Cohort]) -> ScoreTable:
    """All scores of a suspect with each of the others. Kinds and readouts that one of two lacks, and behaviour of two
    modalities, are left out.

    cohorts: by space id. Raises SpaceMismatch if two have a kind in different spaces.
    """
    weights, biases = (_sketches(suspect, others, readout) for readout in READOUTS)
    shared = others.contents.shared(suspect.contents)
    dna, gif = (_behaviour(kind, suspect, others, cohorts) for kind in ("dna", "gif"))
    return ScoreTable(weights, biases, shared, dna, gif)


def _measured(value: float) -> float | None:
    return None if value != value else float(value)


def _row(columns: Mapping[str, Floats], number: int) -> dict[str, float]:
    values = {name: float(column[number]) for name, column in columns.items()}
    return {name: value for name, value in values.items() if value == value}


def _sketches(suspect: Fingerprint, others: Lineup, readout: str) -> Floats:
    """Cosine of one weights sketch with each; NaN where one is missing or zero: a zero sketch says that there was
    nothing to sketch, not that two models differ."""
    found = np.full(len(others), np.nan)
    ours = suspect.weights
    for rows in others.of_kind("weights") if ours is not None and ours.readouts else ():
        assert ours is not None
        require_same(ours.space, rows.layout.space, what="weights sketches")
        vector = ours.vector(readout)
        if vector is None or not vector.any() or readout not in rows.layout.readouts:
            continue
        theirs = rows.vectors[:, rows.layout.readouts.index(readout)].astype(np.float64)
        # not by a matrix product: the last bit of a score must not depend on who else is compared
        cosines = np.einsum("nd,d->n", theirs, vector.astype(np.float64))
        nothing = np.flatnonzero(cosines == 0)
        cosines[nothing[~theirs[nothing].any(1)]] = np.nan
        found[rows.numbers] = cosines
    return found


def _behaviour(
    kind: str, suspect: Fingerprint, others: Lineup, cohorts: Mapping[str, Cohort]
) -> dict[str, Floats]:
    """Cosines of one kind's centred readouts, by name, with each of the others; those of one layout at once."""
    found: dict[str, Floats] = {}
    ours: Row | None = getattr(suspect, kind)
    if ours is None:
        return found
    cohort = cohort_of(ours, cohorts)
    centred = cohort.centre(ours)
    for rows in others.of_kind(kind):
        readouts = rows.layout.readouts
        if rows.layout.modality != ours.modality:
            continue
        other = others.models[rows.numbers[0]]
        require_same(ours.space, rows.layout.space, what=f"{kind} of {suspect.model} and {other}")
        names = sorted(centred.keys() & set(readouts))
        if not names:
            continue
        chosen = rows.vectors[:, [readouts.index(name) for name in names]]
        vectors = chosen - cohort.means_of(names, chosen.shape[-1])
        along = np.einsum("nrd,rd->nr", vectors, np.stack([centred[name] for name in names]))
        norms = np.sqrt(np.einsum("nrd,nrd->nr", vectors, vectors))
        cosines = np.divide(along, norms, out=np.zeros_like(along), where=norms > 0)
        for name, values in zip(names, cosines.T, strict=True):
            found.setdefault(name, np.full(len(others), np.nan))[rows.numbers] = values
    return dict(sorted(found.items()))


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
