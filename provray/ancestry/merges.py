"""Which members of a family were merged from which others.

A merged model lies in the span of its parents: on the line between two for an average or a spherical
interpolation, and beside their common base, along the changes of both, for TIES and task arithmetic. A child of one
of them does not: what its own training changed is nearly orthogonal to what any other model's training did.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from provray.ancestry.kinship import LEAST, Family, Floats

Places = npt.NDArray[np.intp]

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
_VALUES = 2**20
"""Pairs of relatives times members that are held at once, about."""


@dataclass(frozen=True)
class Merge:
    """One merged member, its parents, and the share of its changes they do not explain."""

    child: int
    parents: tuple[int, ...]
    residual: float


def find_merges(family: Family) -> list[Merge]:
    """The merged members of a family, those best explained first. No member is both merged and a merge's parent here:
    of two averages of the same parents either would explain the other."""
    found = [m for members in _parts(family) for m in _explanations(family, members)]
    merges: dict[int, Merge] = {}
    for merge in sorted(found, key=lambda m: (m.residual, m.child)):
        if merge.child in merges or any(parent in merges for parent in merge.parents):
            continue
        if any(merge.child in m.parents for m in merges.values()):
            continue
        merges[merge.child] = merge
    return list(merges.values())


def _parts(family: Family) -> list[Places]:
    """The members, so many at a time that what is held of their pairs of relatives stays small."""
    pairs = min(_NEAREST, family.size) ** 2 // 2
    parts = max(family.size * pairs * family.size // _VALUES, 1)
    return np.array_split(np.arange(family.size), min(parts, family.size))


def _explanations(family: Family, members: Places) -> list[Merge]:
    """How each of these members may be merged from any two of its relatives."""
    squared = family.distances[0]
    child, a, b = np.concatenate([_pairs(family, squared, c) for c in members.tolist()], axis=1)
    if not len(child):
        return []
    residual = _beside_line(squared, child, a, b)
    rest = np.flatnonzero(np.isnan(residual))
    base = _base(family, squared, child[rest], a[rest], b[rest])
    rest, base = rest[base >= 0], base[base >= 0]
    residual[rest] = _beside_base(squared, child[rest], a[rest], b[rest], base)
    return [
        Merge(int(child[n]), (int(a[n]), int(b[n])), float(residual[n]))
        for n in np.flatnonzero(~np.isnan(residual)).tolist()
    ]


def _pairs(family: Family, squared: Floats, child: int) -> Places:
    """A member and every two of its relatives that are tried as its parents, (3, pairs)."""
    near = _may_be_merged(family, child, _nearest(squared, child))
    first, second = _every_two(len(near))
    a, b = near[first], near[second]
    apart = squared[a, b] > LEAST
    a, b = a[apart], b[apart]
    return np.stack([np.full(len(a), child), a, b])


@lru_cache(maxsize=_NEAREST + 1)
def _every_two(count: int) -> tuple[Places, Places]:
    return np.triu_indices(count, 1)


def _nearest(squared: Floats, child: int) -> Places:
    order = np.argsort(squared[child], kind="stable")
    return order[(squared[child, order] > LEAST) & (order != child)][:_NEAREST]


def _may_be_merged(family: Family, child: int, parents: Places) -> Places:
    """Those parents that the child may have by what it lost and by what it shares with others."""
    # zeros and lattices survive an average only where all parents have them
    may = family.may_descend[child, parents] & family.may_descend[parents, child]
    parents = parents[may]
    limit = _IDENTICAL * family.counts[child]
    own = np.maximum(family.tensors[child] - family.tensors[parents], 0)
    fits = own.sum(1) <= limit
    for place in np.flatnonzero(~fits).tolist():
        foreign = np.minimum(own[place], family.tensors)
        foreign[child] = 0
        fits[place] = foreign.sum(1).max() <= limit
    return parents[fits]


def _base(family: Family, squared: Floats, child: Places, a: Places, b: Places) -> Places:
    """The relative that two parents' changes are measured from: the nearest to both that does not lie between them as
    another merge would; -1 for none. a, b: the parents of each pair."""
    to_a, to_b, apart = squared[a], squared[b], squared[a, b][:, None]
    allowed = (to_a + to_b - apart > -_STRAIGHT * apart) & (to_a > LEAST) & (to_b > LEAST)
    allowed &= family.may_descend[a] & family.may_descend[b] & (squared[child] > LEAST)
    pair = np.arange(len(a))
    allowed[pair, a] = allowed[pair, b] = allowed[pair, child] = False
    nearest = np.where(allowed, to_a + to_b, np.inf).argmin(1)
    return np.where(allowed.any(1), nearest, -1)


def _beside_line(squared: Floats, child: Places, a: Places, b: Places) -> Floats:
    """How far the child lies beside the line from a to b, over its distance to the nearer; NaN where it is no merge."""
    length, to_a, to_b = squared[a, b], squared[child, a], squared[child, b]
    place = (to_a + length - to_b) / (2 * length)
    residual = np.maximum(to_a - place**2 * length, 0.0) / np.minimum(to_a, to_b)
    merged = (place >= _MIDDLE) & (place <= 1 - _MIDDLE) & (residual <= _ON_LINE)
    return np.where(merged, residual, np.nan)


def _beside_base(squared: Floats, child: Places, a: Places, b: Places, base: Places) -> Floats:
    """Share of the child's changes from the base that its parents leave unexplained; NaN where it is no merge."""
    size, from_a, from_b = squared[child, base], squared[a, base], squared[b, base]
    between = (from_a + from_b - squared[a, b]) / 2
    common = between / np.sqrt(from_a * from_b)
    # base, parent, merged model and other parent in a row would be a line of descent just as well
    in_a_row = np.minimum(_off_the_way(squared, a, base, b), _off_the_way(squared, b, base, a))
    # where siblings part lies their parent, on the way between each two of them
    here = np.maximum(*(_off_the_way(squared, child, base, parent) for parent in (a, b)))
    merged = (in_a_row >= _BESIDE) & (here >= _BESIDE) & (np.abs(common) <= _APART)
    to_a, to_b = ((size + own - squared[child, p]) / 2 for own, p in ((from_a, a), (from_b, b)))
    determinant = np.where(merged, from_a * from_b - between**2, 1.0)
    share_a = (from_b * to_a - between * to_b) / determinant
    share_b = (from_a * to_b - between * to_a) / determinant
    explained = (share_a * to_a + share_b * to_b) / size
    alone = np.maximum(to_a**2 / from_a, to_b**2 / from_b) / size
    of_sibling = 2 * common**2 / np.where(merged, 1 + common, 1.0)
    merged &= (np.minimum(share_a, share_b) >= _SHARE) & (np.maximum(share_a, share_b) <= _MOST)
    merged &= explained - alone >= _ADDS
    merged &= explained >= np.maximum(_EXPLAINED, of_sibling + _BEYOND)
    return np.where(merged, 1 - explained, np.nan)


def _off_the_way(squared: Floats, member: Places, one: Places, other: Places) -> Floats:
    """How far a member lies from the way between two others: 0 on it, 1 at the end of it or beside it."""
    to_one, to_other = squared[member, one], squared[member, other]
    detour: Floats = (to_one + to_other - squared[one, other]) / 2 / np.minimum(to_one, to_other)
    return detour
