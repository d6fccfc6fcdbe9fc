"""Which members of a family were merged from which others.

A merged model lies in the span of its parents: on the line between two for an average or a spherical
interpolation, and beside their common base, along the changes of both, for TIES and task arithmetic. A child of one
of them does not: what its own training changed is nearly orthogonal to what any other model's training did.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from provray.ancestry.kinship import LEAST, Family, Floats

_ON_LINE = 0.15
"""Squared distance from the line through two parents, over that to the nearer one: a tree leaves at least a half."""
_MIDDLE = 0.1
"""Least part of the line on either side of a merged model."""
_SHARE = 0.3
"""Least coefficient of either parent's changes."""
_MOST = 1.5
_ADDS = 0.03
"""Least share of the merged model's changes that the second parent explains beside the first."""
_EXPLAINED = 0.6
"""Least share of its changes that the parents explain together."""
_BEYOND = 0.1
"""By how much they must explain more than they would of a sibling that has no more in common with each than they do."""
_APART = 0.8
"""Largest cosine of the changes of two parents. Fine-tunes on the same data reached .74."""
_BESIDE = 0.1
"""How far from the way between two others a member lies at least that is not on it; see `_off_the_way`."""
_STRAIGHT = 0.1
"""How far towards each other, over their distance, the changes of two parents may lead from their base."""
_IDENTICAL = 0.1
"""Share of a model's tensors that it may share bit for bit with a relative although a parent does not: more, and they
came from that relative, for merging changes all that its parents do not have in common."""
_NEAREST = 14
"""How many relatives are tried as parents or base."""


@dataclass(frozen=True)
class Merge:
    """One merged member, its parents, and the share of its changes they do not explain."""

    child: int
    parents: tuple[int, ...]
    residual: float


def find_merges(family: Family) -> list[Merge]:
    """The merged members of a family, those best explained first. No member is both merged and a merge's parent here:
    of two averages of the same parents either would explain the other."""
    squared = family.distances[0]
    found = [m for child in range(family.size) for m in _explanations(family, squared, child)]
    merges: dict[int, Merge] = {}
    for merge in sorted(found, key=lambda m: (m.residual, m.child)):
        if merge.child in merges or any(parent in merges for parent in merge.parents):
            continue
        if any(merge.child in m.parents for m in merges.values()):
            continue
        merges[merge.child] = merge
    return list(merges.values())


def _explanations(family: Family, squared: Floats, child: int) -> list[Merge]:
    near = [
        other for other in _nearest(family, squared, child) if _may_be_merged(family, child, other)
    ]
    found = []
    for a, b in combinations(near, 2):
        if squared[a, b] <= LEAST:
            continue
        residual = _beside_line(squared, child, a, b)
        if residual is None:
            base = _base(family, squared, child, a, b)
            residual = None if base is None else _beside_base(squared, child, (a, b), base)
        if residual is not None:
            found.append(Merge(child, (a, b), residual))
    return found


def _nearest(family: Family, squared: Floats, child: int) -> list[int]:
    order = np.argsort(squared[child], kind="stable")
    apart = squared[child, order] > LEAST
    return [int(other) for other in order[apart] if other != child][:_NEAREST]


def _may_be_merged(family: Family, child: int, parent: int) -> bool:
    """Whether what the child lost and what it shares with others lets this be one of its parents."""
    if not family.may_descend[child, parent] or not family.may_descend[parent, child]:
        return False  # zeros and lattices survive an average only where all parents have them
    kept = np.minimum(family.tensors[child], family.tensors[parent])
    foreign = np.minimum(family.tensors[child] - kept, family.tensors)
    foreign[child] = 0
    return bool(foreign.sum(1).max() <= _IDENTICAL * family.counts[child])


def _base(family: Family, squared: Floats, child: int, a: int, b: int) -> int | None:
    """The relative that two parents' changes are measured from: the nearest to both that does not lie between them as
    another merge would."""
    inner = squared[a] + squared[b] - squared[a, b]
    allowed = (inner > -_STRAIGHT * squared[a, b]) & (squared[a] > LEAST) & (squared[b] > LEAST)
    allowed &= family.may_descend[a] & family.may_descend[b] & (squared[child] > LEAST)
    allowed[[child, a, b]] = False
    if not allowed.any():
        return None
    return int(np.argmin(np.where(allowed, squared[a] + squared[b], np.inf)))


def _beside_line(squared: Floats, child: int, a: int, b: int) -> float | None:
    """How far the child lies beside the line from a to b, over its distance to the nearer; None if it is no merge."""
    length = squared[a, b]
    place = (squared[child, a] + length - squared[child, b]) / (2 * length)
    if not _MIDDLE <= place <= 1 - _MIDDLE:
        return None
    beside = max(squared[child, a] - place**2 * length, 0.0)
    residual = float(beside / min(squared[child, a], squared[child, b]))
    return residual if residual <= _ON_LINE else None


def _beside_base(squared: Floats, child: int, parents: tuple[int, int], base: int) -> float | None:
    """Share of the child's changes from the base that its parents leave unexplained; None if it is no merge."""
    a, b = parents
    # base, parent, merged model and other parent in a row would be a line of descent just as well
    if min(_off_the_way(squared, a, base, b), _off_the_way(squared, b, base, a)) < _BESIDE:
        return None
    if max(_off_the_way(squared, child, base, p) for p in parents) < _BESIDE:
        return None  # where siblings part lies their parent, on the way between each two of them
    size = squared[child, base]
    own = np.array([squared[a, base], squared[b, base]])
    between = (own.sum() - squared[a, b]) / 2
    common = float(between / np.sqrt(own.prod()))
    if abs(common) > _APART:
        return None
    towards = (size + own - squared[child, list(parents)]) / 2
    shares = np.linalg.solve(np.array([[own[0], between], [between, own[1]]]), towards)
    explained = float(shares @ towards / size)
    alone = float((towards**2 / own).max() / size)
    of_sibling = 2 * common**2 / (1 + common)
    if shares.min() < _SHARE or shares.max() > _MOST or explained - alone < _ADDS:
        return None
    if explained < max(_EXPLAINED, of_sibling + _BEYOND):
        return None
    return 1 - explained


def _off_the_way(squared: Floats, member: int, one: int, other: int) -> float:
    """How far a member lies from the way between two others: 0 on it, 1 at the end of it or beside it."""
    detour = (squared[member, one] + squared[member, other] - squared[one, other]) / 2
    return float(detour / min(squared[member, one], squared[member, other]))
