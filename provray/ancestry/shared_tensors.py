"""Tensors that two models hold in common, whatever their name, the order of their values or how they are stored.

Two tensors of learned values with the same count, root mean square and kurtosis (to float32 precision) hold the same
values: frozen parts, layers that moved when one was dropped, neurons in another order, float16 kept as float32. Of
340,197 pairs of unrelated models not one shared any (docs/verdict.md).
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache

import numpy as np

from provray.fingerprints.weights import TensorMark, is_body
from provray.index.row import Row

_MIN_VALUES = 8
_CONSTANT = 1.0001
"""Kurtosis about zero of a tensor whose values all have one size: a start, not something learned."""

Content = tuple[int, float, float]


def learned_contents(row: Row) -> Counter[Content]:
    """How many tensors of each content a model's body holds: (number of values, root mean square, kurtosis)."""
    return Counter(content for mark in row.tensors if (content := _content(mark)) is not None)


def body_size(contents: Counter[Content]) -> int:
    """How many learned values a body holds."""
    return sum(content[0] * count for content, count in contents.items())


def shared_values(
    ours: Counter[Content], theirs: Counter[Content], smaller: int | None = None
) -> float | None:
    """Share of the smaller body's learned values that stand in tensors of both; None if either has none.

    smaller: the size of the smaller body, if it is known.
    """
    if smaller is None:
        smaller = min(body_size(ours), body_size(theirs))
    if not smaller:
        return None
    common = ours.keys() & theirs.keys()
    return sum(content[0] * min(ours[content], theirs[content]) for content in common) / smaller


_of_body = lru_cache(maxsize=65536)(is_body)


def _content(mark: TensorMark) -> Content | None:
    count = math.prod(mark.shape)
    if count < _MIN_VALUES or mark.kurtosis <= _CONSTANT or not _of_body(mark.name):
        return None
    return count, float(np.float32(mark.rms)), float(np.float32(mark.kurtosis))
