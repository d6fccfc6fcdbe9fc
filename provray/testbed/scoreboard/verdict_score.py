"""The figures of the verdict: inheritance by method and unseen architecture, theft by fidelity margin, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from provray.ancestry.calibration import Calibration
from provray.ancestry.inheritance import FEATURES, pattern, transformed
from provray.ancestry.resemblance import THEFT, VICTIM_AWAY, careful
from provray.testbed.fitting.calibration import PARTS, fit_calibration
from provray.testbed.fitting.pairs import Pairs
from provray.testbed.fitting.theft import Question, fit_theft
from provray.testbed.fitting.verdict import Evidence
from provray.testbed.folders import Record
from provray.testbed.scoreboard.board import Cell, fold_scores, score_cells
from provray.testbed.scoreboard.cases import Cases, make_cases
from provray.testbed.scoreboard.metrics import Estimate, Floats, auc, share

VERDICT = "verdict: log-odds of inherited learning"
BOOSTED = "boosted trees, all scores"
COMPARED = (
    VERDICT,
    BOOSTED,
    "fusion, untrained",
    "fusion, logistic",
    "biases",
    "weights",
    "lower profile",
)
THRESHOLDS = (0.01, 0.05, 0.1, 0.2)
_MILD = {
    "fine-tune", "fine-tune harsh", "fine-tune-again", "new-head", "frozen-body", "adapter", "continued", "int8",
    "bfloat16", "float16", "prune-30", "prune-60", "prune-60 recovered", "fine-tune, prune-60", "noise",
}  # fmt: skip
_HARSH = {"int4", "prune-80", "prune-80 recovered", "new-head, int4"}
_EVASIONS = {"permuted", "rescaled", "classes permuted"}
_OTHER = {"merge-linear", "merge-slerp", "merge-ties", "layer-dropped"}
GROUPS = {
    "fine-tune, new head, frozen, adapter, continued, int8, half, noise, pruned to 60 %": _MILD,
    "int4, pruned 80 %": _HARSH,
    "permuted, rescaled": _EVASIONS,
    "merged, layers dropped": _OTHER,
}


def log_odds(pairs: Pairs, calibration: Calibration) -> Floats:
    """Log-odds of inherited learning for every pair of models."""
    values = np.stack([pairs.parts[PARTS[name]] for name in FEATURES], axis=-1)
    weighed = np.stack([transformed(n, values[..., k]) for k, n in enumerate(FEATURES)], axis=-1)
    there = ~np.isnan(values)
    found = np.full(values.shape[:2], np.nan)
    for kind in np.unique(there.reshape(-1, len(FEATURES)), axis=0):
        key = pattern({n: 0 for n, present in zip(FEATURES, kind, strict=True) if present})
        if key in calibration.coefficients:
            chosen = (there == kind).all(-1)
            weights = calibration.coefficients[key]
            found[chosen] = np.nan_to_num(weighed[chosen]) @ weights[:-1] + weights[-1]
    return found


def score_inheritance(evidence: Evidence) -> dict[str, dict[str, Cell]]:
    """Cells by score and by group of methods; every fit on the other fold."""
    cases = make_cases(evidence.records)
    scores = fold_scores(list(evidence.fingerprints), cases)
    whole = np.full(cases.asked.shape, -np.inf)
    for fold in (0, 1):
        odds = cases.scores(log_odds(evidence.pairs, fit_calibration(evidence.pairs, [1 - fold])))
        whole[cases.of_fold(fold)] = odds[cases.of_fold(fold)]
    scores[VERDICT] = whole
    scores[BOOSTED] = np.full(cases.asked.shape, -np.inf)
    for fold in (0, 1):
        odds = boosted(evidence.pairs, cases, cases.of_fold(1 - fold))
        scores[BOOSTED][cases.of_fold(fold)] = odds[cases.of_fold(fold)]
    groups = _groups(cases, evidence.records)
    return {name: score_cells(scores[name], cases, groups) for name in COMPARED}


def boosted(pairs: Pairs, cases: Cases, suspects: npt.NDArray[np.bool_]) -> Floats:
    """Log-odds of ancestry by gradient boosting over every score there is, fitted on the questions of these suspects.

    Suspects × candidates. What a heavier provenance classifier makes of the same evidence.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    matrices = [pairs.parts[name] for name in sorted(pairs.parts)]
    values = np.stack([m[np.ix_(cases.suspects, cases.candidates)] for m in matrices], axis=-1)
    used = cases.asked & suspects[:, None]
    model = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=8, class_weight="balanced", random_state=0
    )
    model.fit(values[used], cases.true[used])
    odds: Floats = model.decision_function(values.reshape(-1, values.shape[-1]))
    return odds.reshape(values.shape[:2])


def score_unseen(evidence: Evidence) -> dict[str, dict[str, Cell]]:
    """The verdict's log-odds, and boosted trees, on each architecture, fitted on all others; white-box children
    together."""
    cases = make_cases(evidence.records)
    groups = {"all": _white_box(cases, evidence.records)}
    found: dict[str, dict[str, Cell]] = {}
    for kind in sorted(set(evidence.pairs.types.tolist()) - {""}):
        of_kind = evidence.pairs.types[cases.suspects] == kind
        if (groups["all"] & of_kind).sum() < 8:
            continue
        made = fit_calibration(evidence.pairs, (0, 1), without=kind)
        odds = cases.scores(log_odds(evidence.pairs, made))
        trees = boosted(evidence.pairs, cases, ~of_kind)
        found[kind] = {
            name: score_cells(scores, cases, {"all": groups["all"] & of_kind})["all"]
            for name, scores in ((VERDICT, odds), (BOOSTED, trees))
        }
    return found


