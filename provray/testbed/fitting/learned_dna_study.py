"""Learned DNA against raw sketches and fusions, on families and architectures it never saw."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from provray.ancestry.cohort import Cohort
from provray.ancestry.fingerprint import Fingerprint
from provray.testbed.fitting.encoder import (
    VARIANTS,
    Bools,
    Floats,
    Questions,
    gather,
    rehearse,
    similarities,
    train,
)
from provray.testbed.folders import Record
from provray.testbed.scoreboard.board import (
    Cell,
    best_true,
    best_without_kin,
    method_groups,
    score_cells,
)
from provray.testbed.scoreboard.cases import Cases, ancestors_of
from provray.testbed.scoreboard.fusion import FEATURES, logistic, untrained
from provray.testbed.scoreboard.metrics import Estimate, draws
from provray.testbed.scoreboard.parts import (
    BEHAVIOUR_MEAN,
    LOWER_PROFILE,
    fold_cohorts,
    mean_of,
    part_matrices,
)

LEARNED, BY_ARCHITECTURE = "learned DNA", "learned DNA, architecture unseen"
NO_WEIGHTS, WITH_LEARNED = "fusion without weights", "fusion without weights + learned DNA"
PROBABILITIES = "dna mixed@probabilities"
BOTH_PROBABILITIES = "mean of mixed and natural probabilities"
UNTRAINED_SCORES = (PROBABILITIES, BOTH_PROBABILITIES, BEHAVIOUR_MEAN, LOWER_PROFILE)
GROUPS = ("white-box", "theft", "theft that worked")
INNER_GROUPS = 3


@dataclass(frozen=True)
class Fit:
    """One encoder as cross-validation in its training fold saw it: loss untrained, after `steps`, and its seconds."""

    scored: int
    variant: str
    steps: int
    untrained: float
    loss: float
    seconds: float
    chosen: bool = False
    readouts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """All scores on one choice of probes. cells: by score, then group; gains: by `A against B`, then group, then
    `first` (share of questions whose best candidate is an ancestor) and `hard` (share of a question's hard strangers
    that score less than its ancestor): A minus B, paired by question. theft: how much of a family's weight in the loss
    its thieves and students had."""

    cells: Mapping[str, Mapping[str, Cell]]
    gains: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    fits: tuple[Fit, ...]
    theft: float
    models: int
    families: int


def question_weights(records: Sequence[Record], cases: Cases, theft: float) -> Floats:
    """What a question weighs in the loss: each family 1, `theft` of it for its thieves and students."""
    behaviour = np.array([r.relation in ("stolen", "distilled") for r in records])
    weight = np.zeros(len(records))
    for family in np.unique(cases.families):
        for chosen, part in ((behaviour, theft), (~behaviour, 1 - theft)):
            members = (cases.families == family) & chosen & cases.descended
            weight[members] = part / max(int(members.sum()), 1)
    return weight


def inner_groups(models: Sequence[str]) -> npt.NDArray[np.intp]:
    """Which part of the training fold a model is left out with: twins, controls and networks of the same start go
    with the family they are made for."""
    stems = [re.sub(r"-\d.*|[,.].*", "", model) for model in models]
    names = sorted(set(stems))
    return np.array([names.index(stem) % INNER_GROUPS for stem in stems], np.intp)


def centred(
    fingerprints: Sequence[Fingerprint], cohorts: Mapping[str, Cohort]
) -> list[dict[str, dict[str, Floats]]]:
    """For each model its centred behaviour vectors by probe set and name (`gif mixed@top_logit`)."""
    found: list[dict[str, dict[str, Floats]]] = []
    for fingerprint in fingerprints:
        own: dict[str, dict[str, Floats]] = {}
        for row in (fingerprint.dna, fingerprint.gif):
            if row is not None:
                vectors = own.setdefault(row.probes[:12], {})
                for name, vector in cohorts[row.space].centre(row).items():
                    vectors[f"{row.kind} {name}"] = vector
        found.append(own)
    return found


def compare_all(
    records: Sequence[Record],
    cases: Cases,
    fingerprints: Sequence[Fingerprint],
    theft: float,
    variants: Sequence[str] = VARIANTS,
    said: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Fit on each fold, score on the other; then without the scored architecture as well.

    theft: how much of a family's weight in the loss its thieves and students have.
    """
    types = np.array([f.dna.model_type if f.dna else "" for f in fingerprints])
    above = ancestors_of(records)
    index = {record.model: number for number, record in enumerate(records)}
    tops: list[list[int]] = [
        [index[m] for m in above[r.model] if not records[index[m]].parents] for r in records
    ]
    lines = [{str(types[n]), *(str(types[top]) for top in tops[n])} for n in range(len(records))]
    questions = Questions(
        cases.candidates,
        cases.asked,
        cases.true,
        cases.hard,
        question_weights(records, cases, theft),
    )
    groups = inner_groups(cases.models)
    scores: dict[str, Floats] = {}
    fits: list[Fit] = []

    def keep(name: str, score: Floats, rows: Bools) -> None:
        scores.setdefault(name, np.full(cases.asked.shape, -np.inf))[rows] = score[rows]

    for fold in (0, 1):
        rows, known = cases.of_fold(fold), cases.of_fold(1 - fold)
        outside = [fingerprints[int(n)] for n in np.flatnonzero(known)]
        cohorts = {**fold_cohorts(outside, "dna"), **fold_cohorts(outside, "gif")}
        parts = part_matrices(fingerprints, cohorts)
        if "dna natural@probabilities" in parts:
            parts[BOTH_PROBABILITIES] = mean_of(
                [parts[PROBABILITIES], parts["dna natural@probabilities"]]
            )
        sketches = gather(centred(fingerprints, cohorts))
        for name in UNTRAINED_SCORES:
            if name in parts:
                keep(name, cases.scores(parts[name]), rows)
        keep("fusion, untrained", cases.scores(untrained(parts)), rows)
        behaviour = [name for name in FEATURES if name.startswith(("dna ", "gif ", LOWER_PROFILE))]
        keep(NO_WEIGHTS, logistic(parts, cases, 1 - fold, behaviour), rows)
        best: tuple[float, Fit, Floats] | None = None
        for variant in variants:
            started = time.process_time()
            found = rehearse(variant, sketches, questions, known, groups)
            encoder = train(variant, sketches, questions, known, found.steps)
            learned = similarities(encoder, sketches, len(records))
            keep(f"learned, {variant}", cases.scores(learned), rows)
            spent = round(time.process_time() - started, 1)
            weights = encoder.readout_weights()
            fit = Fit(
                fold, variant, found.steps, found.untrained, found.loss, spent, False, weights
            )
            said(f"fold {fold}, {variant}: {found.steps} steps, loss {found.loss:.3f}, {spent} s")
            fits.append(fit)
            if best is None or found.loss < best[0]:
                # The fusion learns from scores of families that the encoder behind them did not see.
                best = found.loss, fit, np.where(known[:, None], found.scores, learned)
        assert best is not None
        fit, parts[LEARNED] = best[1], best[2]
        fits[fits.index(fit)] = replace(fit, chosen=True)
        keep(LEARNED, cases.scores(parts[LEARNED]), rows)
        keep(WITH_LEARNED, logistic(parts, cases, 1 - fold, [*behaviour, LEARNED]), rows)
        roots = sorted(
            {str(types[top]) for n in np.flatnonzero(rows) for top in tops[n] or [int(n)]}
        )
        for kind in roots:
            others = known & np.array([kind not in line for line in lines])
            asked = rows & np.array(
                [kind in {types[t] for t in tops[n] or [n]} for n in range(len(lines))]
            )
            made = train(fit.variant, sketches, questions, others, fit.steps)
            keep(BY_ARCHITECTURE, cases.scores(similarities(made, sketches, len(records))), asked)
        said(f"fold {fold}: {len(roots)} architectures left out")
    chosen = method_groups(cases, (), records)
    cells = {name: score_cells(score, cases, chosen) for name, score in scores.items()}
    pairs = [
        (name, raw)
        for name in (LEARNED, BY_ARCHITECTURE)
        for raw in UNTRAINED_SCORES
        if raw in scores
    ]
    pairs.append((WITH_LEARNED, NO_WEIGHTS))
    gains = {
        f"{a} against {b}": {
            group: paired(scores[a], scores[b], cases, chosen[group])
            for group in GROUPS
            if group in chosen
        }
        for a, b in pairs
    }
    families = len(np.unique(cases.families[cases.descended]))
    return Comparison(cells, gains, tuple(fits), theft, len(records), families)


