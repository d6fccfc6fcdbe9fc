"""Short vectors for the first look: which models are worth a full comparison.

One vector of at most 1,024 dimensions per kind. The behaviour vector puts the centred unit vectors of a few telling
readouts side by side, so that an inner product is the mean of their cosines; a readout that a model
lacks stays zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from provray.ancestry.cohort import Cohort, cohort_of
from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.sketch import unit

DNA_READOUTS = ("noise@1/6", "noise@1/2", "mixed@probabilities")
GIF_READOUTS = ("mixed@feature_norm",)
_PART = 256


def behaviour_vector(
    fingerprint: Fingerprint, cohorts: Mapping[str, Cohort]
) -> npt.NDArray[np.float32]:
    """Search vector of a model's behaviour, shape (1024,); zero if it has none."""
    parts = []
    for row, names in ((fingerprint.dna, DNA_READOUTS), (fingerprint.gif, GIF_READOUTS)):
        centred = cohort_of(row, cohorts).centre(row) if row is not None else {}
        for name in names:
            parts.append(_fold(centred[name]) if name in centred else np.zeros(_PART))
    return (np.concatenate(parts) / np.sqrt(len(parts))).astype(np.float32)


def weights_vector(fingerprint: Fingerprint, readout: str) -> npt.NDArray[np.float32] | None:
    """Search vector of a model's `weights` or `biases`: the sketch itself; None if there is none."""
    sketch = None if fingerprint.weights is None else fingerprint.weights.vector(readout)
    return sketch if sketch is not None and sketch.any() else None


def _fold(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A count-sketch of 2^k buckets folded to `_PART`: neighbouring halves added; unit norm again."""
    while vector.size > _PART:
        vector = vector[: vector.size // 2] + vector[vector.size // 2 :]
    return unit(np.pad(vector, (0, _PART - vector.size)))
