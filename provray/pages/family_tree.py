"""A lineage as nested generations: what stands under what, so that a page can fold it.

A lineage is a graph, a page is nested. Each model hangs on the one parent that puts it deepest, so every generation
stands right of all its ancestors; its other parents are lines across. Children without children of their own, of which
there can be a thousand, stand together by how they were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

DEEPEST = 24
"""Generations nested in one another. A longer line of descent starts anew: browsers stop nesting at some depth."""

CROWD = 6
"""Childless children of one parent, made the same way, from which they stand together as one fold."""


@dataclass(frozen=True)
class Link:
    """One edge as drawn: parent -> child, what is known of it, and whether the child hangs on it or it runs across."""

    parent: str
    child: str
    relation: str
    score: float | None
    direction_known: bool
    reasons: tuple[str, ...]


@dataclass
class Node:
    """One model. `link`: the edge it hangs on, None for one that starts a tree; `across`: its other parents' edges;
    `layer`: generations above it; `below`: models that hang on it, near or far."""

    model: str
    link: Link | None
    across: tuple[Link, ...]
    layer: int
    children: list[Node] = field(default_factory=list)
    below: int = 0


@dataclass(frozen=True)
class Step:
    """One step of a walk through a tree: a template cannot recurse as deep as a tree may be. what: `node`, `open` (its
    children follow), `close`, `fold` (`count` childless children made by `relation` follow) or `unfold`."""

    what: str
    node: Node | None = None
    relation: str = ""
    count: int = 0


def family_trees(members: Sequence[str], links: Iterable[Link]) -> list[Node]:
    """The trees of one family, largest first. An edge that would close a circle is not hung but runs across."""
    parents: dict[str, list[Link]] = {model: [] for model in members}
    for link in links:
        if link.parent in parents and link.child in parents and link.parent != link.child:
            parents[link.child].append(link)
    layers, circular = _layers(parents)
    nodes = {}
    for model, above in parents.items():
        hung = [link for link in above if (link.parent, model) not in circular]
        best = min(
            hung, key=lambda link: (-layers[link.parent], -(link.score or 0.0), link.parent), default=None
        )  # fmt: skip
        if best is not None and layers[model] % DEEPEST == 0:
            best = None
        across = tuple(link for link in above if link is not best)
        nodes[model] = Node(model, best, across, layers[model])
    roots: list[Node] = []
    for node in nodes.values():
        (roots if node.link is None else nodes[node.link.parent].children).append(node)
    for node in sorted(nodes.values(), key=lambda node: -node.layer):
        node.below = sum(1 + child.below for child in node.children)
        node.children.sort(key=lambda child: (not child.children, _relation(child), child.model))
    return sorted(roots, key=lambda root: (root.layer, -root.below, root.model))


def walk(root: Node) -> Iterator[Step]:
    """A tree in reading order."""
    waiting: list[Step] = [Step("node", root)]
    while waiting:
        step = waiting.pop()
        yield step
        if step.what == "node" and step.node is not None and step.node.children:
            waiting.extend(
                reversed([Step("open", step.node), *_children(step.node), Step("close")])
            )


def _children(node: Node) -> Iterator[Step]:
    leaves: dict[str, list[Node]] = {}
    for child in node.children:
        if child.children:
            yield Step("node", child)
        else:
            leaves.setdefault(_relation(child), []).append(child)
    for relation, together in leaves.items():
        crowded = len(together) >= CROWD and len(node.children) > CROWD
        if crowded:
            yield Step("fold", node, relation, len(together))
        yield from (Step("node", child) for child in together)
        if crowded:
            yield Step("unfold")


def _relation(node: Node) -> str:
    return (node.link.relation if node.link is not None else "") or "unknown relation"


def _layers(parents: Mapping[str, Sequence[Link]]) -> tuple[dict[str, int], set[tuple[str, str]]]:
    """Longest line of descent above each model, and the edges left out to break circles."""
    layers: dict[str, int] = {}
    circular: set[tuple[str, str]] = set()
    for start in parents:
        path: list[str] = []
        on_path: set[str] = set()
        waiting = [start]
        while waiting:
            model = waiting[-1]
            if model in layers:
                waiting.pop()
                continue
            if model not in on_path:
                path.append(model)
                on_path.add(model)
            circular.update(
                (link.parent, model) for link in parents[model] if link.parent in on_path
            )
            above = [link.parent for link in parents[model] if (link.parent, model) not in circular]
            unknown = [parent for parent in above if parent not in layers]
            if unknown:
                waiting.append(unknown[0])
                continue
            layers[model] = 1 + max((layers[parent] for parent in above), default=-1)
            on_path.discard(model)
            path.pop()
            waiting.pop()
    return layers, circular
