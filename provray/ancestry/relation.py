"""A first guess at how a child was made, from marks that the making leaves in its weights."""

from __future__ import annotations

from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.weights import TensorMark, is_head

_MORE_ZEROS = 0.1
_FEWER_VALUES = 0.15


def guess_relation(suspect: Fingerprint, other: Fingerprint) -> str:
    """`pruned`, `quantised`, `new head`, `fine-tune` or `unknown`; a label for people, not part of the judgement.

    Pruning leaves exact zeros that the parent lacks, rounding leaves few different values in a row, and a
    replaced head shows as output tensors of another name or shape over a body of the same ones.
    """
    if suspect.weights is None or other.weights is None:
        return "unknown"
    ours = {mark.name: mark for mark in suspect.weights.tensors}
    theirs = {mark.name: mark for mark in other.weights.tensors}
    shared = [
        (ours[name], theirs[name])
        for name in ours.keys() & theirs.keys()
        if ours[name].shape == theirs[name].shape and len(ours[name].shape) >= 2
    ]
    if not shared:
        return "unknown"
    # Rounding first: it makes zeros too, while pruning leaves as many different values among the others.
    if _mean(b.distinct - a.distinct for a, b in shared) > _FEWER_VALUES:
        return "quantised"
    if _mean(a.zeros - b.zeros for a, b in shared) > _MORE_ZEROS:
        return "pruned"
    if _heads(ours) != _heads(theirs):
        return "new head"
    return "fine-tune"


def _heads(marks: dict[str, TensorMark]) -> set[tuple[str, tuple[int, ...]]]:
    """Name and shape of the tensors that make up an output head."""
    return {
        (mark.name, mark.shape)
        for mark in marks.values()
        if is_head(mark.name) and not mark.name.startswith("pooler")
    }


def _mean(values: object) -> float:
    listed = list(values)  # type: ignore[call-overload]
    return sum(listed) / len(listed)
