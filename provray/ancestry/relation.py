"""How a child was made of its parent, by the marks that the making leaves in its weights."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.weights import TensorMark, is_head

_MORE_ZEROS = 0.1
_FEWER_VALUES = 0.15
_COARSER = 0.0005
"""Loss of different values in a row that half precision causes: few bits less, in all tensors."""
_ROUNDED = 2e-5
"""1 - cosine that half precision leaves at most (bfloat16 keeps 8 bits: relative errors of 2^-9)."""
_ALL = 0.999


def guess_relation(suspect: Fingerprint, other: Fingerprint) -> str:
    """How `suspect` was made of `other`: a label for people, not part of the judgement.

    `copy`: the same bits. `rearranged`: the same values in another order or storage. `layers dropped`: the same
    layers, and
    fewer. `quantised`: few different values in a row, or half precision. `pruned`: exact zeros that the parent
    lacks. `new
    head`: output tensors of other shapes, or other ones over an unchanged body. `fine-tune`: none of these. `unknown`
    without weights in common.
    """
    ours, theirs = suspect.weights, other.weights
    if ours is None or theirs is None:
        return "unknown"
    if ours.weights_digest and ours.weights_digest == theirs.weights_digest:
        return "copy"
    pairs = _matrices(ours.tensors, theirs.tensors)
    if not pairs:
        return "unknown"
    new_head = _heads(ours.tensors) != _heads(theirs.tensors)
    kept = sum((suspect.contents & other.contents).values()) / max(suspect.contents.total(), 1)
    if kept >= _ALL:
        if new_head or _head_values(ours.tensors) != _head_values(theirs.tensors):
            return "new head"
        fewer = suspect.contents.total() < other.contents.total()
        return "layers dropped" if fewer else "rearranged"
    # Rounding first: it makes zeros too, while pruning leaves as many different values among the others.
    if _mean(b.distinct - a.distinct for a, b in pairs) > _FEWER_VALUES:
        return "quantised"
    if _mean(a.zeros - b.zeros for a, b in pairs) > _MORE_ZEROS:
        return "pruned"
    if new_head:
        return "new head"
    mine, its = ours.vector("weights"), theirs.vector("weights")
    if mine is not None and its is not None:
        apart = 1 - float(mine.astype(np.float64) @ its.astype(np.float64))
        coarser = _mean(b.distinct - a.distinct for a, b in pairs) > _COARSER
        if apart < _ROUNDED and coarser and all(a.distinct <= b.distinct for a, b in pairs):
            return "quantised"
    return "fine-tune"


def _matrices(
    ours: Iterable[TensorMark], theirs: Iterable[TensorMark]
) -> list[tuple[TensorMark, TensorMark]]:
    """Matrices that both hold under one name and shape."""
    named = {mark.name: mark for mark in theirs}
    return [
        (mark, named[mark.name])
        for mark in ours
        if len(mark.shape) >= 2 and mark.name in named and named[mark.name].shape == mark.shape
    ]


def _heads(marks: Iterable[TensorMark]) -> set[tuple[str, tuple[int, ...]]]:
    """Name and shape of the tensors that make up an output head."""
    return {
        (mark.name, mark.shape)
        for mark in marks
        if is_head(mark.name) and not mark.name.startswith("pooler")
    }


def _head_values(marks: Iterable[TensorMark]) -> list[tuple[int, float, float]]:
    """What the head's tensors hold, in any order."""
    return sorted(
        (int(np.prod(mark.shape)), float(np.float32(mark.rms)), float(np.float32(mark.kurtosis)))
        for mark in marks
        if is_head(mark.name) and not mark.name.startswith("pooler")
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
