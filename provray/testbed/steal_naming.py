"""Does provray name the victim? Stolen networks fingerprinted by a crawl and held against the victim and strangers.

The index holds the victim and models that were trained alike from other seeds, none of them stolen. Asked are thieves,
and every stranger in turn with itself left out: how often the victim comes first for a model that never saw it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from provray.ancestry.cohort import Cohort, mean_by_family
from provray.ancestry.fingerprint import Fingerprint, assemble
from provray.ancestry.scores import Scores, compare
from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.ancestry.verdict import judge
from provray.crawl.crawl import crawl
from provray.crawl.progress import Progress
from provray.crawl.settings import PoolSettings, available_cores
from provray.index.table import FingerprintTable
from provray.probes import ProbeSet
from provray.sources import open_source
from provray.testbed.folders import load_own_model
from provray.testbed.steal_results import Proportion, wilson_interval
from provray.testbed.vision import probabilities

#: Models below this folder of the zoo are indexed.
INDEXED = "indexed"
STRANGER = "stranger, never stolen"

Score = Callable[[Scores], float]


def _probabilities(scores: Scores) -> float:
    return scores.dna["mixed@probabilities"]


def _gradient(scores: Scores) -> float:
    return scores.gif["mixed@top_logit"]


#: What the victim can be named by: centred cosines, and last the sketch of the weights, which no thief sees.
SCORES: Mapping[str, Score] = {
    "probabilities": _probabilities,
    "GiF top logit": _gradient,
    "mean of both": lambda scores: (_probabilities(scores) + _gradient(scores)) / 2,
    "weights": lambda scores: scores.weights or 0.0,
}
#: No score of provray's: the share of held-out pictures with equal labels, for comparison.
LABELS = "equal labels"


@dataclass(frozen=True)
class Suspect:
    """A model that is asked about: its path below the zoo, the group it is counted in, its seed."""

    model: str
    group: str
    seed: int


@dataclass(frozen=True)
class Asked:
    """What was found for one suspect, by score (SCORES and LABELS): the indexed model that came first, and the victim's
    score minus the best other's. `verdict` and `candidate` are the product's: its verdict and its first candidate."""

    model: str
    group: str
    seed: int
    first: Mapping[str, str]
    margin: Mapping[str, float]
    verdict: str
    candidate: str


@dataclass(frozen=True)
class NamingRow:
    """A group of suspects: by score, how often the victim came first and the mean margin; the product's verdicts, and
    how often the victim was its first candidate."""

    group: str
    named: Mapping[str, Proportion]
    margin: Mapping[str, float]
    verdicts: Mapping[str, int]
    candidate: Proportion


@dataclass(frozen=True)
class Naming:
    """Everything about naming. `victim`: its path below the zoo; `indexed`: how many models the index holds; `cohort`:
    what scores were centred by; `asked`: all suspects; `rows`: by group, in order of appearance."""

    victim: str
    indexed: int
    cohort: str
    asked: tuple[Asked, ...]
    rows: tuple[NamingRow, ...]


def name_victims(
    work: Path,
    victim: str,
    suspects: Sequence[Suspect],
    probes: ProbeSet,
    held_out: Tensor,
    progress: Progress | None = None,
) -> Naming:
    """Crawl all models below `work`/models, index those in `indexed/`, and ask about `suspects` and the strangers.

    `victim` and the suspects' models are paths below `work`/models. Raises RuntimeError if a model could not be
    fingerprinted.
    """
    zoo = work / "models"
    table = FingerprintTable.create(work / "fingerprints")
    report = crawl(
        [open_source(str(zoo))],
        table,
        probes=[probes],
        pool=PoolSettings(workers=min(available_cores(), 2)),
        progress=progress,
    )
    if report.failures:
        raise RuntimeError(f"not fingerprinted: {report.failures}")
    spaces = {row.space for row in table.facts()}
    models = {f.model: f for f in assemble(table.rows(spaces))}
    indexed = sorted(
        path.parent.relative_to(zoo).as_posix()
        for path in (zoo / INDEXED).glob("*/model.safetensors")
    )
    # a table of its own, as an index would be: thieves must have no part in its cohort
    shutil.rmtree(work / "index", ignore_errors=True)
    FingerprintTable.create(work / "index").append(list(table.rows(spaces, indexed)))
    snapshot = open_snapshot(work / "index", spaces)
    cohorts, origin = _cohorts(snapshot, [models[name] for name in indexed])
    strangers = [Suspect(name, STRANGER, -1) for name in indexed if name != victim]
    everyone = [*suspects, *strangers]
    labels = {
        name: probabilities(load_own_model(zoo / name), held_out).argmax(1)
        for name in {*indexed, *(suspect.model for suspect in everyone)}
    }
    asked = []
    for suspect in everyone:
        others = [name for name in indexed if name != suspect.model]
        compared = {name: compare(models[suspect.model], models[name], cohorts) for name in others}
        values = {
            score: {name: of(pair) for name, pair in compared.items()}
            for score, of in SCORES.items()
        }
        values[LABELS] = {
            name: float((labels[suspect.model] == labels[name]).float().mean()) for name in others
        }
        answer = judge(models[suspect.model], snapshot, leave_out=[suspect.model])
        asked.append(
            Asked(
                suspect.model,
                suspect.group,
                suspect.seed,
                {score: max(found, key=lambda m: found[m]) for score, found in values.items()},
                {score: _margin(found, victim) for score, found in values.items()},
                answer.verdict,
                answer.candidates[0].model,
            )
        )
    return Naming(victim, len(indexed), origin, tuple(asked), tuple(naming_rows(asked, victim)))


def naming_rows(asked: Sequence[Asked], victim: str) -> list[NamingRow]:
    """Count by group how often `victim` came first."""
    rows = []
    for group in dict.fromkeys(one.group for one in asked):
        members = [one for one in asked if one.group == group]
        rows.append(
            NamingRow(
                group,
                {
                    score: wilson_interval(
                        sum(one.first[score] == victim for one in members), len(members)
                    )
                    for score in members[0].first
                },
                {
                    score: float(np.mean([one.margin[score] for one in members]))
                    for score in members[0].margin
                },
                dict(Counter(one.verdict for one in members)),
                wilson_interval(sum(one.candidate == victim for one in members), len(members)),
            )
        )
    return rows


def _margin(found: Mapping[str, float], victim: str) -> float:
    return found[victim] - max(value for name, value in found.items() if name != victim)


def _cohorts(snapshot: Snapshot, indexed: Sequence[Fingerprint]) -> tuple[dict[str, Cohort], str]:
    """The index's own cohorts; the plain mean of its models where it has too few families to count as one."""
    cohorts = dict(snapshot.cohorts)
    origin = "the index's own cohort"
    for kind in ("dna", "gif"):
        space = next(row.space for f in indexed if (row := getattr(f, kind)) is not None)
        if cohorts[space].origin != "index":
            means, size = mean_by_family(indexed, kind)
            cohorts[space] = Cohort(space, means, size, "index")
            origin = "the mean of the indexed models, too few families for a cohort"
    return cohorts, f"{origin} ({min(cohort.size for cohort in cohorts.values())} families)"
