"""Who descends from whom among many models at once: a directed acyclic graph, several parents where models were merged.

Families come first: models that share inherited weights, as an error-controlled rule of the caller says. Within a
family, each model is either merged (`merges`) or hangs on one parent at most: the relative that

- could be its parent: what a relative lost (zeros, rounding) the model lacks too, the rest of the family hangs on one
  of the two and not on a third between them (`between`), and the evidence of direction points that way;
- holds the most of its tensors bit for bit, and among those lies nearest.

A model that no relative fits is a root here. So siblings whose parent is not in the index stay apart: a missing edge
is better than an invented one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from provray.ancestry.direction import Direction
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.kinship import Family, common_digests, measure_family
from provray.ancestry.merges import find_merges
from provray.ancestry.parents import Found, find_parents
from provray.ancestry.relation import guess_relation

Related = Callable[[Sequence[Fingerprint]], npt.NDArray[np.bool_]]
"""Which models share inherited weights: a symmetric matrix over the fingerprints given. Its errors are the caller's to
control; whoever is related through others counts as of the same family."""
DirectionOf = Callable[[Fingerprint, Fingerprint], Direction]
"""(suspect, other) -> which came first; see `provray.ancestry.direction.direction`."""


@dataclass(frozen=True)
class Edge:
    """parent -> child. relation: how the child was made, a guess for people (`merged`, `copy`, else of
    `guess_relation`). score: 0 to 1, how well the others of the family fit this edge and its direction. reasons: in
    words. direction_known: False for what only sharing supports; the two names are then in alphabetical order."""

    parent: str
    child: str
    relation: str
    score: float
    reasons: tuple[str, ...]
    direction_known: bool


@dataclass(frozen=True)
class Lineage:
    """models: all that were looked at, sorted. edges: sorted by child, then parent. families: members of each family,
    those without a parent first; single models are families of one. Largest families first."""

    models: tuple[str, ...]
    edges: tuple[Edge, ...]
    families: tuple[tuple[str, ...], ...]


def build_lineage(
    fingerprints: Sequence[Fingerprint],
    related: Related,
    direction: DirectionOf,
    ignored: frozenset[str] = frozenset(),
) -> Lineage:
    """The lineage of these models. One without a weights fingerprint is a family of its own. ignored: digests that are
    known to show no descent, beside those that several of these families hold.

    Raises ValueError if two have one name, or if `related` gives no symmetric matrix over them.
    """
    names = [f.model for f in fingerprints]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"{', '.join(twice)}: several fingerprints of one model; pass one revision of each"
        )
    ordered = sorted(fingerprints, key=lambda f: f.model)
    labels = _components(_checked(related(ordered), ordered))
    ignored = ignored | common_digests(ordered, labels.tolist())
    edges: list[Edge] = []
    families = []
    for label in np.unique(labels).tolist():
        members = [f for f, own in zip(ordered, labels, strict=True) if own == label]
        found = _family_edges(members, ignored, direction) if len(members) > 1 else []
        edges.extend(found)
        families.append(_roots_first([m.model for m in members], found))
    edges.sort(key=lambda e: (e.child, e.parent))
    families.sort(key=lambda f: (-len(f), f))
    return Lineage(tuple(f.model for f in ordered), tuple(edges), tuple(families))


def _checked(
    matrix: npt.NDArray[np.bool_], fingerprints: Sequence[Fingerprint]
) -> npt.NDArray[np.bool_]:
    count = len(fingerprints)
    if matrix.shape != (count, count) or not np.array_equal(matrix, matrix.T):
        raise ValueError(
            f"`related` must give a symmetric {count} x {count} matrix, got shape {matrix.shape}"
        )
    known = np.array([f.weights is not None for f in fingerprints], bool)
    return np.asarray(matrix & known[:, None] & known[None], bool)


def _components(matrix: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """A family number for each model: the least index among all it is related to, directly or through others."""
    labels = np.full(len(matrix), -1, np.intp)
    for start in range(len(matrix)):
        reached = [start] if labels[start] < 0 else []
        while reached:
            labels[reached] = start
            new = matrix[reached].any(0) & (labels < 0)
            reached = np.nonzero(new)[0].tolist()
    return labels


def _family_edges(
    members: Sequence[Fingerprint], ignored: frozenset[str], direction: DirectionOf
) -> list[Edge]:
    """The edges of one family. Bit-identical models stand for each other: all but the first hang on the first."""
    originals: dict[str, Fingerprint] = {}
    edges = []
    for member in members:
        digest = member.weights.weights_digest if member.weights else ""
        first = originals.setdefault(digest or f"model {member.model}", member)
        if first is not member:
            reason = "every tensor is bit-identical; nothing in them says which came first"
            edges.append(Edge(first.model, member.model, "copy", 1.0, (reason,), False))
    kept = list(originals.values())
    if len(kept) < 2:
        return edges
    family = measure_family(kept, ignored)
    merges = find_merges(family)
    for merge in merges:
        for parent in merge.parents:
            others = " and ".join(kept[p].model for p in merge.parents if p != parent)
            reason = (
                f"its weights lie between this model's and those of {others}: "
                f"{1 - merge.residual:.0%} of its changes are theirs"
            )
            edges.append(
                Edge(
                    kept[parent].model,
                    kept[merge.child].model,
                    "merged",
                    round(1 - merge.residual, 6),
                    (reason,),
                    True,
                )
            )
    for found in find_parents(kept, family, merges, direction):
        edges.append(_edge(kept, family, found))
    return edges


def _edge(members: Sequence[Fingerprint], family: Family, found: Found) -> Edge:
    child, parent = members[found.child], members[found.parent]
    shared = int(family.shared[found.child, found.parent])
    reasons = []
    if shared:
        reasons.append(
            f"{shared} of {int(family.counts[found.child])} tensors are bit for bit the same"
        )
    reasons.extend(found.reasons)
    return Edge(
        parent.model,
        child.model,
        guess_relation(child, parent),
        round(found.score, 6),
        tuple(reasons),
        found.direction_known,
    )


def _roots_first(members: Sequence[str], edges: Sequence[Edge]) -> tuple[str, ...]:
    children = {edge.child for edge in edges}
    return tuple(sorted(members, key=lambda m: (m in children, m)))
