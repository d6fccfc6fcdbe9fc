"""The scores of inherited weights: of unrelated models, of those of one start, of kin, of each kind of child."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from provray.ancestry.inheritance import FEATURES
from provray.testbed.fitting.calibration import PARTS
from provray.testbed.fitting.pairs import THEFT
from provray.testbed.fitting.verdict import Evidence
from provray.testbed.scoreboard.tables import table

CHILD = "child: "
_PARTS = {"low": "lowest", "median": "median", "high": "highest"}
Ranges = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By score and by what two models are to each other: `pairs`, `low`, `median`, `high`."""


def score_ranges(evidence: Evidence) -> dict[str, dict[str, dict[str, float]]]:
    """Number of pairs, lowest, median and highest of each score, by what two models of one fold are to each other, and
    of each way to make a child."""
    pairs = evidence.pairs
    again = np.array([name.endswith("again") for name in pairs.models])
    once = pairs.comparable & np.triu(np.ones_like(pairs.kin), 1)
    apart = once & ~pairs.kin & ~pairs.start
    kinds = {
        "unrelated, one architecture": apart & pairs.alike,
        "unrelated, two architectures": apart & ~pairs.alike,
        "one start, other data": once & pairs.start & ~(again[:, None] | again),
        "one start, same data": once & pairs.start & (again[:, None] | again),
        "ancestor and descendant": once & pairs.lineal,
        **_by_making(evidence),
    }
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in FEATURES:
        for kind, chosen in kinds.items():
            scores = pairs.parts[PARTS[name]][chosen]
            scores = scores[~np.isnan(scores)]
            if scores.size:
                low, median, high = np.quantile(scores, (0.0, 0.5, 1.0)).tolist()
                found.setdefault(name, {})[kind] = {
                    "pairs": scores.size,
                    "low": low,
                    "median": median,
                    "high": high,
                }
    return found


def _by_making(evidence: Evidence) -> dict[str, npt.NDArray[np.bool_]]:
    """Pairs of a child and its parent, by how the child was made."""
    number = {name: n for n, name in enumerate(evidence.pairs.models)}
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for record in sorted(evidence.records, key=lambda r: r.method):
        if record.relation not in THEFT:
            for parent in record.parents:
                kind = f"{CHILD}{record.method}"
                chosen = found.setdefault(kind, np.zeros_like(evidence.pairs.kin))
                chosen[number[record.model], number[parent]] = True
    return found


def range_lines(ranges: Ranges) -> list[str]:
    """The tables of the page."""
    between = [
        ("" if number else name, kind, r["pairs"], *(f"{r[part]:.2f}" for part in _PARTS))
        for name, kinds in ranges.items()
        for number, (kind, r) in enumerate(kinds.items())
        if not kind.startswith(CHILD)
    ]
    made = [kind for kind in ranges["weights"] if kind.startswith(CHILD)]
    children = [
        (
            kind.removeprefix(CHILD),
            ranges["weights"][kind]["pairs"],
            *(
                f"{kinds[kind]['low']:.2f} – {kinds[kind]['high']:.2f}" if kind in kinds else "–"
                for kinds in ranges.values()
            ),
        )
        for kind in made
    ]
    return [
        "What the scores of inherited weights are, pair by pair, within each fold:",
        "",
        *table(("score", "pairs", "how many", *_PARTS.values()), between),
        "And between a child and its parent, from the lowest to the highest:",
        "",
        *table(("made by", "pairs", *ranges), children),
    ]
