"""What the members of one family share, as matrices: squared distances, identical tensors, what was lost.

Sketches of two models with the same tensor names use the same hashes, so the difference of two sketches is
accurate however small it is. What training changes in two children of one parent is nearly orthogonal in
thousands of dimensions, so squared distances add up along the tree: a model lies on the path between two others
if its distances to them sum to theirs. Tensors that are bit-identical add up in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.weights import is_head

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LEAST = 1e-6
"""Squared distances of unit sketches below this are rounding."""
ZEROS, COARSE = 0.02, 0.05
"""From which share of zeros, and of repeated values in a row, weights are so pruned or rounded that it moves them."""
_LESS = 0.0015
"""From which difference in the share of repeated values a model is rounded and its relative is not."""
_KEPT = 0.75
"""What a child keeps, at least, of its parent's zeros and repeated values: training again under a mask leaves all but
those of tensors that were not masked."""


@dataclass(frozen=True)
class Family:
    """Matrices over the members of one family, members x members unless said.

    distances: squared distances of the sketches of matrices and of biases, (2, members, members). tensors:
    members x digests, how often a member holds each digest that at least two members hold. shared: how many tensors
    are bit-identical under whatever names. counts: tensors of each member that could be. zeros, coarse: of each
    member, mean share of zeros and of repeated values over its matrices. may_descend: row from column: what the
    column lost, the row lacks too. heads: whether two members' heads have the same names and shapes.
    """

    distances: Floats
    tensors: Ints
    shared: Ints
    counts: Ints
    zeros: Floats
    coarse: Floats
    may_descend: Bools
    heads: Bools

    @property
    def size(self) -> int:
        """How many members there are."""
        return len(self.zeros)

    @cached_property
    def apart(self) -> Floats:
        """Squared distances of both sketches together."""
        return np.asarray(self.distances.sum(0), np.float64)


def common_digests(fingerprints: Sequence[Fingerprint], families: Sequence[int]) -> frozenset[str]:
    """Digests that members of different families hold: constants and tables, which show no descent."""
    held: dict[str, int] = {}
    common = set()
    for fingerprint, family in zip(fingerprints, families, strict=True):
        for digest in fingerprint.telling_digests:
            if held.setdefault(digest, family) != family:
                common.add(digest)
    return frozenset(common)


def measure_family(members: Sequence[Fingerprint], ignored: frozenset[str] = frozenset()) -> Family:
    """The matrices of one family; members are alike in the order given. `ignored`: digests that tell nothing.

    Raises ValueError for a member without weights.
    """
    for member in members:
        if member.weights is None:
            raise ValueError(f"{member.model} has no weights fingerprint: it belongs to no family")
    counts = [
        Counter({d: n for d, n in m.telling_digests.items() if d not in ignored}) for m in members
    ]
    holders = Counter(digest for count in counts for digest in count)
    columns = {d: i for i, d in enumerate(sorted(d for d, n in holders.items() if n > 1))}
    tensors = np.zeros((len(members), len(columns)), np.int64)
    for row, count in enumerate(counts):
        for digest, number in count.items():
            if digest in columns:
                tensors[row, columns[digest]] = number
    shared = np.array([np.minimum(row, tensors).sum(1) for row in tensors], np.int64)
    zeros, coarse = _losses(members)
    heads = [_heads(m) for m in members]
    return Family(
        distances=np.stack([_distances(members, place) for place in (0, 1)]),
        tensors=tensors,
        shared=shared.reshape(len(members), len(members)),
        counts=np.array([max(sum(count.values()), 1) for count in counts], np.int64),
        zeros=_mean_of_held(zeros),
        coarse=_mean_of_held(coarse),
        may_descend=_keeps(zeros, ZEROS) & _keeps(coarse, _LESS),
        heads=np.array([[a == b for b in heads] for a in heads], bool),
    )


def _distances(members: Sequence[Fingerprint], place: int) -> Floats:
    """Squared distances of unit sketches; zero where one has none."""
    dimensions = max(
        (m.weights.vectors.shape[1] for m in members if m.weights and len(m.weights.vectors)),
        default=1,
    )
    vectors = np.zeros((len(members), dimensions))
    for row, member in enumerate(members):
        if member.weights is not None and len(member.weights.vectors) > place:
            vectors[row] = member.weights.vectors[place]
    gram = vectors @ vectors.T
    norms = np.diag(gram)
    squared = np.maximum(norms[:, None] + norms[None] - 2 * gram, 0.0)
    squared[squared < LEAST] = 0.0
    none = norms == 0
    squared[none] = squared[:, none] = 0.0
    return np.asarray(squared, np.float64)


def _losses(members: Sequence[Fingerprint]) -> tuple[Floats, Floats]:
    """Share of zeros and of repeated values, members × matrices by name and shape; NaN where a member has none such."""
    columns: dict[tuple[str, tuple[int, ...]], int] = {}
    found: list[tuple[int, int, float, float]] = []
    for row, member in enumerate(members):
        for mark in member.weights.tensors if member.weights else ():
            if len(mark.shape) >= 2 and not is_head(mark.name):
                column = columns.setdefault((mark.name, mark.shape), len(columns))
                found.append((row, column, mark.zeros, 1 - mark.distinct))
    zeros, coarse = (np.full((len(members), max(len(columns), 1)), np.nan) for _ in range(2))
    for row, column, zero, repeated in found:
        zeros[row, column], coarse[row, column] = zero, repeated
    return zeros, coarse


def _mean_of_held(losses: Floats) -> Floats:
    there = np.isfinite(losses)
    return np.asarray(np.where(there, losses, 0.0).sum(1) / np.maximum(there.sum(1), 1), np.float64)


def _keeps(losses: Floats, least: float) -> Bools:
    """Whether a row keeps what the column lost: pairs are compared on the matrices that both hold."""
    there = np.isfinite(losses)
    held = np.where(there, losses, 0.0)
    both = np.maximum(there.astype(np.float64) @ there.T, 1.0)
    # entry (i, j): mean loss of j over the matrices that i holds too
    theirs = (there.astype(np.float64) @ held.T) / both
    ours = theirs.T
    return np.asarray((ours >= _KEPT * theirs) | (theirs - ours <= least), bool)


def _heads(member: Fingerprint) -> frozenset[tuple[str, tuple[int, ...]]]:
    marks = member.weights.tensors if member.weights else ()
    return frozenset((mark.name, mark.shape) for mark in marks if is_head(mark.name))
