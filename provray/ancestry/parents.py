"""The parent of each member of a family, or none: one at most, by exclusion and then by nearness."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from provray.ancestry.between import Between, look_between
from provray.ancestry.direction import Direction
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.kinship import LEAST, ZEROS, Bools, Family
from provray.ancestry.merges import Merge

_HIDDEN = 0.3
"""From how clear a sign of a third model between the two they count as siblings."""
_CENTRAL = 1.5
"""What the place of all others is worth as evidence of direction, in log odds."""
_HALF = 0.5
"""A lossy relative stays the parent although a less lossy one fits, if the model is less than half as far from it."""
_AS_NEAR = 1.05
_AS_MANY = 0.95
_AT_PLACE = 0.2
_WITNESSES = 32
"""How many relatives are asked, the nearest ones, whether they come from a model that lies where this one does."""
_TRIED = 16
"""How many relatives are tried as parent, the nearest by tensors and by distance."""


@dataclass(frozen=True)
class Found:
    """Member numbers of a child and its parent. score: 0 to 1."""

    child: int
    parent: int
    score: float
    direction_known: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    parent: int
    odds: float
    around: Between
    reasons: tuple[str, ...]


def find_parents(
    members: Sequence[Fingerprint],
    family: Family,
    merges: Sequence[Merge],
    direction: Callable[[Fingerprint, Fingerprint], Direction],
) -> list[Found]:
    """The parents of all members but merged ones. `members` are in the order of the family's matrices."""
    merged = {merge.child: merge.parents for merge in merges}
    others = np.array([number not in merged for number in range(family.size)])
    if family.size == 2 and not merged:
        return [_only_pair(members, direction)]
    shadows = _shadows(family, others)
    made_of = {(merge.child, parent) for merge in merges for parent in merge.parents}
    tried = _tried(family)
    pairs = [
        (child, parent)
        for child in np.flatnonzero(others).tolist()
        for parent in _not_barred(family, child, tried[child])
        if (parent, child) not in made_of
        and (parent not in shadows or _own_tensors(family, child, parent, shadows[parent]))
    ]
    fitting: dict[int, list[_Candidate]] = {}
    for (child, parent), around in zip(pairs, look_between(family, pairs, others), strict=True):
        if around.hidden > _HIDDEN:
            continue
        said = direction(members[child], members[parent])
        odds = said.log_likelihood_ratio + _CENTRAL * around.above * min(around.weight, 1.0)
        if odds > 0:
            fitting.setdefault(child, []).append(_Candidate(parent, odds, around, said.reasons))
    choices = {child: _nearest(family, child, found) for child, found in fitting.items()}
    _break_cycles(choices, merges)
    return [_found(child, choice) for child, choice in sorted(choices.items())]


def _tried(family: Family) -> list[list[int]]:
    """For each member the relatives that are tried as its parent."""
    near = np.argsort(family.apart, axis=1, kind="stable")[:, : _TRIED + 1]
    many = np.argsort(-family.shared, axis=1, kind="stable")[:, : _TRIED + 1]
    sharing = np.take_along_axis(family.shared, many, axis=1) > 0
    both = [
        [*nearest, *most[some].tolist()]
        for nearest, most, some in zip(near.tolist(), many, sharing, strict=True)
    ]
    return [
        [other for other in dict.fromkeys(listed) if other != child]
        for child, listed in enumerate(both)
    ]


def _not_barred(family: Family, child: int, parents: Sequence[int]) -> list[int]:
    """Those parents that lost nothing which the child has, and that yield to nobody: a lossy model is not the parent if
    a less lossy one shares as much with the child. Pruned to 60 % lies between pruned to 30 % and to 80 %, and all
    three are made of one original."""
    kept = np.array([p for p in parents if family.may_descend[child, p]], np.intp)
    less = family.may_descend[kept] & ~family.may_descend[:, kept].T
    less &= family.shared[child] >= family.shared[child, kept][:, None]
    less[:, child] = False
    less[np.arange(len(kept)), kept] = False
    squared = family.distances[0][child]
    yields = (less & (squared[kept][:, None] > _HALF * squared)).any(1)
    return kept[~yields].tolist()


