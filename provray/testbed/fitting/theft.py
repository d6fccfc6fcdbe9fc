"""Fit and score what tells a thief from a look-alike: gaps of agreement on inputs of the victim's own domain."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from provray.ancestry.calibration import Calibration
from provray.ancestry.cohort import Cohort
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.null import fit_null
from provray.ancestry.resemblance import READOUTS, THEFT, VICTIM_AWAY
from provray.testbed.domain_index import domain_of
from provray.testbed.folders import Record
from provray.testbed.scoreboard.cases import ancestors_of, data_of, make_cases
from provray.testbed.scoreboard.outputs import Outputs
from provray.testbed.scoreboard.parts import fold_cohorts

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """One suspect, asked on probes of its domain about the models without parents of its fold and domain.

    gaps: candidates × `READOUTS`. true: which of them are its victims. alone: gaps of each candidate that is no victim,
    as if no victim were indexed. margin: of fidelity, None for a suspect that stole nothing.
    """

    suspect: str
    method: str
    fold: int
    family: int
    candidates: tuple[str, ...]
    gaps: Floats
    true: npt.NDArray[np.bool_]
    alone: Floats
    margin: float | None


def make_questions(
    records: Sequence[Record],
    fingerprints: Mapping[tuple[str, str], Fingerprint],
    margins: Mapping[str, float],
) -> list[Question]:
    """Every thief and student, and every model without parents, as a suspect.

    fingerprints: DNA by (domain, model), on the domain's probes. Centred by the models of that domain in the other
    fold. margins: of fidelity, of thieves and students.
    """
    cases = make_cases(records)
    folds = {cases.models[s]: int(f) for s, f in zip(cases.suspects, cases.folds, strict=True)}
    numbers = {cases.models[s]: int(f) for s, f in zip(cases.suspects, cases.families, strict=True)}
    above = ancestors_of(records)
    found = []
    cohorts: dict[tuple[str, int], Mapping[str, Cohort]] = {}
    for record in records:
        domain, fold = domain_of(record.model), folds[record.model]
        suspect = fingerprints.get((domain, record.model))
        thief = record.relation in ("stolen", "distilled")
        if suspect is None or suspect.dna is None or not (thief or not record.parents):
            continue
        if (domain, fold) not in cohorts:
            cohorts[domain, fold] = fold_cohorts(
                [
                    f
                    for (d, model), f in fingerprints.items()
                    if d == domain and folds[model] != fold and domain_of(model) == domain
                ],
                "dna",
            )
        roots = [
            r.model
            for r in records
            if not r.parents and r.model != record.model and folds[r.model] == fold
        ]
        names = [m for m in roots if domain_of(m) == domain and (domain, m) in fingerprints]
        if len(names) < 3:
            continue
        cohort = cohorts[domain, fold]
        scores = np.array([_agreements(suspect, fingerprints[domain, m], cohort) for m in names])
        true = np.array([m in above[record.model] for m in names])
        found.append(
            Question(
                record.model,
                record.method,
                fold,
                numbers[record.model],
                tuple(names),
                gaps_of(scores),
                true,
                gaps_of(scores[~true]),
                margins.get(record.model) if thief else None,
            )
        )
    return found


def _agreements(a: Fingerprint, b: Fingerprint, cohorts: Mapping[str, Cohort]) -> list[float]:
    assert a.dna is not None
    assert b.dna is not None
    ours, theirs = (cohorts[row.space].centre(row) for row in (a.dna, b.dna))
    return [float(ours[name] @ theirs[name]) for name in READOUTS]


def fidelity_margins(records: Sequence[Record], outputs: Mapping[str, Outputs]) -> dict[str, float]:
    """How much more thieves and students agree with their victim than with the best stranger of its domain.

    Pictures: on mixtures, as the truth says. Texts: on the labels of the domain's test texts.
    """
    above = ancestors_of(records)
    found = {}
    for record in records:
        if record.relation not in ("stolen", "distilled"):
            continue
        if record.margin_mixed is not None:
            found[record.model] = record.margin_mixed
            continue
        domain = domain_of(record.model)
        own = _labels(outputs, record.model, domain)
        if own is None:
            continue
        victims: list[float] = []
        strangers: list[float] = []
        for root in records:
            given = _labels(outputs, root.model, domain)
            if not root.parents and given is not None and data_of(root) == domain:
                side = victims if root.model in above[record.model] else strangers
                side.append(float(np.mean(given == own)))
        if victims and strangers:
            found[record.model] = max(victims) - max(strangers)
    return found


def _labels(outputs: Mapping[str, Outputs], model: str, domain: str) -> npt.NDArray[np.intp] | None:
    given = outputs[model].probabilities.get(domain) if model in outputs else None
    return None if given is None else given.argmax(1)


def gaps_of(scores: Floats) -> Floats:
    """How much each candidate's scores exceed the best of the others'. Shape (candidates, readouts), as given."""
    found = np.empty_like(scores)
    for row in range(len(scores)):
        found[row] = scores[row] - np.delete(scores, row, axis=0).max(0)
    return found


def fit_theft(
    calibration: Calibration, questions: Sequence[Question], folds: Collection[int]
) -> Calibration:
    """The calibration with weights of the gaps and the null of the best candidate when no victim is indexed."""
    from sklearn.linear_model import LogisticRegression

    asked = [q for q in questions if q.fold in folds]
    thieves = [q for q in asked if q.true.any()]
    x = np.concatenate([q.gaps for q in thieves])
    y = np.concatenate([q.true for q in thieves])
    scale = x.std(0)
    model = LogisticRegression(C=0.3, class_weight="balanced", max_iter=2000).fit(x / scale, y)
    weights = np.append(model.coef_[0] / scale, model.intercept_[0])
    # of look-alikes alone: a thief without its victim is a poor model that agrees with nobody, and would flatter
    # the null
    away = [float((q.alone @ weights[:-1]).max() + weights[-1]) for q in asked if not q.true.any()]
    null = fit_null(
        away, condition=VICTIM_AWAY, origin="shipped", families=len({q.family for q in asked})
    )
    if null is None:
        raise ValueError(f"{len(away)} look-alikes are too few for a null of theft")
    return Calibration(
        {**calibration.coefficients, THEFT: weights},
        {**calibration.nulls, (THEFT, VICTIM_AWAY): null},
        calibration.facts,
    )
