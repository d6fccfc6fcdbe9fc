"""How right a whole lineage is: its edges, the ancestors they imply, and the parents of merged models.

The truth is the transitive reduction of "is an ancestor of" among the models that are there: where a parent was taken
away, its children hang on the grandparent. What was built is reduced in the same way before it is compared. Thieves
and students inherit no weights: as models without parents they belong to the truth of inherited weights, and a second
figure counts the edges from victims and teachers too, which no lineage of weights can find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.lineage import DirectionOf, Related, build_lineage
from provray.testbed.folders import Record
from provray.testbed.scoreboard.cases import make_cases
from provray.testbed.scoreboard.metrics import Estimate, Floats, draws

Pairs = set[tuple[str, str]]
_OUTPUTS = ("stolen", "distilled")
SEEDS = 5
"""How often members are taken away at random."""


@dataclass(frozen=True)
class Agreement:
    """Precision, recall and their harmonic mean, with 95 % intervals over families; `count`: pairs that are true."""

    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class LineageScore:
    """edges, ancestors: of inherited weights. merges: edges into merged models. with_theft: edges, those from victims
    and teachers counted. methods: edges by how the child was made. models: how many were there, all draws together.
    removed: the share taken away."""

    removed: float
    models: int
    edges: Agreement
    ancestors: Agreement
    merges: Agreement
    with_theft: Agreement
    methods: Mapping[str, Agreement]


@dataclass(frozen=True)
class Rules:
    """What decides about the models of one fold; whatever is fitted in it was fitted on the other."""

    related: Related
    direction: DirectionOf


def score_lineages(
    records: Sequence[Record],
    fingerprints: Sequence[Fingerprint],
    rules: Sequence[Rules],
    removed: float = 0.0,
) -> LineageScore:
    """Build and score a lineage of each fold with its rules. fingerprints: in the order of the records. removed: share
    of the models that are taken away first, at random, `SEEDS` times; 0 takes all models once.

    Raises ValueError for a share outside [0, 1).
    """
    if not 0 <= removed < 1:
        raise ValueError(f"the share of models to take away must be in [0, 1), got {removed}")
    cases = make_cases(records)
    weights_only = {r.model: () if r.relation in _OUTPUTS else r.parents for r in records}
    everything = {r.model: r.parents for r in records}
    method = {r.model: r.method for r in records}
    merged = {r.model for r in records if r.relation == "merged"}
    family = dict(zip((r.model for r in records), cases.families.tolist(), strict=True))
    tallies: dict[str, _Tally] = {}
    models = 0

    def tell(name: str, built: Pairs, true: Pairs) -> None:
        tallies.setdefault(name, _Tally(family)).add(built, true)

    for seed in range(SEEDS if removed else 1):
        random = np.random.default_rng(seed)
        present = random.random(len(records)) >= removed
        for fold, rule in enumerate(rules):
            chosen = np.nonzero(present & (cases.folds == fold))[0].tolist()
            names = {records[number].model for number in chosen}
            models += len(names)
            lineage = build_lineage(
                [fingerprints[number] for number in chosen], rule.related, rule.direction
            )
            above = ancestors({(edge.parent, edge.child) for edge in lineage.edges})
            true_above = restricted(ancestors(_pairs(weights_only)), names)
            built, true = reduced(above), reduced(true_above)
            tell("edges", built, true)
            tell("ancestors", above, true_above)
            tell("with theft", built, reduced(restricted(ancestors(_pairs(everything)), names)))
            tell("merges", *({e for e in edges if e[1] in merged} for edges in (built, true)))
            for way in {method[child] for _, child in true}:
                one = ({e for e in edges if method[e[1]] == way} for edges in (built, true))
                tell(f"method {way}", *one)
    ways = sorted(name for name in tallies if name.startswith("method "))
    return LineageScore(
        removed,
        models,
        tallies["edges"].agreement(),
        tallies["ancestors"].agreement(),
        tallies["merges"].agreement(),
        tallies["with theft"].agreement(),
        {way.removeprefix("method "): tallies[way].agreement() for way in ways},
    )


def ancestors(edges: Pairs) -> Pairs:
    """All (ancestor, descendant) that edges (parent, child) without a cycle imply."""
    above: dict[str, set[str]] = {}
    for parent, child in edges:
        above.setdefault(child, set()).add(parent)
    known: dict[str, set[str]] = {}

    def all_above(model: str) -> set[str]:
        if model not in known:
            parents = above.get(model, set())
            known[model] = parents.union(*(all_above(parent) for parent in parents))
        return known[model]

    return {(ancestor, model) for model in above for ancestor in all_above(model)}


def reduced(above: Pairs) -> Pairs:
    """Transitive reduction of a relation that holds all its ancestors: no edge that a path of others implies."""
    over: dict[str, set[str]] = {}
    for ancestor, model in above:
        over.setdefault(model, set()).add(ancestor)
    return {
        (ancestor, model)
        for ancestor, model in above
        if not any(ancestor in over.get(other, ()) for other in over[model])
    }


def restricted(pairs: Pairs, names: set[str]) -> Pairs:
    """The pairs of which both are there."""
    return {pair for pair in pairs if names.issuperset(pair)}


def _pairs(parents: Mapping[str, Sequence[str]]) -> Pairs:
    return {(parent, child) for child, own in parents.items() for parent in own}


class _Tally:
    """Pairs that are right, built and true, by the family of the child."""

    def __init__(self, family: Mapping[str, int]) -> None:
        self.family = family
        self.counts: dict[int, npt.NDArray[np.float64]] = {}

    def add(self, built: Pairs, true: Pairs) -> None:
        for place, pairs in enumerate((built & true, built, true)):
            for _, child in pairs:
                self.counts.setdefault(self.family[child], np.zeros(3))[place] += 1

    def agreement(self) -> Agreement:
        # in the order of families, not of sets of names: the same draws give the same interval
        rows = [row for _, row in sorted(self.counts.items())]
        counts = np.stack(rows) if rows else np.zeros((1, 3))
        drawn = draws(len(counts)) @ counts
        total = counts.sum(0)

        def estimate(over: tuple[float, float]) -> Estimate:
            share = np.array([0.0, *over])

            def rate(values: Floats) -> Floats:
                with np.errstate(invalid="ignore", divide="ignore"):
                    return np.asarray(values[..., 0] / (values @ share), np.float64)

            resampled = rate(drawn)
            kept = resampled[np.isfinite(resampled)]
            low, high = np.percentile(kept, [2.5, 97.5]) if kept.size else (np.nan, np.nan)
            return Estimate(float(rate(total)), float(low), float(high), int(total[2]))

        return Agreement(estimate((1.0, 0.0)), estimate((0.0, 1.0)), estimate((0.5, 0.5)))
