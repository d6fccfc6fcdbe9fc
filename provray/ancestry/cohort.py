"""The cohort: what all models of a modality share is not evidence, so its mean is taken away before comparing.

The cohort of an index is its own models, each family (models that share weights) counting once. An index with
too few families borrows the mean of the reference cohort that comes with provray, if its probes are the
default ones; otherwise scores stay uncentred and every answer says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_safetensors

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.lineup import line_up
from provray.fingerprints.sketch import unit
from provray.index.row import Row

MINIMUM = 16
"""Families below which an index cannot be its own cohort."""
SAMPLE = 1024
"""Models that are looked at, at most: a mean needs no more."""


@dataclass(frozen=True)
class Cohort:
    """Means of the unit vectors of unrelated models, by readout, in one space. `size`: how many families they rest on.
    `origin`: `index`, `reference` (shipped with provray) or `none` (no centring)."""

    space: str
    means: Mapping[str, npt.NDArray[np.float64]]
    size: int
    origin: str

    def centre(self, row: Row) -> dict[str, npt.NDArray[np.float64]]:
        """The row's vectors by readout, cohort mean removed, unit norm. Raises ValueError for another space's row."""
        if row.space != self.space:
            raise ValueError(
                f"row of {row.model} in space {row.space} cannot be centred by a cohort of {self.space}"
            )
        if not row.readouts:
            return {}
        means = self.means_of(row.readouts, row.vectors.shape[1])
        return dict(zip(row.readouts, unit(row.vectors - means), strict=True))

    def means_of(self, readouts: Sequence[str], dimensions: int) -> npt.NDArray[np.float64]:
        """The means of these readouts, zero where there is none. Shape (readouts, dimensions)."""
        nothing = np.zeros(dimensions)
        return np.stack([self.means.get(name, nothing) for name in readouts])


def cohort_of(row: Row, cohorts: Mapping[str, Cohort]) -> Cohort:
    """The cohort of a row's space; an empty one, which centres nothing, where there is none."""
    return cohorts.get(row.space, Cohort(row.space, {}, 0, "none"))


def mean_by_family(
    fingerprints: Sequence[Fingerprint], kind: str
) -> tuple[dict[str, npt.NDArray[np.float64]], int]:
    """Mean unit vector of each readout of `kind`, every family weighing the same; and the number of families."""
    fingerprints = [f for f in fingerprints if getattr(f, kind) is not None]
    numbers = line_up(fingerprints).families
    sums: dict[str, dict[int, list[npt.NDArray[np.float32]]]] = {}
    for fingerprint, number in zip(fingerprints, numbers, strict=True):
        row: Row = getattr(fingerprint, kind)
        for name, vector in zip(row.readouts, row.vectors, strict=True):
            sums.setdefault(name, {}).setdefault(number, []).append(vector)
    means = {
        name: np.mean([np.mean(members, axis=0) for members in by_family.values()], axis=0).astype(
            np.float64
        )
        for name, by_family in sums.items()
    }
    return means, len(set(numbers))


def sample(fingerprints: Sequence[Fingerprint]) -> list[Fingerprint]:
    """At most `SAMPLE` of the models, chosen by their revision's digits: the same ones every time."""
    return sorted(fingerprints, key=lambda f: (f.revision, f.model))[:SAMPLE]


def choose_cohort(fingerprints: Sequence[Fingerprint], kind: str, space: str) -> Cohort:
    """The cohort of an index for one behaviour space: its own models, the shipped reference, or none."""
    means, size = mean_by_family(
        [f for f in fingerprints if (row := getattr(f, kind)) is not None and row.space == space],
        kind,
    )
    if size >= MINIMUM:
        return Cohort(space, means, size, "index")
    shipped = reference_cohort(space)
    return shipped if shipped is not None else Cohort(space, {}, size, "none")


def reference_cohort(space: str) -> Cohort | None:
    """The cohort that comes with provray for this space, or None."""
    file = resources.files("provray.ancestry") / "data" / "cohort.safetensors"
    if not file.is_file():
        return None
    tensors = load_safetensors(file.read_bytes())
    prefix = f"{space}/"
    means = {
        name.removeprefix(prefix): tensor.astype(np.float64)
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    if not means:
        return None
    size = int(means.pop("size")[0])
    return Cohort(space, means, size, "reference")
