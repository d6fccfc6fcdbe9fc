"""Whether one relative can be the direct parent of another, from where all others lie around the two.

If two models are parent and child, every other member of the family hangs on one of them: it is reached through the
parent or through the child. If they are siblings whose parent is not in the index, the others hang on the place between
the two where that parent would be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from provray.ancestry.kinship import COARSE, LEAST, ZEROS, Bools, Family, Floats

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


@dataclass(frozen=True)
class Between:
    """What the others say of a pair (child, parent). hidden: 0 to 1, how clearly they hang on a place between the two,
    as if a third model were there. above: -1 to 1, whether they hang on the parent's side (1) or on the child's.
    weight: how much was heard, in members."""

    hidden: float
    above: float
    weight: float


def look_between(family: Family, child: int, parent: int, others: Bools) -> Between:
    """Where `others` (a mask over members) hang around a child and a supposed parent."""
    mask = others.copy()
    mask[[child, parent]] = False
    asked = np.nonzero(mask)[0]
    if len(asked) > _ASKED:
        near = family.distances[0][[child, parent]].min(0)[asked]
        asked = asked[np.argsort(near, kind="stable")[:_ASKED]]
    if not len(asked):
        return Between(0.0, 0.0, 0.0)
    hidden, side, weight = _by_tensors(family, child, parent, asked)
    silent = weight == 0
    for metric in range(len(family.distances)):
        found = _by_distance(family, metric, child, parent, asked)
        hidden, side, weight = (
            np.where(silent, old + new, old)
            for old, new in zip((hidden, side, weight), found, strict=True)
        )
    # What hangs on the child must be able to descend from it; else it descends from what is missing.
    barred = (side < 0) & ~family.may_descend[asked, child]
    hidden = np.where(barred, np.abs(side), hidden)
    total = float(weight.sum())
    if total == 0:
        return Between(0.0, 0.0, 0.0)
    return Between(float(hidden.sum()) / (total + _PRIOR), float(side.sum()) / total, total)


def _by_tensors(
    family: Family, child: int, parent: int, asked: npt.NDArray[np.intp]
) -> tuple[Floats, Floats, Floats]:
    """By bit-identical tensors: what another has in common with one of the two and not with the other."""
    held = family.tensors[asked]
    ours, theirs = family.tensors[child], family.tensors[parent]
    with_child = np.clip(np.minimum(ours, held) - theirs, 0, None).sum(1)
    with_parent = np.clip(np.minimum(theirs, held) - ours, 0, None).sum(1)
    # To be reached through one of the two it must share tensors with the other that all three hold.
    through = (
        np.where(with_child > 0, family.shared[parent, asked], family.shared[child, asked]) > 0
    )
    heard = ((with_child + with_parent > 0) & through).astype(np.float64)
    both = np.minimum(with_child, with_parent) / np.maximum(np.maximum(with_child, with_parent), 1)
    side = np.sign(with_parent - with_child) * heard
    return np.sqrt(both), side * (1 - both), heard


def _by_distance(
    family: Family, metric: int, child: int, parent: int, asked: npt.NDArray[np.intp]
) -> tuple[Floats, Floats, Floats]:
    """By squared distances, which add up along a tree."""
    squared = family.distances[metric]
    apart = squared[child, parent]
    if apart <= LEAST:
        nothing = np.zeros(len(asked))
        return nothing, nothing, nothing
    to_child, to_parent = squared[child, asked], squared[parent, asked]
    # how far from the parent, on the way to the child, the path to another branches off
    branch = (apart + to_parent - to_child) / 2
    at_parent = branch <= apart / 2
    gap = np.abs(np.where(at_parent, branch, apart - branch))
    arm = np.where(at_parent, to_parent, to_child)
    shorter, longer = np.minimum(apart, arm), np.maximum(apart, arm)
    told = shorter > LEAST
    ratio = np.divide(longer, shorter, out=np.ones_like(longer), where=told)
    weight = 1 / (1 + (_NOISE / _SURE) ** 2 * ratio)
    if metric == 0:
        # Two models that lost alike lie nearer than their history says: pruning keeps the same large weights.
        for lost in (family.zeros > ZEROS, family.coarse > COARSE):
            weight[lost[asked] & (lost[child] | lost[parent])] = 0.0
    hidden = np.divide(gap, _GAP * shorter, out=np.zeros_like(gap), where=told).clip(0, 1)
    side = np.where(at_parent, 1.0, -1.0) * (1 - hidden)
    return hidden * weight, side * weight, weight