def _shadows(family: Family, others: Bools) -> dict[int, list[int]]:
    """Members that only look like a parent: they lie where a missing one would, but two others that meet there share
    tensors that they lack. By member, those others."""
    squared = family.distances[0]
    found: dict[int, list[int]] = {}
    for member in np.nonzero(family.zeros <= ZEROS)[0].tolist():
        near = np.argsort(squared[member], kind="stable")
        asked = near[others[near] & (near != member)][:_WITNESSES]
        lacked = np.clip(family.tensors[asked] - family.tensors[member], 0, None)
        if not lacked.any():
            continue
        to_all = squared[member, asked]
        here = (to_all[:, None] + to_all[None] - squared[np.ix_(asked, asked)]) / 2
        arms = np.minimum(to_all[:, None], to_all[None])
        met = (here <= _AT_PLACE * arms) & (arms > LEAST)
        both = np.minimum(lacked[:, None], lacked[None]).sum(2) > 0
        np.fill_diagonal(both, False)
        met &= both
        if met.any():
            found[member] = asked[met.any(1)].tolist()
    return found


def _own_tensors(family: Family, child: int, parent: int, others: Sequence[int]) -> bool:
    """Whether child and parent share tensors that those others lack."""
    common = np.minimum(family.tensors[child], family.tensors[parent])
    rest = [other for other in others if other != child]
    if not rest:
        return True
    return bool((common - family.tensors[rest].max(0) > 0).any())


def _nearest(family: Family, child: int, fitting: Sequence[_Candidate]) -> _Candidate:
    """Most tensors bit for bit, then the shortest distance; of bodies alike, the one with a head of the same shape, and
    then the one that shares most with the whole family."""
    shared = {c.parent: int(family.shared[child, c.parent]) for c in fitting}
    kept = [c for c in fitting if shared[c.parent] >= _AS_MANY * max(shared.values())]
    squared = family.apart[child]
    least = min(squared[c.parent] for c in kept)
    kept = [c for c in kept if squared[c.parent] <= _AS_NEAR * least + LEAST]
    heads, known = family.heads[child], family.shared.sum(1)
    return max(kept, key=lambda c: (bool(heads[c.parent]), int(known[c.parent]), c.odds, -c.parent))


def _break_cycles(choices: dict[int, _Candidate], merges: Sequence[Merge]) -> None:
    """Drop the weakest chosen edge of every cycle. Merges make none among themselves: no parent of one is merged."""
    merged = {merge.child: merge.parents for merge in merges}
    while cycle := _cycle(
        {**merged, **{child: (choice.parent,) for child, choice in choices.items()}}
    ):
        del choices[min(cycle & choices.keys(), key=lambda child: (choices[child].odds, child))]


def _cycle(parents: Mapping[int, Sequence[int]]) -> set[int]:
    """Members on one cycle; none if there is no cycle."""
    done: set[int] = set()

    def climb(member: int, path: list[int]) -> set[int]:
        if member in path:
            return set(path[path.index(member) :])
        if member in done:
            return set()
        for parent in parents.get(member, ()):
            if found := climb(parent, [*path, member]):
                return found
        done.add(member)
        return set()

    for member in parents:
        if found := climb(member, []):
            return found
    return set()


def _found(child: int, choice: _Candidate) -> Found:
    around = choice.around
    reasons = list(choice.reasons)
    if around.weight:
        side = "the parent's side" if around.above > 0 else "both sides"
        reasons.append(
            f"the rest of the family hangs on {side} of this pair ({around.above:+.2f}), and "
            f"little speaks for a model between them ({around.hidden:.2f})"
        )
    score = (1 - around.hidden) / (1 + math.exp(-choice.odds))
    return Found(child, choice.parent, score, True, tuple(reasons))


def _only_pair(
    members: Sequence[Fingerprint],
    direction: Callable[[Fingerprint, Fingerprint], Direction],
) -> Found:
    """Two models that no third one places: direction decides, and if it is silent the edge says so."""
    said = direction(members[1], members[0])
    if said.said == "descendant":
        turned = direction(members[0], members[1])
        return Found(0, 1, _certainty(turned), True, turned.reasons)
    return Found(1, 0, _certainty(said), said.said == "ancestor", said.reasons)


def _certainty(said: Direction) -> float:
    return 1 / (1 + math.exp(-abs(said.log_likelihood_ratio)))
