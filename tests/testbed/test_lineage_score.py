"""Scoring a lineage against the truth, models taken away or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from provray.ancestry.direction import direction
from provray.ancestry.fingerprint import Fingerprint
from provray.testbed.folders import Record
from provray.testbed.scoreboard.lineage_score import (
    Agreement,
    Rules,
    _Tally,
    ancestors,
    reduced,
    restricted,
    score_lineages,
)
from tests.ancestry.families import Tensors, average, base_model, fingerprinted, rounded, tuned
from tests.testbed.made_zoo import record

_CHAIN = {("a", "b"), ("b", "c"), ("a", "d"), ("c", "e"), ("d", "e")}


def test_ancestors_are_all_above() -> None:
    assert ancestors(_CHAIN) == _CHAIN | {("a", "c"), ("a", "e"), ("b", "e")}


def test_reduction_undoes_ancestors() -> None:
    assert reduced(ancestors(_CHAIN)) == _CHAIN


def test_a_grandchild_hangs_on_the_grandparent_when_the_parent_is_away() -> None:
    left = restricted(ancestors(_CHAIN), {"a", "c", "d", "e"})
    assert reduced(left) == {("a", "c"), ("a", "d"), ("c", "e"), ("d", "e")}


def _zoo() -> tuple[list[Record], list[Fingerprint]]:
    """A family in each fold, each with a merge and a thief, which shares no weights."""
    records, models = [], {}
    for fold, name in enumerate(("a", "b")):
        base: Tensors = base_model(fold)
        children: dict[str, Tensors] = {
            f"{name}/{n}": tuned(base, 20 + 10 * fold + n) for n in range(3)
        }
        first, second, _ = children
        models |= {name: base, **children, f"{name}/int8": rounded(base, 127)}
        models |= {f"{name}/mean": average(children[first], children[second])}
        models |= {f"{name}/thief": base_model(7 + fold)}
        records += [record(name, "base", fold=fold)]
        records += [record(child, "fine-tune", (name,)) for child in children]
        records += [record(f"{name}/int8", "quantised", (name,))]
        records += [record(f"{name}/mean", "merged", (first, second))]
        records += [record(f"{name}/thief", "stolen", (name,))]
    return records, [fingerprinted(record.model, models[record.model]) for record in records]


def _same_family(fingerprints: Sequence[Fingerprint]) -> np.ndarray:
    key = np.array([f.model if "thief" in f.model else f.model[0] for f in fingerprints])
    return np.asarray(key[:, None] == key[None], bool)


def _nothing(fingerprints: Sequence[Fingerprint]) -> np.ndarray:
    return np.eye(len(fingerprints), dtype=bool)


def test_a_right_lineage_scores_one_and_thefts_are_missed() -> None:
    records, fingerprints = _zoo()
    score = score_lineages(records, fingerprints, [Rules(_same_family, direction)] * 2)
    assert score.models == 14
    assert (score.edges.f1.value, score.edges.f1.count) == (1.0, 12)
    assert (score.ancestors.recall.value, score.ancestors.recall.count) == (1.0, 14)
    assert (score.merges.f1.value, score.merges.f1.count) == (1.0, 4)
    assert score.with_theft.precision.value == 1.0
    assert score.with_theft.recall.value == pytest.approx(12 / 14)
    assert set(score.methods) == {"fine-tune", "quantised", "merged"}


def test_each_fold_is_judged_by_its_own_rules() -> None:
    records, fingerprints = _zoo()
    rules = [Rules(_same_family, direction), Rules(_nothing, direction)]
    score = score_lineages(records, fingerprints, rules)
    assert score.edges.precision.value == 1.0
    assert score.edges.recall.value == 0.5
    assert score.edges.recall.low == 0.0


def test_models_can_be_taken_away() -> None:
    records, fingerprints = _zoo()
    score = score_lineages(records, fingerprints, [Rules(_same_family, direction)] * 2, 0.3)
    assert 30 < score.models < 60
    assert 0.3 < score.edges.recall.value <= 1.0


def test_a_share_outside_the_range_is_refused() -> None:
    records, fingerprints = _zoo()
    with pytest.raises(ValueError, match=r"\[0, 1\), got 1"):
        score_lineages(records, fingerprints, [Rules(_same_family, direction)] * 2, 1.0)


def test_intervals_do_not_depend_on_the_order_in_which_pairs_are_counted() -> None:
    families = {f"m{number}": number for number in range(9)}

    def agreement(order: Sequence[int]) -> Agreement:
        tally = _Tally(families)
        for number in order:
            true = {("parent", f"m{number}")}
            tally.add(true if number % 3 else set(), true)
        return tally.agreement()

    assert agreement(range(9)) == agreement(range(8, -1, -1))
