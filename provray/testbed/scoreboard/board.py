"""The scoreboard of a zoo: every part, baseline and fusion on every method of making a child."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from provray.ancestry.fingerprint import Fingerprint, assemble
from provray.crawl.crawl import crawl
from provray.crawl.progress import Progress
from provray.crawl.settings import PoolSettings
from provray.index.table import FingerprintTable
from provray.probes import MODALITIES, ProbeSet, default_probes
from provray.sources import open_source
from provray.testbed.folders import Record, read_truth
from provray.testbed.scoreboard.baselines import baseline_matrices
from provray.testbed.scoreboard.cases import Cases, data_of, make_cases, methods_in_order
from provray.testbed.scoreboard.fusion import FEATURES, logistic, untrained
from provray.testbed.scoreboard.metrics import Estimate, auc, share, threshold_at
from provray.testbed.scoreboard.outputs import measure_outputs
from provray.testbed.scoreboard.parts import LOWER_PROFILE, fold_cohorts, part_matrices

Scores = npt.NDArray[np.float64]
#: Share of questions without an answer in the index that may be given one.
FALSE_POSITIVES = 0.01
#: By how much a thief must agree more with its victim than with the best stranger to count as one that worked.
FIDELITY_MARGIN = 0.01
UNTRAINED, LOGISTIC, NO_WEIGHTS = "fusion, untrained", "fusion, logistic", "fusion without weights"


@dataclass(frozen=True)
class Cell:
    """One score on one method of making a child.

    hard: AUC of true ancestors against hard strangers. first: share of questions whose best candidate is an ancestor.
    found: share whose best candidate is an ancestor above the threshold that 1 % of all questions without an
    ancestor in the index exceed; one threshold for all methods, set on the other fold. open: AUC of true ancestors
    against the best candidate when they are away.
    """

    hard: Estimate
    first: Estimate
    found: Estimate
    open: Estimate


@dataclass(frozen=True)
class Board:
    """The scoreboard of one zoo on one choice of probe sets.

    cells: by score, then method; `all`, `white-box`, `theft` and `theft that worked` pool several.
    accepted: by score, then by what was asked about, the share of questions without an ancestor in the index that get
    an answer under that threshold (`all`: the measured false-positive rate). models: how many were compared;
    failed: those that could not be, with status and reason. seconds: of the crawl. ranges: by score, lowest, median
    and highest score of true ancestors by method, and of the best candidate of strangers by kind. thresholds: by
    score, of each fold.
    """

    cells: Mapping[str, Mapping[str, Cell]]
    accepted: Mapping[str, Mapping[str, Estimate]]
    ranges: Mapping[str, Mapping[str, tuple[float, float, float]]]
    thresholds: Mapping[str, tuple[float, float]]
    methods: tuple[str, ...]
    models: int
    questions: int
    candidates: int
    families: int
    failed: tuple[tuple[str, str, str], ...]
    probes: Mapping[str, str]
    seconds: float


def evaluate(
    zoo: Path,
    *,
    probes: Sequence[ProbeSet] = (),
    workers: int = 2,
    crawling: Progress | None = None,
    measuring: Callable[[int, int, str], None] | None = None,
) -> Board:
    """Crawl a zoo of `provray zoo build` (what is indexed is kept) and score everything on it.

    The index lies in `zoo`/index. Raises FileNotFoundError for a folder that is no zoo, ValueError if there is
    nothing to ask.
    """
    records = read_truth(zoo)
    cases = make_cases(records)
    table = FingerprintTable.create(zoo / "index")
    report = crawl(
        [open_source(str(zoo / "indexed"))],
        table,
        probes=probes,
        pool=PoolSettings(workers=workers),
        progress=crawling,
    )
    fingerprints = zoo_fingerprints(table, records, probes)
    revisions = {f.model: f.revision for f in fingerprints if f.revision}
    domains = sorted({data_of(record) for record in records})
    outputs = measure_outputs(zoo, records, revisions, domains, workers=workers, progress=measuring)
    named = {record.model: record for record in records}
    scores = fold_scores(fingerprints, cases)
    for name, matrix in baseline_matrices(zoo, named, outputs, cases).items():
        scores[name] = cases.scores(matrix)
    methods = methods_in_order(cases, named)
    groups = method_groups(cases, methods, records)
    return Board(
        cells={name: score_cells(score, cases, groups) for name, score in scores.items()},
        accepted={name: accepted(score, cases) for name, score in scores.items()},
        ranges={name: score_ranges(score, cases) for name, score in scores.items()},
        thresholds={name: fold_limits(score, cases) for name, score in scores.items()},
        methods=tuple(methods),
        models=len(fingerprints),
        questions=int(cases.descended.sum()),
        candidates=len(cases.candidates),
        families=len(np.unique(cases.families[cases.descended])),
        failed=tuple(report.failures),
        probes={p.modality: f"{p.name} {p.digest[:12]}" for p in table.probe_sets()},
        seconds=report.seconds,
    )


def zoo_fingerprints(
    table: FingerprintTable, records: Sequence[Record], probes: Sequence[ProbeSet]
) -> list[Fingerprint]:
    """Fingerprints in the order of the records; empty ones for models that have none.

    With several probe sets of a modality in the index, those of the given ones are read, else of the default.
    """
    given: dict[str, str] = {p.modality: p.digest for p in (*table.probe_sets(), *probes)}
    for modality in MODALITIES:
        held_sets = [p.digest for p in table.probe_sets() if p.modality == modality]
        if modality not in {p.modality for p in probes} and len(held_sets) > 1:
            given[modality] = default_probes(modality).digest
    facts = [
        row
        for row in table.facts()
        if row.status == "ok" and (row.kind == "weights" or given[row.modality] == row.probes)
    ]
    held = {f.model: f for f in assemble(table.rows({row.space for row in facts}))}
    return [held.get(r.model, Fingerprint(r.model, "")) for r in records]


_fingerprints = zoo_fingerprints


def method_groups(
    cases: Cases, methods: Sequence[str], records: Sequence[Record]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Which suspects are asked about under each heading: every method by itself, and pooled ones.

    `theft that worked`: thieves that agree with their victim on mixed inputs by a point more than with any stranger.
    """
    names = np.array(cases.methods)
    groups = {method: (names == method) & cases.descended for method in methods}
    theft = np.array([record.relation in ("stolen", "distilled") for record in records])
    worked = np.array([(record.margin_mixed or 0.0) >= FIDELITY_MARGIN for record in records])
    groups["theft that worked"] = theft & worked & cases.descended
    groups["theft"] = theft & cases.descended
    groups["white-box"] = ~theft & cases.descended
    groups["all"] = cases.descended
    return {name: chosen for name, chosen in groups.items() if chosen.any()}