def _white_box(cases: Cases, records: Sequence[Record]) -> npt.NDArray[np.bool_]:
    thief = np.array([r.relation in ("stolen", "distilled") for r in records])
    return cases.descended & ~thief[cases.suspects]


def _groups(cases: Cases, records: Sequence[Record]) -> dict[str, npt.NDArray[np.bool_]]:
    methods, kept = np.array(cases.methods), _white_box(cases, records)
    groups = {name: kept & np.isin(methods, list(of)) for name, of in GROUPS.items()}
    groups["all white-box"] = kept
    return {**groups, **{m: kept & (methods == m) for m in sorted(set(methods[kept]))}}


@dataclass(frozen=True)
class Theft:
    """count: thieves asked about. first: victims that stand out most. hard: AUC of victims' log-odds against those
    of the
    other models of the domain. open: against the best of them when no victim is indexed. named: share whose victim is
    called one at the default rate."""

    count: int
    first: Estimate
    hard: Estimate
    open: Estimate
    named: Estimate


@dataclass(frozen=True)
class TheftScores:
    """by_margin: by the least fidelity margin, all thieves and thieves whose margin lies above it. accused: by p-value
    threshold, the share of look-alikes (models that stole nothing) that are said to have stolen, and of thieves whose
    victim is not indexed that another model is named for."""

    by_margin: Mapping[str, Theft]
    accused: Mapping[float, Mapping[str, Estimate]]


def score_theft(questions: Sequence[Question]) -> TheftScores:
    """Theft on probes of the victim's domain; every fit on the other fold."""
    rows: list[tuple[Question, Floats, Floats, float, float]] = []
    for fold in (0, 1):
        made = fit_theft(Calibration({}, {}), questions, [1 - fold])
        weights, null = made.coefficients[THEFT], made.nulls[THEFT, VICTIM_AWAY]
        for q in questions:
            if q.fold == fold:
                odds, alone = (g @ weights[:-1] + weights[-1] for g in (q.gaps, q.alone))
                there, away = (careful(null, float(o.max())) for o in (odds, alone))
                rows.append((q, odds, alone, there, away))
    thieves = [row for row in rows if row[0].true.any()]
    bands = {"all": -np.inf, "≥ 0": 0.0, "≥ 1 point": 0.01, "≥ 2 points": 0.02, "≥ 4 points": 0.04}
    by_margin = {}
    strangers = np.concatenate([r[2].max(keepdims=True) for r in thieves])
    for name, least in bands.items():
        chosen = [r for r in thieves if least == -np.inf or (r[0].margin or -1.0) >= least]
        if chosen:
            by_margin[name] = _theft(chosen, thieves, strangers)
    alike = [row for row in rows if not row[0].true.any()]
    accused = {
        limit: {
            "look-alikes": _share([r[4] <= limit for r in alike], alike),
            "thieves, victim away": _share([r[4] <= limit for r in thieves], thieves),
        }
        for limit in THRESHOLDS
    }
    return TheftScores(by_margin, accused)


def _theft(
    chosen: Sequence[tuple[Question, Floats, Floats, float, float]],
    thieves: Sequence[tuple[Question, Floats, Floats, float, float]],
    strangers: Floats,
) -> Theft:
    best = np.array([odds[q.true].max() for q, odds, *_ in chosen])
    first = [q.true[odds.argmax()] for q, odds, *_ in chosen]
    families = np.array([q.family for q, *_ in chosen])
    others = np.concatenate([odds[~q.true] for q, odds, *_ in chosen])
    of_others = np.concatenate([np.full((~q.true).sum(), q.family) for q, *_ in chosen])
    return Theft(
        len(chosen),
        _share(first, chosen),
        auc(best, families, others, of_others),
        auc(best, families, strangers, np.array([q.family for q, *_ in thieves])),
        _share([ok and row[3] <= 0.05 for ok, row in zip(first, chosen, strict=True)], chosen),
    )


def _share(
    hits: Sequence[bool | np.bool_], rows: Sequence[tuple[Question, Floats, Floats, float, float]]
) -> Estimate:
    return share(np.array(hits, bool), np.array([row[0].family for row in rows]))


@dataclass(frozen=True)
class Bin:
    """Questions whose probability lies in one tenth: how many, the mean probability, the share that was right."""

    count: int
    said: float
    right: float


def score_calibration(evidence: Evidence) -> tuple[float, list[Bin]]:
    """Expected calibration error over ten bins (Naeini et al., AAAI 2015), and the bins.

    Each model is asked about twice, with its ancestors among the candidates and without; what is held against the truth
    is the probability of the candidate that has the highest.
    """
    cases = make_cases(evidence.records)
    said, right = [], []
    for fold in (0, 1):
        odds = cases.scores(log_odds(evidence.pairs, fit_calibration(evidence.pairs, [1 - fold])))
        for row in np.flatnonzero(cases.of_fold(fold) & _white_box(cases, evidence.records)):
            for there in (cases.asked[row], cases.asked[row] & ~cases.true[row]):
                held = np.where(there, odds[row], -np.inf)
                best = int(held.argmax())
                said.append(float(1 / (1 + np.exp(-held[best]))))
                right.append(bool(cases.true[row, best]))
    p, hit = np.array(said), np.array(right)
    place = np.minimum((p * 10).astype(int), 9)
    bins = [
        Bin(int((place == b).sum()), float(p[place == b].mean()), float(hit[place == b].mean()))
        for b in range(10)
        if (place == b).any()
    ]
    return sum(b.count * abs(b.said - b.right) for b in bins) / len(p), bins
