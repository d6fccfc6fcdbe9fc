"""Which blocks a sample should be: spread over the tensor, one run of them, or the first ones. No program of its own.

Exact cosines, no sketch: what a choice of blocks says of a tensor against what the whole tensor says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from provray.fingerprints.sample import block_count, chosen_blocks
from provray.fingerprints.seeds import key_of, words
from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.sketch import BLOCK
from provray.fingerprints.weights import TensorSource, is_learned, normalised_name
from provray.models.checkpoint import TensorEntry, iter_blocks, open_checkpoint

F64 = npt.NDArray[np.float64]
COUNTS = (1, 2, 4, 8)
CHILDREN = {
    "minilm": ("fine-tune", "fine-tune harsh", "new-head", "adapter", "prune-80", "int4"),
    "mpnet": ("continued", "prune-80", "int4"),
    "mobilenet": ("new-head", "prune-80"),
}


def _run(shape: Sequence[int], sample: int) -> Sequence[int]:
    """As many blocks in a row, from a place drawn by the shape."""
    if block_count(shape) <= sample:
        return range(block_count(shape))
    places = math.prod(shape) // BLOCK - sample + 1
    begin = int(words(key_of("run", *shape), 1)[0]) * places >> 64
    return range(begin, begin + sample)


def _first(shape: Sequence[int], sample: int) -> Sequence[int]:
    return range(min(block_count(shape), sample))


WAYS: Mapping[str, Callable[[Sequence[int], int], Sequence[int]]] = {
    "spread": chosen_blocks,
    "one run": _run,
    "the first": _first,
}


def choices(work: Path) -> dict[str, Any]:
    """For each way and count, how far the sample's cosine of a child with its parent lies from the whole's: of a model
    (mean over its matrices by their size) and of a single matrix; mean and largest, absolute."""
    models: dict[tuple[str, int], list[float]] = {(way, n): [] for way in WAYS for n in COUNTS}
    tensors: dict[tuple[str, int], list[float]] = {(way, n): [] for way in WAYS for n in COUNTS}
    embeddings: dict[str, dict[str, float]] = {}
    for family, endings in CHILDREN.items():
        for ending in endings:
            _add(work / family, work / f"{family}.{ending}", models, tensors, embeddings)
    return {
        way: {
            str(n): {
                "model": {"mean": np.mean(models[way, n]), "largest": np.max(models[way, n])},
                "matrix": {"mean": np.mean(tensors[way, n]), "largest": np.max(tensors[way, n])},
            }
            for n in COUNTS
        }
        for way in WAYS
    } | {"embeddings": embeddings}


def _add(
    parent: Path,
    child: Path,
    models: dict[tuple[str, int], list[float]],
    tensors: dict[tuple[str, int], list[float]],
    embeddings: dict[str, dict[str, float]],
) -> None:
    ours, theirs = (
        {normalised_name(e.name): e for e in open_checkpoint(folder).tensors if _counts(e)}
        for folder in (child, parent)
    )
    power = 2 * WeightsSettings().size_power
    off: dict[tuple[str, int], list[float]] = {key: [] for key in models}
    sizes = []
    for name in sorted(ours.keys() & theirs.keys()):
        shape = ours[name].shape
        if shape != theirs[name].shape:
            continue
        x, y = (np.concatenate(list(iter_blocks(e[name], BLOCK))) for e in (ours, theirs))
        whole = _cosine(x, y)
        sizes.append(x.size**power)
        for (way, n), of in off.items():
            parts = [slice(b * BLOCK, (b + 1) * BLOCK) for b in WAYS[way](shape, n)]
            of.append(_cosine(*(np.concatenate([v[p] for p in parts]) for v in (x, y))) - whole)
            if n == 1 and name.endswith("word_embeddings.weight"):
                embeddings.setdefault(child.name, {"whole": whole})[way] = whole + of[-1]
    weights = np.array(sizes) / sum(sizes)
    for key, of in off.items():
        models[key].append(float(abs(weights @ np.array(of))))
        tensors[key].extend(np.abs(of).tolist())


def _counts(entry: TensorEntry) -> bool:
    """Whether it is one of the matrices of a sketch."""
    source = TensorSource(entry.name, entry.dtype, entry.shape, ())
    return is_learned(source) and len(entry.shape) >= 2 and entry.elements >= 64


def _cosine(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> float:
    a, b = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (x, y))
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else 0.0
