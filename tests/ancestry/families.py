"""Families made of a few small tensors, with real sketches and marks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.weights import TensorSource, fingerprint_weights
from provray.index.row import Row
from tests.ancestry.rows import START

Tensors = Mapping[str, np.ndarray]
_SHAPES = {
    "layer.0.weight": (96, 128),
    "layer.0.bias": (96,),
    "layer.1.weight": (128, 96),
    "layer.1.bias": (128,),
    "classifier.weight": (10, 128),
    "classifier.bias": (10,),
}


def base_model(seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of a small network."""
    rng = np.random.default_rng(seed)
    return {n: rng.standard_normal(s).astype(np.float32) for n, s in _SHAPES.items()}


def tuned(tensors: Tensors, seed: int, by: float = 0.1) -> dict[str, np.ndarray]:
    """Every value a little changed."""
    rng = np.random.default_rng(seed)
    return {
        n: (t + by * rng.standard_normal(t.shape)).astype(np.float32) for n, t in tensors.items()
    }


def pruned(tensors: Tensors, share: float) -> dict[str, np.ndarray]:
    """The smallest values of every matrix set to zero."""

    def cut(tensor: np.ndarray) -> np.ndarray:
        small = np.abs(tensor) < np.quantile(np.abs(tensor), share)
        return np.where(small, 0, tensor).astype(np.float32)

    return {n: cut(t) if t.ndim > 1 else t for n, t in tensors.items()}


def rounded(tensors: Tensors, levels: int) -> dict[str, np.ndarray]:
    """Every row of every matrix on a lattice."""

    def on_lattice(tensor: np.ndarray) -> np.ndarray:
        scale = np.abs(tensor).max(axis=1, keepdims=True) / levels
        return (np.round(tensor / scale) * scale).astype(np.float32)

    return {n: on_lattice(t) if t.ndim > 1 else t for n, t in tensors.items()}


def new_head(tensors: Tensors, seed: int) -> dict[str, np.ndarray]:
    """Another head of three classes on the same body."""
    rng = np.random.default_rng(seed)
    fresh = {"classifier.weight": rng.standard_normal((3, 128)), "classifier.bias": rng.random(3)}
    return {**tensors, **{n: t.astype(np.float32) for n, t in fresh.items()}}


def average(*models: Tensors) -> dict[str, np.ndarray]:
    """The mean of models."""
    return {n: np.mean([m[n] for m in models], axis=0).astype(np.float32) for n in models[0]}


def ties(base: Tensors, first: Tensors, second: Tensors) -> dict[str, np.ndarray]:
    """The largest third of each model's changes, added up where both agree."""

    def trimmed(model: Tensors, name: str) -> np.ndarray:
        change = model[name] - base[name]
        return np.where(np.abs(change) >= np.quantile(np.abs(change), 0.7), change, 0)

    made = {}
    for name in base:
        both = np.stack([trimmed(model, name) for model in (first, second)])
        kept = both * (np.sign(both) == np.sign(both.sum(0)))
        count = np.maximum((kept != 0).sum(0), 1)
        made[name] = (base[name] + kept.sum(0) / count).astype(np.float32)
    return made


def fingerprinted(model: str, tensors: Tensors) -> Fingerprint:
    """The weights fingerprint of a model."""
    sources = (
        TensorSource(n, "F32", t.shape, [(t.ravel(), t.tobytes())]) for n, t in tensors.items()
    )
    made = fingerprint_weights(sources, WeightsSettings())
    row = Row(
        model,
        "r1",
        "weights",
        "weights-1",
        readouts=("weights", "biases"),
        vectors=made.vectors,
        tensors=made.marks,
        weights_digest=made.digest,
        created=START,
    )
    return Fingerprint(model, "r1", row)
