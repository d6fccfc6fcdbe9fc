"""Whole verdicts scored on a zoo: false discoveries, who is named, which relation, which came first.

What is fitted on one fold answers for the other. An index holds the models of the fold that is asked about, and
for large sizes strangers beside them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from provray.ancestry import direction as ways
from provray.ancestry.calibration import Calibration
from provray.ancestry.direction import Direction
from provray.ancestry.direction_cues import compare
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.ancestry.verdict import judge
from provray.ancestry.weighing import weigh
from provray.index.table import FingerprintTable
from provray.testbed.fitting import direction as direction_fit
from provray.testbed.fitting.pairs import THEFT
from provray.testbed.fitting.verdict import Evidence, fit
from provray.testbed.scoreboard.metrics import Estimate, share

SEED = 11
SIZES = (50, 300, 5000)
RATES = (0.01, 0.05, 0.1, 0.2)

INDEXED, AWAY = "kin indexed", "kin away"

Ways = Callable[[Fingerprint, Fingerprint], Direction]


@dataclass(frozen=True)
class Fitted:
    """What the verdicts of a fold are given with, fitted on the other one."""

    calibration: Calibration
    direction_of: Ways


def fit_for(evidence: Evidence, fold: int) -> Fitted:
    """Everything fitted without this fold."""
    pairs = direction_fit.make_pairs(evidence.fingerprints, evidence.records)
    coefficients = direction_fit.fit_direction([p for p in pairs if p.fold != fold])

    def direction_of(suspect: Fingerprint, other: Fingerprint) -> Direction:
        return ways.judge(compare(suspect, other), coefficients)

    return Fitted(fit(evidence, [1 - fold]), direction_of)


@contextmanager
def index_of(members: Sequence[Fingerprint]) -> Iterator[Snapshot]:
    """A temporary index of these models."""
    with tempfile.TemporaryDirectory() as folder:
        table = FingerprintTable.create(Path(folder))
        rows = [row for m in members for row in (m.weights, m.dna, m.gif) if row is not None]
        table.append(rows)
        yield open_snapshot(Path(folder), {row.space for row in rows})


@dataclass(frozen=True)
class Said:
    """One question and its answer.

    kind: how the suspect was made. setting: `kin indexed` or `kin away`. truth: its parents that are indexed
    (victims for
    thieves). named: ancestors, first ones first, each with relation and direction. relatives: what it is said to share
    learned weights with; strangers: those of them that it does not. sharing: what it is said to share any weights with.
    """

    suspect: str
    kind: str
    relation: str
    family: int
    setting: str
    truth: tuple[str, ...]
    ancestry: tuple[str, ...]
    verdict: str
    named: tuple[tuple[str, str, str], ...]
    probability: float
    relatives: tuple[str, ...]
    strangers: tuple[str, ...]
    sharing: tuple[str, ...]


def ask_fold(
    evidence: Evidence, fold: int, fdr: float, progress: Callable[[str], None]
) -> list[Said]:
    """Every model of a fold is asked about twice: against the whole fold, and against the fold without its kin."""
    found = []
    kin = evidence.pairs.kin
    names = evidence.pairs.models
    numbers = {name: n for n, name in enumerate(names)}
    above = _above(evidence)
    inside = [n for n in range(len(names)) if evidence.pairs.folds[n] == fold]
    fitted = fit_for(evidence, fold)
    with index_of([evidence.fingerprints[n] for n in inside]) as snapshot:
        for count, n in enumerate(inside):
            record = evidence.records[n]
            relatives = {names[m] for m in inside if kin[n, m]}
            for setting, away in (
                (INDEXED, {names[n]}),
                (AWAY, {names[n]} | relatives),
            ):
                answer = judge(
                    evidence.fingerprints[n],
                    snapshot,
                    leave_out=away,
                    fdr=fdr,
                    top_k=100,
                    calibration=fitted.calibration,
                    direction_of=fitted.direction_of,
                )
                claimed = [c.model for c in answer.candidates if c.inherits]
                ancestors = answer.ancestors
                found.append(
                    Said(
                        names[n],
                        record.method,
                        record.relation,
                        int(evidence.pairs.families[n]),
                        setting,
                        tuple(p for p in record.parents if p not in away),
                        tuple(sorted(above[names[n]] - away)),
                        answer.verdict,
                        tuple(
                            (c.model, c.relation, c.direction.said if c.direction else "")
                            for c in ancestors
                        ),
                        ancestors[0].probability if ancestors else 0.0,
                        tuple(claimed),
                        tuple(m for m in claimed if not kin[n, numbers[m]]),
                        tuple(c.model for c in answer.candidates if c.shares),
                    )
                )
            if count % 50 == 0:
                progress(f"fold {fold}: {count} of {len(inside)}")
    return found


def _above(evidence: Evidence) -> dict[str, set[str]]:
    """Ancestors by weights of every model."""
    found: dict[str, set[str]] = {}
    for record in evidence.records:
        parents = () if record.relation in THEFT else record.parents
        found[record.model] = set(parents).union(*(found[p] for p in parents))
    return found


@dataclass(frozen=True)
class Discovery:
    """Of many questions at one index size and asked rate: `fdr`, the mean share of claimed relatives that are none;
    `any`: share of questions with one such claim or more; `power`: share of ancestors in the index that are claimed."""

    size: int
    rate: float
    setting: str
    fdr: Estimate
    any: Estimate
    power: Estimate


Outcome = tuple[int, float, str, float, bool, float | None, int]
"""(size, rate, setting, share of false claims, any false claim, share of ancestors claimed, family)."""


def discover_fold(
    evidence: Evidence,
    fold: int,
    strangers: Sequence[Fingerprint],
    sizes: Sequence[int] = SIZES,
    rates: Sequence[float] = RATES,
    suspects: int = 150,
    progress: Callable[[str], None] = print,
) -> list[Outcome]:
    """False discoveries of one fold's suspects by index size and asked rate, kin indexed and away.

    An index of a fold is drawn at random from it; beyond the fold's size the other fold joins, then the strangers.
    """
    generator = np.random.default_rng(SEED + fold)
    outcomes: list[Outcome] = []
    names, kin = evidence.pairs.models, evidence.pairs.kin
    above = _above(evidence)
    fitted = fit_for(evidence, fold)
    inside = generator.permutation(np.flatnonzero(evidence.pairs.folds == fold))
    outside = np.flatnonzero(evidence.pairs.folds != fold)
    asked = generator.permutation(inside)[:suspects]
    order = [int(n) for n in inside] + [int(n) for n in outside]
    whole = [evidence.fingerprints[n] for n in order] + list(strangers)
    for size in sizes:
        members = whole[:size]
        held = {m.model for m in members}
        with index_of(members) as snapshot:
            for n in asked:
                relatives = {names[m] for m in np.flatnonzero(kin[n])}
                for setting, away in (
                    (INDEXED, {names[n]}),
                    (AWAY, {names[n]} | relatives),
                ):
                    claims = partial(
                        _claims, evidence.fingerprints[n], snapshot, away, fitted.calibration
                    )
                    ancestors = (above[names[n]] - away) & held
                    for rate in rates:
                        claimed = claims(rate)
                        wrong = claimed - relatives
                        outcomes.append(
                            (
                                len(members),
                                rate,
                                setting,
                                len(wrong) / max(len(claimed), 1),
                                bool(wrong),
                                len(ancestors & claimed) / len(ancestors) if ancestors else None,
                                int(evidence.pairs.families[n]),
                            )
                        )
            progress(f"fold {fold}: index of {len(members)}")
    return outcomes


def discoveries(outcomes: Sequence[Outcome]) -> list[Discovery]:
    """By size, rate and setting, with intervals over families."""
    grouped: dict[tuple[int, float, str], list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault(outcome[:3], []).append(outcome)
    return [
        Discovery(
            size,
            rate,
            setting,
            share(np.array([o[3] for o in rows]), np.array([o[6] for o in rows])),
            share(np.array([o[4] for o in rows]), np.array([o[6] for o in rows])),
            share(
                np.array([o[5] for o in rows if o[5] is not None]),
                np.array([o[6] for o in rows if o[5] is not None]),
            ),
        )
        for (size, rate, setting), rows in sorted(grouped.items())
    ]


def _claims(
    suspect: Fingerprint,
    snapshot: Snapshot,
    away: set[str],
    calibration: Calibration,
    rate: float,
) -> set[str]:
    names = snapshot.candidates(suspect, 40)
    others = snapshot.gallery.line_up(n for n in names if n not in away)
    tests = max(snapshot.models - len(away & snapshot.names), len(others), 1)
    found = weigh(suspect, others, snapshot, calibration, rate, tests)
    return {c.model for c in found if c.inherits}
