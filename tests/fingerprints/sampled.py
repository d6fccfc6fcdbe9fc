"""Sampled fingerprints of tensors in memory and of folders, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from provray.fingerprints.sample import chosen_blocks
from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.sketch import BLOCK
from provray.fingerprints.weights import (
    TensorSource,
    WeightsFingerprint,
    fingerprint_weights,
)
from provray.models.checkpoint import TensorEntry, iter_tensor, open_checkpoint

F32 = npt.NDArray[np.float32]
LARGE = (700, 1000)  # 10.7 blocks


def sources(entries: Iterable[TensorEntry], sample: int) -> Iterator[TensorSource]:
    for entry in entries:
        blocks = iter_tensor(entry, BLOCK, chosen_blocks(entry.shape, sample))
        yield TensorSource(entry.name, entry.dtype, entry.shape, blocks)


def of_folder(folder: Path, settings: WeightsSettings) -> WeightsFingerprint:
    return fingerprint_weights(sources(open_checkpoint(folder).tensors, settings.sample), settings)


def blocks_of(tensor: F32, numbers: Iterable[int]) -> list[tuple[F32, bytes]]:
    parts = [tensor.ravel()[n * BLOCK : (n + 1) * BLOCK] for n in numbers]
    return [(part, part.tobytes()) for part in parts]


def fingerprint(tensors: Mapping[str, F32], settings: WeightsSettings) -> WeightsFingerprint:
    return fingerprint_weights(
        (
            TensorSource(n, "F32", t.shape, blocks_of(t, chosen_blocks(t.shape, settings.sample)))
            for n, t in tensors.items()
        ),
        settings,
    )


def cosine(a: WeightsFingerprint, b: WeightsFingerprint) -> float:
    return float(a.vectors[0] @ b.vectors[0])


def made_network(seed: int, prefix: str = "") -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    shapes = {"embed.weight": LARGE, "up.weight": (400, 500), "down.weight": (60, 80)}
    return {
        prefix + n: (0.3 + rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()
    }
