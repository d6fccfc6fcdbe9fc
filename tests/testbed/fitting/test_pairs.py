"""What is true of every pair of a zoo."""

from __future__ import annotations

import numpy as np

from provray.testbed.fitting.pairs import make_pairs
from provray.testbed.fitting.verdict import Evidence
from provray.testbed.scoreboard.parts import LOWER_PROFILE, SHARED_VALUES
from tests.testbed.made_zoo import make_zoo, record


def test_kin_starts_and_strangers_are_told_apart(evidence: Evidence) -> None:
    pairs = evidence.pairs
    at = {model: number for number, model in enumerate(pairs.models)}
    base, tuned, thief = at["digits/0"], at["digits/0.tuned"], at["digits/0.thief"]
    start, other = at["digits/0 start 0"], at["digits/2"]
    assert pairs.kin[base, tuned]
    assert pairs.lineal[tuned, base]
    assert not pairs.kin[base, thief], "a thief holds none of its victim's weights"
    assert not pairs.start[base, thief]
    for one in (base, tuned, at["digits/0 start 1"]):
        assert pairs.start[one, start]
        assert not pairs.kin[one, start]
    assert not pairs.start[base, other]
    assert not pairs.start[thief, start]
    assert pairs.families[thief] == pairs.families[base] != pairs.families[other]


def test_siblings_are_kin_and_not_lineal() -> None:
    records, fingerprints = make_zoo(bases=2, starts=0)
    records = [*records, record("digits/0.second", "fine-tune", ("digits/0",))]
    records = [*records, record("digits/0.third", "fine-tune", ("digits/0.tuned",))]
    pairs = make_pairs([*fingerprints, fingerprints[1], fingerprints[1]], records)
    at = {model: number for number, model in enumerate(pairs.models)}
    second, third = at["digits/0.second"], at["digits/0.third"]
    assert pairs.kin[second, at["digits/0.tuned"]]
    assert not pairs.lineal[second, at["digits/0.tuned"]]
    assert pairs.lineal[third, at["digits/0"]]


def test_pairs_are_compared_within_a_fold(evidence: Evidence) -> None:
    pairs = evidence.pairs
    at = {model: number for number, model in enumerate(pairs.models)}
    assert pairs.folds[at["digits/1.thief"]] == 1
    assert pairs.comparable[at["digits/0"], at["digits/2"]]
    assert not pairs.comparable[at["digits/0"], at["digits/1"]]
    assert not pairs.comparable.diagonal().any()
    assert pairs.alike[at["digits/0"], at["digits/4"]]
    assert not pairs.alike[at["digits/0"], at["digits/2"]], "another architecture"
    for mask in (pairs.kin, pairs.lineal, pairs.start, pairs.comparable, pairs.alike):
        assert np.array_equal(mask, mask.T)


def test_every_part_separates_what_it_should(evidence: Evidence) -> None:
    pairs = evidence.pairs
    assert {"weights", "biases", SHARED_VALUES, LOWER_PROFILE} <= set(pairs.parts)
    away = pairs.comparable & ~pairs.kin & ~pairs.start
    for part, like_a_start in (("weights", True), ("biases", False), (LOWER_PROFILE, False)):
        scores = pairs.parts[part]
        assert scores[pairs.lineal].min() > scores[away].max(), part
        assert (scores[pairs.start].min() > scores[away].max()) == like_a_start, part
    assert np.nanmax(pairs.parts[SHARED_VALUES]) == 1.0
    assert not pairs.parts[SHARED_VALUES][away].any()
