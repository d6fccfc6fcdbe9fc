"""Whether one relative can be the direct parent of another, from where all others lie around the two.

If two models are parent and child, every other member of the family hangs on one of them: it is reached through the
parent or through the child. If they are siblings whose parent is not in the index, the others hang on the place between
the two where that parent would be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from provray.ancestry.kinship import COARSE, LEAST, ZEROS, Bools, Family, Floats

Places = npt.NDArray[np.intp]

_NOISE = 0.044
"""Standard deviation of an inner product of two differences of sketches, over both lengths: sqrt(2 / 1024)."""
_SURE = 0.1
"""Errors of a place smaller than this count alike: what training changes in two siblings is not quite orthogonal."""
_GAP = 0.5
"""Gap of two siblings that are equally far from their parent, over their distance."""
_PRIOR = 1.0
"""Members that saw no third model, before any was asked: few weak witnesses do not part a pair."""
_ASKED = 64
"""How many other members are asked, the nearest ones."""
_VALUES = 2**20
"""Digests times members asked times pairs that are held at once, about."""


@dataclass(frozen=True)
class Between:
    """What the others say of a pair (child, parent). hidden: 0 to 1, how clearly they hang on a place between the two,
    as if a third model were there. above: -1 to 1, whether they hang on the parent's side (1) or on the child's.
    weight: how much was heard, in members."""

    hidden: float
    above: float
    weight: float


def look_between(family: Family, pairs: Sequence[tuple[int, int]], others: Bools) -> list[Between]:
    """Where `others` (a mask over members, children among them) hang around each pair of a child and its supposed
    parent."""
    there = np.flatnonzero(others)
    if len(there) < 2 or not pairs:
        return [Between(0.0, 0.0, 0.0) for _ in pairs]
    # In a large family what is held of one pair is large already.
    values = max(len(there), min(len(there), _ASKED) * family.tensors.shape[1])
    parts = np.array_split(
        np.array(pairs, np.intp), min(len(pairs) * values // _VALUES + 1, len(pairs))
    )
    return [found for part in parts for found in _look(family, part[:, 0], part[:, 1], there)]


def _look(family: Family, children: Places, parents: Places, there: Places) -> Iterator[Between]:
    asked, heard = _nearest(family, children, parents, there)
    hidden, side, weight = _by_tensors(family, children, parents, asked)
    silent = weight == 0
    for metric in range(len(family.distances)):
        found = _by_distance(family, metric, children, parents, asked)
        hidden, side, weight = (
            np.where(silent, old + new, old)
            for old, new in zip((hidden, side, weight), found, strict=True)
        )
    # What hangs on the child must be able to descend from it; else it descends from what is missing.
    barred = (side < 0) & ~family.may_descend[asked, children[:, None]]
    hidden = np.where(barred, np.abs(side), hidden)
    hidden, side, weight = (np.where(heard, each, 0.0).sum(1) for each in (hidden, side, weight))
    above = np.divide(side, weight, out=np.zeros_like(side), where=weight > 0)
    told = zip((hidden / (weight + _PRIOR)).tolist(), above.tolist(), weight.tolist(), strict=True)
    return (Between(*each) for each in told)


def _nearest(
    family: Family, children: Places, parents: Places, there: Places
) -> tuple[Places, Bools]:
    """The `_ASKED` of these members that are nearest to child or parent, a row for each pair, the child left out; and
    which of them are to be heard: not the parent itself."""
    places = np.arange(len(there) - 1)
    asked = there[places + (places >= np.searchsorted(there, children)[:, None])]
    if len(places) > _ASKED:
        squared = family.distances[0]
        near = np.minimum(squared[children[:, None], asked], squared[parents[:, None], asked])
        near[asked == parents[:, None]] = np.inf
        order = np.argsort(near, axis=1, kind="stable")[:, :_ASKED]
        asked = np.take_along_axis(asked, order, axis=1)
    return asked, asked != parents[:, None]


def _by_tensors(
    family: Family, children: Places, parents: Places, asked: Places
) -> tuple[Floats, Floats, Floats]:
    """By bit-identical tensors: what another has in common with one of the two and not with the other."""
    held = family.tensors[asked]
    ours, theirs = (family.tensors[members][:, None] for members in (children, parents))
    with_child = np.maximum(np.minimum(ours, held) - theirs, 0).sum(2)
    with_parent = np.maximum(np.minimum(theirs, held) - ours, 0).sum(2)
    # To be reached through one of the two it must share tensors with the other that all three hold.
    of_parent, of_child = (
        family.shared[members[:, None], asked] for members in (parents, children)
    )
    through = np.where(with_child > 0, of_parent, of_child) > 0
    heard = ((with_child + with_parent > 0) & through).astype(np.float64)
    both = np.minimum(with_child, with_parent) / np.maximum(np.maximum(with_child, with_parent), 1)
    side = np.sign(with_parent - with_child) * heard
    return np.sqrt(both), side * (1 - both), heard


def _by_distance(
    family: Family, metric: int, children: Places, parents: Places, asked: Places
) -> tuple[Floats, Floats, Floats]:
    """By squared distances, which add up along a tree; nothing of a parent that lies where the child does."""
    squared = family.distances[metric]
    apart = squared[children, parents][:, None]
    to_child, to_parent = (squared[members[:, None], asked] for members in (children, parents))
    # how far from the parent, on the way to the child, the path to another branches off
    branch = (apart + to_parent - to_child) / 2
    at_parent = branch <= apart / 2
    gap = np.abs(np.where(at_parent, branch, apart - branch))
    arm = np.where(at_parent, to_parent, to_child)
    shorter, longer = np.minimum(apart, arm), np.maximum(apart, arm)
    told = shorter > LEAST
    ratio = np.divide(longer, shorter, out=np.ones_like(longer), where=told)
    weight = np.where(apart > LEAST, 1 / (1 + (_NOISE / _SURE) ** 2 * ratio), 0.0)
    if metric == 0:
        # Two models that lost alike lie nearer than their history says: pruning keeps the same large weights.
        for lost in (family.zeros > ZEROS, family.coarse > COARSE):
            if lost.any():
                weight[lost[asked] & (lost[children] | lost[parents])[:, None]] = 0.0
    hidden = np.divide(gap, _GAP * shorter, out=np.zeros_like(gap), where=told)
    hidden = np.minimum(np.maximum(hidden, 0.0), 1.0)
    side = np.where(at_parent, 1.0, -1.0) * (1 - hidden)
    return hidden * weight, side * weight, weight
