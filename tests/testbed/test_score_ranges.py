"""The scores that pairs of models get, on a made-up zoo."""

from __future__ import annotations

import numpy as np

from provray.testbed.fitting.verdict import Evidence
from provray.testbed.scoreboard.score_ranges import CHILD, range_lines, score_ranges


def test_scores_are_told_by_what_two_models_are_to_each_other(evidence: Evidence) -> None:
    pairs = evidence.pairs
    found = score_ranges(evidence)
    assert list(found) == ["weights", "biases", "shared", "lower profile"]
    kin, start = "ancestor and descendant", "one start, other data"
    weights, biases = found["weights"], found["biases"]
    assert weights[start]["low"] > weights["unrelated, one architecture"]["high"]
    assert biases[kin]["median"] > 2 * biases[start]["median"]
    assert found["shared"]["unrelated, two architectures"]["high"] == 0
    for kinds in found.values():
        assert all(r["low"] <= r["median"] <= r["high"] for r in kinds.values())
    once = pairs.comparable & np.triu(np.ones_like(pairs.kin), 1)
    cousins = once & pairs.kin & ~pairs.lineal
    between = [r for kind, r in found["weights"].items() if not kind.startswith(CHILD)]
    assert sum(r["pairs"] for r in between) == once.sum() - cousins.sum()
    assert found["weights"][f"{CHILD}fine-tune"]["pairs"] == 16


def test_the_tables_name_every_pair_and_every_making(evidence: Evidence) -> None:
    found = score_ranges(evidence)
    lines = range_lines(found)
    for score, kinds in found.items():
        assert any(line.startswith(f"| {score} | ") for line in lines)
        for kind, r in kinds.items():
            name, low = kind.removeprefix(CHILD), f"{r['low']:.2f}"
            assert any(f"| {name} | {r['pairs']} | " in line and low in line for line in lines)