def fold_scores(fingerprints: Sequence[Fingerprint], cases: Cases) -> dict[str, Scores]:
    """Suspects × candidates of every part and fusion; for each fold, cohort and fits come from the other one."""
    found: dict[str, Scores] = {}
    for fold in (0, 1):
        rows = cases.of_fold(fold)
        outside = _members(fingerprints, cases, 1 - fold)
        cohorts = {**fold_cohorts(outside, "dna"), **fold_cohorts(outside, "gif")}
        parts = part_matrices(fingerprints, cohorts)
        behaviour = [name for name in FEATURES if name.startswith(("dna ", "gif ", LOWER_PROFILE))]
        made = {name: cases.scores(matrix) for name, matrix in parts.items()}
        made[UNTRAINED] = cases.scores(untrained(parts))
        made[LOGISTIC] = logistic(parts, cases, 1 - fold)
        made[NO_WEIGHTS] = logistic(parts, cases, 1 - fold, behaviour)
        for name, score in made.items():
            whole = found.setdefault(name, np.full(cases.asked.shape, -np.inf))
            whole[rows] = score[rows]
    return found


def _members(fingerprints: Sequence[Fingerprint], cases: Cases, fold: int) -> list[Fingerprint]:
    """The models of a fold."""
    suspects = cases.suspects[cases.of_fold(fold)]
    return [fingerprints[int(number)] for number in suspects]