def paired(ours: Floats, theirs: Floats, cases: Cases, chosen: Bools) -> dict[str, Estimate]:
    """Ours minus theirs, in first places and in hard strangers outscored, over the same questions."""
    values = {
        "first": [
            (best_true(s, cases) > best_without_kin(s, cases)).astype(float) for s in (ours, theirs)
        ],
        "hard": [beaten(s, cases) for s in (ours, theirs)],
    }
    found = {}
    for name, (a, b) in values.items():
        kept = chosen & np.isfinite(a) & np.isfinite(b)
        found[name] = mean_over_families((a - b)[kept], cases.families[kept])
    return found


def beaten(score: Floats, cases: Cases) -> Floats:
    """For each suspect the share of its hard strangers that score less than its best ancestor; NaN without any."""
    true = best_true(score, cases)[:, None]
    wins = ((score < true) + 0.5 * (score == true)) * cases.hard
    counts = cases.hard.sum(1)
    found: Floats = np.where(counts > 0, wins.sum(1) / np.maximum(counts, 1), np.nan)
    return found


def mean_over_families(values: Floats, families: npt.NDArray[np.intp]) -> Estimate:
    """Mean with a 95 % percentile interval from resampling families."""
    names, numbers = np.unique(families, return_inverse=True)
    total = np.bincount(numbers, values, len(names))
    count = np.bincount(numbers, minlength=len(names)).astype(np.float64)
    drawn = draws(len(names))
    low, high = np.percentile((drawn @ total) / (drawn @ count), [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high), len(values))
