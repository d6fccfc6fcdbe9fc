"""Every pair of models of a zoo, with what is true of it: what calibrations are fitted on and scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from provray.ancestry.fingerprint import Fingerprint
from provray.testbed.folders import Record
from provray.testbed.scoreboard.cases import ancestors_of, make_cases
from provray.testbed.scoreboard.parts import fold_cohorts, part_matrices

Bools = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]
THEFT = ("stolen", "distilled")


@dataclass(frozen=True)
class Pairs:
    """Matrices are models × models, in the order of the zoo's records.

    kin: both inherit weights from one another or from a common ancestor. lineal: one from the other. start: both
    began with
    the same weights and are not kin. comparable: same modality, same fold, two models. alike: same architecture.
    parts: scores by name; those of a
    fold's rows are centred by the other fold. types: architectures. folds, families: of each model; families are
    numbered by lineage, thieves with their victims.
    """

    models: tuple[str, ...]
    kin: Bools
    lineal: Bools
    start: Bools
    comparable: Bools
    alike: Bools
    parts: Mapping[str, Matrix]
    types: npt.NDArray[np.str_]
    folds: npt.NDArray[np.intp]
    families: npt.NDArray[np.intp]


def make_pairs(fingerprints: Sequence[Fingerprint], records: Sequence[Record]) -> Pairs:
    """The pairs of a zoo; fingerprints in the order of the records."""
    cases = make_cases(records)
    folds = np.empty(len(records), np.intp)
    families = np.empty(len(records), np.intp)
    folds[cases.suspects], families[cases.suspects] = cases.folds, cases.families
    parts: dict[str, Matrix] = {}
    for fold in (0, 1):
        outside = [f for f, of in zip(fingerprints, folds, strict=True) if of != fold]
        cohorts = {**fold_cohorts(outside, "dna"), **fold_cohorts(outside, "gif")}
        for name, matrix in part_matrices(fingerprints, cohorts).items():
            whole = parts.setdefault(name, np.full_like(matrix, np.nan))
            whole[folds == fold] = matrix[folds == fold]
    lineages = _lineages(records)
    beginnings = _beginnings(records)
    text = np.array([f.modality == "text" for f in fingerprints])
    kinds = np.array([f.weights.model_type if f.weights is not None else "" for f in fingerprints])
    kin = lineages[:, None] == lineages
    two = ~np.eye(len(records), dtype=bool)
    return Pairs(
        tuple(r.model for r in records),
        kin & two,
        _lineal(records),
        (beginnings[:, None] == beginnings) & ~kin,
        (text[:, None] == text) & (folds[:, None] == folds) & two,
        kinds[:, None] == kinds,
        parts,
        kinds,
        folds,
        families,
    )


def _lineal(records: Sequence[Record]) -> Bools:
    """Whether one of two models inherits weights from the other, along any number of steps."""
    index = {record.model: number for number, record in enumerate(records)}
    above: list[set[int]] = []
    for record in records:
        parents = [index[p] for p in record.parents] if record.relation not in THEFT else []
        above.append({*parents, *(a for parent in parents for a in above[parent])})
    found = np.zeros((len(records), len(records)), bool)
    for number, ancestors in enumerate(above):
        found[number, list(ancestors)] = True
    lineal: Bools = found | found.T
    return lineal


def _lineages(records: Sequence[Record]) -> npt.NDArray[np.intp]:
    """A number for each model; those connected by parents share it. Thieves and students begin their own."""
    index = {record.model: number for number, record in enumerate(records)}
    found = np.arange(len(records))
    for number, record in enumerate(records):
        if record.relation not in THEFT:
            for parent in record.parents:
                old, new = found[number], found[index[parent]]
                found[found == old] = new
    return found


def _beginnings(records: Sequence[Record]) -> npt.NDArray[np.intp]:
    """A number for each model: its root's, or for a network of the same start that of the root it began with."""
    above = ancestors_of(records)
    index = {record.model: number for number, record in enumerate(records)}
    named = {record.model: record for record in records}
    found = np.empty(len(records), np.intp)
    for number, record in enumerate(records):
        root = record.model
        if record.relation not in THEFT:
            # thieves below a thief's victim do not begin with the victim's weights
            roots = [m for m in sorted(above[record.model]) if not named[m].parents]
            root = roots[0] if roots else record.model
        if named[root].relation == "same start":
            root = root.split(" start ")[0]
        found[number] = index[root]
    return found