def best_without_kin(score: Scores, cases: Cases) -> Scores:
    """For each suspect the best score of candidates that are no ancestors: what it gets if they are not indexed."""
    return np.where(cases.asked & ~cases.true, score, -np.inf).max(1)


def best_true(score: Scores, cases: Cases) -> Scores:
    """For each suspect the best score of its ancestors among the candidates."""
    return np.where(cases.true, score, -np.inf).max(1)


def thresholds(score: Scores, cases: Cases) -> dict[int, float]:
    """For each fold, the score that `FALSE_POSITIVES` of the other fold's questions exceed without their ancestors."""
    away = best_without_kin(score, cases)
    return {fold: threshold_at(away[cases.of_fold(1 - fold)], FALSE_POSITIVES) for fold in (0, 1)}


def score_cells(
    score: Scores, cases: Cases, groups: Mapping[str, npt.NDArray[np.bool_]]
) -> dict[str, Cell]:
    """One cell for each group of suspects, all under the same threshold."""
    limits = thresholds(score, cases)
    limit = np.array([limits[fold] for fold in cases.folds])
    return {name: _cell(score, cases, chosen, limit) for name, chosen in groups.items()}


def _cell(score: Scores, cases: Cases, chosen: npt.NDArray[np.bool_], limit: Scores) -> Cell:
    families = cases.families[chosen]
    true, away = best_true(score, cases)[chosen], best_without_kin(score, cases)[chosen]
    rows, columns = np.nonzero(cases.hard & chosen[:, None])
    first = true > away
    return Cell(
        hard=auc(true, families, score[rows, columns], cases.families[rows]),
        first=share(first, families),
        found=share(first & (true > limit[chosen]), families),
        open=auc(true, families, away, families),
    )


def accepted(score: Scores, cases: Cases) -> dict[str, Estimate]:
    """Share of questions without an ancestor in the index that are given one: all, children whose ancestors are
    away, and strangers by kind."""
    limits = thresholds(score, cases)
    limit = np.array([limits[fold] for fold in cases.folds])
    exceeded = best_without_kin(score, cases) > limit
    groups = {"all": np.ones(len(exceeded), bool), "children, parents away": cases.descended}
    for method, descended in zip(cases.methods, cases.descended, strict=True):
        if not descended:
            groups[method] = (np.array(cases.methods) == method) & ~cases.descended
    return {name: share(exceeded[rows], cases.families[rows]) for name, rows in groups.items()}


def fold_limits(score: Scores, cases: Cases) -> tuple[float, float]:
    """The thresholds that folds 0 and 1 are judged by."""
    limits = thresholds(score, cases)
    return round(limits[0], 4), round(limits[1], 4)


def score_ranges(score: Scores, cases: Cases) -> dict[str, tuple[float, float, float]]:
    """Lowest, median and highest: of the true ancestor's score for every method of making a child, of the best
    candidate's for every kind of stranger. Kinds without any score are left out."""
    names = np.array(cases.methods)
    found: dict[str, tuple[float, float, float]] = {}
    for descended, best in (
        (True, best_true(score, cases)),
        (False, best_without_kin(score, cases)),
    ):
        for name in sorted(set(names[cases.descended == descended])):
            values = best[(names == name) & (cases.descended == descended)]
            values = values[np.isfinite(values)]
            if len(values):
                low, middle, high = np.percentile(values, [0, 50, 100])
                found[str(name)] = (round(low, 3), round(middle, 3), round(high, 3))
    return found
