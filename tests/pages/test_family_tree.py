"""Lineages as nested generations: every model once, parents before children, however odd the graph."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from provray.pages.family_tree import CROWD, DEEPEST, Link, Node, family_trees, walk


def link(parent: str, child: str, relation: str = "fine-tune", score: float | None = 0.9) -> Link:
    return Link(parent, child, relation, score, True, ())


def nodes(trees: list[Node]) -> dict[str, Node]:
    found = [step.node for tree in trees for step in walk(tree) if step.what == "node"]
    named = {node.model: node for node in found if node is not None}
    assert len(named) == len(found)
    return named


def test_a_merge_hangs_on_its_deepest_parent() -> None:
    trees = family_trees(
        ["a", "b", "c", "m"],
        [link("a", "b"), link("b", "c"), link("a", "m", "merged", 0.99), link("c", "m", "merged", 0.5)],
    )  # fmt: skip
    assert [tree.model for tree in trees] == ["a"]
    assert trees[0].below == 3
    merged = nodes(trees)["m"]
    assert merged.layer == 3
    assert merged.link is not None
    assert merged.link.parent == "c"
    assert [across.parent for across in merged.across] == ["a"]


def test_of_parents_equally_deep_the_better_score_holds() -> None:
    trees = family_trees(["a", "b", "m"], [link("a", "m", score=None), link("b", "m", score=0.1)])
    assert [tree.model for tree in trees] == ["b", "a"]
    assert [tree.below for tree in trees] == [1, 0]


def test_a_circle_is_opened_and_loses_nobody() -> None:
    trees = family_trees(["a", "b", "c"], [link("a", "b"), link("b", "c"), link("c", "a")])
    found = nodes(trees)
    assert set(found) == {"a", "b", "c"}
    assert sum(node.link is None for node in found.values()) == 1
    assert sum(len(node.across) for node in found.values()) == 1


def test_childless_children_stand_together() -> None:
    leaves = [f"leaf{k}" for k in range(CROWD + 1)]
    members = ["a", "b", "deep", *leaves]
    links = [link("a", "b"), link("b", "deep"), *(link("a", leaf, "pruned") for leaf in leaves)]
    steps = [(step.what, step.count) for step in walk(family_trees(members, links)[0])]
    assert steps[:6] == [("node", 0), ("open", 0), ("node", 0), ("open", 0), ("node", 0), ("close", 0)]  # fmt: skip
    assert steps[6] == ("fold", CROWD + 1)
    assert steps[-2:] == [("unfold", 0), ("close", 0)]
    few = family_trees(["a", "x", "y"], [link("a", "x"), link("a", "y")])
    assert [step.what for step in walk(few[0])] == ["node", "open", "node", "node", "close"]


def test_a_long_line_of_descent_starts_anew() -> None:
    members = [f"v{k:04}" for k in range(3 * DEEPEST + 1)]
    trees = family_trees(members, [link(a, b) for a, b in pairwise(members)])
    assert [tree.model for tree in trees] == [members[k * DEEPEST] for k in range(4)]
    assert [tree.across[0].parent for tree in trees[1:]] == [members[k * DEEPEST - 1] for k in (1, 2, 3)]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_every_graph_is_drawn_whole(pairs: list[tuple[int, int]]) -> None:
    members = [str(k) for k in range(10)]
    links = {(a, b): link(str(a), str(b)) for a, b in pairs if a != b}
    trees = family_trees(members, links.values())
    found = nodes(trees)
    assert set(found) == set(members)
    drawn = [
        one
        for node in found.values()
        for one in [*([node.link] if node.link else []), *node.across]
    ]
    assert sorted((one.parent, one.child) for one in drawn) == sorted(
        (str(a), str(b)) for a, b in links
    )
    for node in found.values():
        assert all(child.layer > node.layer for child in node.children)
    opened = [step.what for tree in trees for step in walk(tree)]
    assert opened.count("open") == opened.count("close")
    assert opened.count("fold") == opened.count("unfold")
