"""Fingerprints made by hand: a few numbers per model instead of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.sketch import unit
from provray.fingerprints.weights import TensorMark
from provray.index.row import Row

Vector = npt.NDArray[np.floating]
START = datetime(2026, 1, 1, tzinfo=UTC)
DEFAULT_SPACES = {"weights": "weights-1", "dna": "dna-1", "gif": "gif-1"}


def make_row(
    model: str,
    kind: str,
    vectors: Mapping[str, Vector] | None = None,
    *,
    revision: str = "r1",
    seconds: int = 0,
    **changed: Any,
) -> Row:
    """A row of one kind. vectors: by readout; brought to unit norm, as the index holds them."""
    vectors = vectors or {}
    values: dict[str, Any] = {
        "space": DEFAULT_SPACES[kind],
        "modality": "image",
        "readouts": tuple(vectors),
        "created": START + timedelta(seconds=seconds),
    }
    if vectors:
        values["vectors"] = unit(np.stack(list(vectors.values()))).astype(np.float32)
    return Row(model, revision, kind, **(values | changed))


def make_model(
    model: str,
    weights: Vector | None = None,
    dna: Mapping[str, Vector] | None = None,
    gif: Mapping[str, Vector] | None = None,
    **changed: Any,
) -> Fingerprint:
    """A fingerprint of the kinds that are given."""
    return Fingerprint(
        model,
        "r1",
        None if weights is None else make_row(model, "weights", {"weights": weights}, **changed),
        None if dna is None else make_row(model, "dna", dna, **changed),
        None if gif is None else make_row(model, "gif", gif, **changed),
    )


def marked(model: str, marks: Sequence[TensorMark]) -> Fingerprint:
    """A fingerprint of tensor marks alone."""
    row = make_row(model, "weights", {"weights": np.ones(4)}, tensors=tuple(marks))
    return Fingerprint(model, "r1", row)


def axis(number: int, size: int = 64) -> Vector:
    """The unit vector along one axis."""
    vector = np.zeros(size)
    vector[number] = 1.0
    return vector
