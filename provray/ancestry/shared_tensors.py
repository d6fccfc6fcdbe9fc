"""Tensors that two models hold in common, whatever their name, the order of their values or how they are stored.

Two tensors of learned values with the same count, root mean square and kurtosis (to float32 precision) hold the same
values: frozen parts, layers that moved when one was dropped, neurons in another order, float16 kept as float32. Of
340,197 pairs of unrelated models not one shared any (docs/verdict.md).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from provray.fingerprints.weights import TensorMark, is_body, is_head
from provray.index.row import Row

_MIN_VALUES = 8
_CONSTANT = 1.0001
"""Kurtosis about zero of a tensor whose values all have one size: a start, not something learned."""
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

Content = tuple[int, float, float]


def learned_contents(row: Row) -> Counter[Content]:
    """How many tensors of each content a model's body holds: (number of values, root mean square, kurtosis)."""
    return Counter(content for mark in row.tensors if (content := _content(mark)) is not None)


def telling_digests(row: Row) -> Counter[str]:
    """Digests that tell something: counters, and values of one size (a start), are equal by chance. The two biases of a
    classifier of two classes are of one size although they were learned."""
    return Counter(
        mark.digest
        for mark in row.tensors
        if (count := math.prod(mark.shape)) >= 2
        and mark.rms > 0
        and (count == 2 or abs(mark.kurtosis - 1) > 1e-6)
    )


def body_marks(row: Row) -> dict[str, TensorMark]:
    """Learned tensors below the head, by name, sorted: sums must not depend on the order of the models."""
    kept = (m for m in row.tensors if not is_head(m.name) and not m.name.endswith(_STATISTICS))
    return {mark.name: mark for mark in sorted(kept, key=lambda mark: mark.name)}


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


def _content(mark: TensorMark) -> Content | None:
    count = math.prod(mark.shape)
    if count < _MIN_VALUES or mark.kurtosis <= _CONSTANT or not is_body(mark.name):
        return None
    return count, float(np.float32(mark.rms)), float(np.float32(mark.kurtosis))


Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class ContentTable:
    """What the bodies of many models hold, as arrays. keys: of each content, ascending within a model; values: how many
    values it has; counts: how many tensors of the model hold it; starts: (models + 1,), where each model's begin.

    Two contents of one key are the same: it is the bits of both moments, turned by the number of values."""

    keys: Keys
    values: Ints
    counts: Ints
    starts: Ints

    def take(self, models: Sequence[int] | Ints) -> ContentTable:
        """Those of these models alone, in this order."""
        chosen = np.asarray(models, np.int64)
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(starts[-1]) + np.repeat(self.starts[chosen] - starts[:-1], lengths)
        return ContentTable(self.keys[places], self.values[places], self.counts[places], starts)

    @cached_property
    def sizes(self) -> Ints:
        """`body_size` of each model."""
        return self._sums(self.values * self.counts)

    def shared(self, contents: Counter[Content]) -> npt.NDArray[np.float64]:
        """`shared_values` of one model with each of these; NaN where either has none."""
        ours = table_of([contents])
        smaller = np.minimum(self.sizes, ours.sizes[0])
        if not len(ours.keys):
            return np.full(len(smaller), np.nan)
        places = np.minimum(np.searchsorted(ours.keys, self.keys), len(ours.keys) - 1)
        both = np.minimum(self.counts, ours.counts[places]) * (ours.keys[places] == self.keys)
        common = self._sums(self.values * both)
        return np.where(smaller > 0, common / np.maximum(smaller, 1), np.nan)

    def links(self) -> Iterator[tuple[int, int]]:
        """Pairs of models that hold a content in common: enough of them to join all who do."""
        owners = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        order = np.argsort(self.keys, kind="stable")
        same = np.flatnonzero(self.keys[order][1:] == self.keys[order][:-1])
        yield from zip(owners[order[same]].tolist(), owners[order[same + 1]].tolist(), strict=True)

    def _sums(self, each: Ints) -> Ints:
        total = np.concatenate([[0], np.cumsum(each)]).astype(np.int64)
        return total[self.starts[1:]] - total[self.starts[:-1]]


def table_of(contents: Sequence[Counter[Content]]) -> ContentTable:
    """The contents of these models, in this order."""
    starts = np.cumsum([0, *map(len, contents)])
    flat = [(*content, count) for model in contents for content, count in model.items()]
    values = np.array([row[0] for row in flat], np.int64)
    moments = np.array([row[1:3] for row in flat], "<f4").reshape(-1, 2)
    keys = moments.view("<u8")[:, 0] ^ (values.astype(np.uint64) * _ODD)
    counts = np.array([row[3] for row in flat], np.int64)
    owners = np.repeat(np.arange(len(contents)), np.diff(starts))
    order = np.lexsort((keys, owners))
    return ContentTable(keys[order], values[order], counts[order], starts.astype(np.int64))
