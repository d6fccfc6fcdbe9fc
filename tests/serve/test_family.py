"""Families and the part of them that is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from provray.ancestry.lineage import Edge
from provray.ancestry.snapshot import open_snapshot
from provray.index.table import FingerprintTable
from provray.serve import family
from provray.serve.family import Families, find_family, reach
from tests.ancestry.networks import SPACES, stranger

BASE = stranger("lab/base", 1000)
KIN = [BASE, BASE.child("a/child", 1), BASE.child("b/child", 2)]
KIN.append(KIN[1].child("c/grandchild", 3))
STRANGERS = [stranger(f"far/{n}", n) for n in range(20)]


def _edge(parent: str, child: str) -> Edge:
    return Edge(parent, child, "fine-tune", 1.0, (), True)


CHAIN = [_edge("a", "b"), _edge("b", "c"), _edge("c", "d"), _edge("x", "c")]


@pytest.mark.parametrize(
    ("way", "depth", "found"),
    [
        ("up", 1, {"c": 0, "b": -1, "x": -1}),
        ("up", 9, {"c": 0, "b": -1, "x": -1, "a": -2}),
        ("down", 9, {"c": 0, "d": 1}),
        ("both", 1, {"c": 0, "b": -1, "x": -1, "d": 1}),
        ("both", 9, {"c": 0, "b": -1, "x": -1, "d": 1, "a": -2}),
    ],
)
def test_a_lineage_is_cut_by_direction_and_steps(
    way: family.Way, depth: int, found: dict[str, int]
) -> None:
    assert reach("c", CHAIN, way, depth) == found


def test_siblings_are_reached_over_their_parent_when_both_ways_are_asked() -> None:
    edges = [_edge("p", "a"), _edge("p", "b")]
    assert reach("a", edges, "both", 2) == {"a": 0, "p": -1, "b": 0}
    assert reach("a", edges, "up", 2) == {"a": 0, "p": -1}


def test_a_family_found_by_its_neighbours_is_that_of_the_whole_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = FingerprintTable.create(tmp_path / "index")
    table.append([row for network in (*KIN, *STRANGERS) for row in network.rows()])
    snapshot = open_snapshot(tmp_path / "index", SPACES)
    members, whole = find_family(snapshot, "c/grandchild", 0.05)
    assert [f.model for f in members] == sorted(n.name for n in KIN)
    assert whole
    as_a_whole = Families(snapshot).around("c/grandchild", 0.05, "both", 9)
    monkeypatch.setattr(family, "WHOLE", 0)
    by_neighbours = Families(snapshot).around("c/grandchild", 0.05, "both", 9)
    assert by_neighbours["family"] == as_a_whole["family"] == len(KIN)
    assert {n["model"] for n in by_neighbours["nodes"]} == {n["model"] for n in as_a_whole["nodes"]}
    assert by_neighbours["complete"]
    monkeypatch.setattr(family, "LARGEST", 2)
    few, whole = find_family(snapshot, "c/grandchild", 0.05)
    assert len(few) == 2
    assert not whole
