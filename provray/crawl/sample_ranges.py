"""Where the sampled blocks of a model's tensors lie in its weight files: what a fetch must bring, and no more."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from provray.fingerprints.sample import chosen_blocks
from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.sketch import BLOCK
from provray.models.checkpoint import ITEM_BYTES, TensorEntry

Span = tuple[int, int]
"""Bytes of a file: from the first, to below the second."""


def sample_ranges(
    entries: Iterable[TensorEntry], settings: WeightsSettings
) -> dict[Path, tuple[Span, ...]]:
    """What must be read of each file for a weights fingerprint, beside its header: byte ranges, sorted and merged.

    entries: the tensors, in any order. A file that holds no value has no range.
    """
    spans: dict[Path, list[Span]] = {}
    for entry in entries:
        of_file = spans.setdefault(entry.file, [])
        size = BLOCK * ITEM_BYTES[entry.dtype]
        for number in chosen_blocks(entry.shape, settings.sample):
            begin = entry.begin + number * size
            of_file.append((begin, min(begin + size, entry.end)))
    return {file: _merged(of_file) for file, of_file in spans.items()}


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same bytes, sorted, in as few ranges as possible."""
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)
