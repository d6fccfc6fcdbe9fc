"""An index of many made-up models for the service's benchmark: random sketches, families of five."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from provray.crawl.fingerprinter import Fingerprinter
from provray.fingerprints.settings import FingerprintSettings
from provray.fingerprints.space import weights_space
from provray.fingerprints.weights import READOUTS, TensorMark
from provray.index.row import Row
from provray.index.table import FingerprintTable
from provray.probes import default_probes

FAMILY = 5
"""A parent and its children."""
SEARCHED = 3
"""Vectors of each model that searches run over: weights, biases, behaviour."""
_BATCH = 2000
_DNA = ("noise@0", "noise@1/6", "noise@1/3", "noise@1/2", "mixed@1", "mixed@probabilities")
_SHAPES = ((96, 128), (96,), (128, 96), (128,))


def name(number: int) -> str:
    """Of a model."""
    return f"org-{number // FAMILY:05d}/model-{number % FAMILY}"


def make_index(place: Path, models: int) -> None:
    """An index of so many models with weights and DNA rows, in the spaces that a service asks in."""
    table = FingerprintTable.create(place)
    settings = FingerprintSettings()
    digests = {modality: default_probes(modality).digest for modality in ("image", "text")}
    made = Fingerprinter(settings, digests)
    spaces = {"weights": weights_space(settings).id, "dna": made.behaviour_id("dna", "image")}
    rng = np.random.default_rng(7)
    batch: list[Row] = []
    for rows in _models(models, spaces, digests["image"], rng):
        batch.extend(rows)
        if len(batch) >= 2 * _BATCH:
            table.append(batch)
            batch = []
    if batch:
        table.append(batch)


def _models(
    count: int, spaces: dict[str, str], probes: str, rng: np.random.Generator
) -> Iterator[list[Row]]:
    parent: list[np.ndarray] = []
    for number in range(count):
        own = [_unit(rng, len(READOUTS), 1024), _unit(rng, len(_DNA), 256)]
        if number % FAMILY == 0:
            parent = own
        else:
            own = [_near(p, o, c) for p, o, c in zip(parent, own, (0.97, 0.6), strict=True)]
        made = partial(Row, name(number), "r1", modality="image", model_type="made")
        yield [
            made(
                kind="weights",
                space=spaces["weights"],
                readouts=READOUTS,
                vectors=own[0],
                tensors=tuple(_mark(n, s, rng) for n, s in enumerate(_SHAPES)),
                weights_digest=f"{number:064x}",
            ),
            made(
                kind="dna",
                space=spaces["dna"],
                readouts=_DNA,
                vectors=own[1],
                scales=tuple(rng.uniform(1, 2, 2 * len(_DNA)).tolist()),
                probes=probes,
            ),
        ]


def _mark(number: int, shape: tuple[int, ...], rng: np.random.Generator) -> TensorMark:
    kind = "weight" if len(shape) > 1 else "bias"
    digest = rng.bytes(8).hex()
    rms, kurtosis = float(rng.uniform(0.5, 1.5)), float(rng.uniform(2, 5))
    return TensorMark(f"layer.{number // 2}.{kind}", shape, digest, 0.0, 1.0, rms, kurtosis)


def _unit(rng: np.random.Generator, rows: int, dimensions: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, dimensions), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _near(parent: np.ndarray, own: np.ndarray, cosine: float) -> np.ndarray:
    vectors = cosine * parent + np.sqrt(1 - cosine**2) * own
    made: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return made
