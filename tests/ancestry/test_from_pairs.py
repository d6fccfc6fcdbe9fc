"""Families of a whole index from the pairs that were looked at."""

from __future__ import annotations

import numpy as np
import pytest

from provray.ancestry.from_pairs import Pair, accepted, whole_lineage, work
from provray.ancestry.lineage import Edge


def pair(first: int, second: int, p: float, start: float = 1e-9, odds: float = 3.0) -> Pair:
    return Pair(first, second, p, start, odds)


def test_pairs_that_were_not_looked_at_count_as_tests() -> None:
    clear, doubtful = pair(0, 1, 1e-9), pair(2, 3, 1e-3)
    assert accepted([doubtful, clear], 5, 0.05) == [clear, doubtful]
    # of half a million pairs, a thousand score so by chance
    assert accepted([doubtful, clear], 1000, 0.05) == [clear]
    assert accepted([], 1000, 0.05) == []


def test_a_pair_seen_from_both_sides_is_one_pair() -> None:
    assert accepted([pair(0, 1, 1e-9), pair(0, 1, 1e-9)], 2, 0.05) == [pair(0, 1, 1e-9)]


@pytest.mark.parametrize("start", [pair(0, 1, 1e-9, start=0.2), pair(0, 1, 1e-9, odds=-0.1)])
def test_a_common_start_makes_no_family(start: Pair) -> None:
    assert accepted([start], 10, 0.05) == []


def test_families_of_two_or_more_are_worked_on_without_what_others_hold() -> None:
    labels = np.array([0, 1, 1, 3, 1, 5, 5])
    digests = np.array([7, 7, 8, 9, 9, 2**63 + 1, 2**63 + 1, 11], np.uint64)
    holders = np.array([0, 1, 1, 2, 4, 5, 1, 6])
    large, small = work("abcdefg", labels, digests, holders)
    assert large.members == ("b", "c", "e")
    assert large.ignored == {f"{7:016x}", f"{2**63 + 1:016x}"}, "9 is held within one family"
    assert small.members == ("f", "g")
    assert small.ignored == {f"{2**63 + 1:016x}"}
    none = np.empty(0, np.uint64)
    assert [w.ignored for w in work("ab", np.array([0, 0]), none, none.astype(int))] == [set()]


def test_a_lineage_is_put_together() -> None:
    edge = Edge("b", "a", "fine-tune", 0.9, ("why",), True)
    whole = whole_lineage(["a", "b", "c"], np.array([0, 0, 2]), [edge])
    assert whole.families == (("b", "a"), ("c",))
    assert whole.edges == (edge,)
