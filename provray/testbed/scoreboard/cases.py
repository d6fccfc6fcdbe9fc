"""Who is asked about whom.

Every model is a suspect. Candidates are the models without parents of its own fold and modality: its families'
roots, their twins, look-alikes, controls and networks of the same start. So neither the true parent nor any
stranger of a question was seen by what was fitted on the other fold. Models without parents have no true
answer: whatever names one for them is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from provray.testbed.folders import Record

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cases:
    """All questions of a zoo. Matrices are suspects × candidates.

    models: names, the order of every score matrix. suspects, candidates: indices into it. asked: whether a pair
    shares fold and modality, and is two models. true: whether the candidate is an ancestor. hard: whether it is a
    stranger trained on the same data as one of the suspect's roots, or from the same initial weights.
    methods: how each suspect was made. descended: whether it has parents. families: a number per suspect,
    the first of its roots. folds: of each suspect.
    """

    models: tuple[str, ...]
    suspects: npt.NDArray[np.intp]
    candidates: npt.NDArray[np.intp]
    asked: Bools
    true: Bools
    hard: Bools
    methods: tuple[str, ...]
    descended: Bools
    families: npt.NDArray[np.intp]
    folds: npt.NDArray[np.intp]

    def scores(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The suspects × candidates part of a models × models matrix; −inf where a pair cannot be compared."""
        part = matrix[np.ix_(self.suspects, self.candidates)]
        return np.where(np.isnan(part), -np.inf, part)

    def of_fold(self, fold: int) -> Bools:
        """Which suspects belong to a fold."""
        found: Bools = self.folds == fold
        return found


def ancestors_of(records: Sequence[Record]) -> dict[str, set[str]]:
    """All ancestors of every model, parents and theirs."""
    parents = {record.model: record.parents for record in records}

    def above(model: str) -> set[str]:
        return set(parents[model]).union(*(above(parent) for parent in parents[model]))

    return {record.model: above(record.model) for record in records}


def is_text(record: Record) -> bool:
    """Whether a model of a zoo takes texts; images otherwise."""
    return record.model.startswith(("news/", "reviews/", "encoders/", "real/minilm", "real/mpnet"))


def data_of(record: Record) -> str:
    """What a model was trained on in the end, as one word: the domain its look-alikes share."""
    if record.model.startswith("encoders/"):
        return "news"
    if record.model.startswith("real/"):
        return "sentence pairs" if is_text(record) else "photographs"
    return record.data.split(",")[0] or record.model.split("/")[0]


def make_cases(records: Sequence[Record]) -> Cases:
    """The questions of a zoo, from its truth. Raises ValueError for roots without a fold, or without children."""
    above = ancestors_of(records)
    index = {record.model: number for number, record in enumerate(records)}
    folds: dict[str, int] = {}
    for record in records:
        if not record.parents:
            if "fold" not in record.settings:
                raise ValueError(
                    f"{record.model} has no parents and no fold: score a zoo of `provray zoo build`"
                )
            folds[record.model] = int(record.settings["fold"])
    roots = [record for record in records if not record.parents]
    if len(roots) == len(records):
        raise ValueError("the zoo holds no model with parents: nothing can be asked")
    tops = {r.model: sorted(above[r.model] & folds.keys()) or [r.model] for r in records}
    learnt = {r.model: {data_of(records[index[top]]) for top in tops[r.model]} for r in records}
    shape = (len(records), len(roots))
    asked, true, hard = (np.zeros(shape, bool) for _ in range(3))
    for row, suspect in enumerate(records):
        fold = folds[tops[suspect.model][0]]
        for column, root in enumerate(roots):
            other = root.model != suspect.model and is_text(root) == is_text(suspect)
            asked[row, column] = other and folds[root.model] == fold
            true[row, column] = root.model in above[suspect.model]
            start = root.relation == "same start" and root.model.startswith(tops[suspect.model][0])
            alike = bool(learnt[root.model] & learnt[suspect.model])
            hard[row, column] = not true[row, column] and (start or alike)
    numbers = {root.model: number for number, root in enumerate(roots)}
    return Cases(
        tuple(record.model for record in records),
        np.arange(len(records)),
        np.array([index[r.model] for r in roots], np.intp),
        asked,
        true & asked,
        hard & asked,
        tuple(r.method for r in records),
        np.array([bool(r.parents) for r in records]),
        np.array([numbers[tops[r.model][0]] for r in records], np.intp),
        np.array([folds[tops[r.model][0]] for r in records], np.intp),
    )


def methods_in_order(cases: Cases, records: Mapping[str, Record]) -> list[str]:
    """Every method of making a child once: theft, distillation, evasion, then what keeps the weights."""
    order = ["stolen", "distilled", "permuted", "rescaled", "merged", "pruned", "quantised"]
    found: dict[str, tuple[int, str]] = {}
    for suspect, method in zip(cases.suspects, cases.methods, strict=True):
        if not cases.descended[suspect]:
            continue
        relation = records[cases.models[suspect]].relation
        rank = order.index(relation) if relation in order else len(order)
        found[method] = (rank, method)
    return sorted(found, key=lambda method: found[method])
