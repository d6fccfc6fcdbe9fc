"""What a fingerprint depends on besides the model: frozen settings whose hash is part of the space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STRATA = ("natural", "mixed", "noise")
"""Parts of a probe set: real inputs, mixtures of real inputs, and noise."""


ADDED_LATER: Mapping[str, bool] = {"added later": True}
"""Metadata of a setting that spaces were named without: at its default, which changes no number, it is no part of
a space's name, so that indexes from before it keep theirs."""


def _power_of_two(name: str, value: int) -> None:
    if value < 2 or value & (value - 1):
        raise ValueError(f"{name} must be a power of two, got {value}")


@dataclass(frozen=True)
class WeightsSettings:
    """Weights sketch. `dimensions`: sketch length, a power of two. Tensors of fewer than `min_elements`
    values are left out; a tensor of n values is scaled by n ** `size_power` before it is added, so
    that large tensors count more than small ones but do not drown them. `min_bias_elements`, `bias_power`: the same for
    biases and gains, which are short: there every value counts alike, or chance in the shortest would show. `sample`:
    at most so many blocks of each tensor are read (`provray.fingerprints.sample`), 0 for all of them. Raises ValueError
    for a length that is no power of two and for a sample below 0."""

    dimensions: int = 1024
    min_elements: int = 64
    size_power: float = 0.125
    min_bias_elements: int = 8
    bias_power: float = 0.5
    sample: int = field(default=0, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        _power_of_two("weights dimensions", self.dimensions)
        if self.sample < 0:
            raise ValueError(
                f"sample must be a number of blocks, or 0 for all of them, got {self.sample}"
            )


@dataclass(frozen=True)
class DnaSettings:
    """Model DNA. `dimensions`: sketch length of one readout on one stratum. `depths`: relative depths of
    the hidden readouts, 0 = embedding output, 1 = last layer."""

    dimensions: int = 256
    depths: tuple[float, ...] = (0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)


@dataclass(frozen=True)
class GifSettings:
    """ModelGiF. `dimensions`: sketch length of one scalar's field, a power of two. `steps`: Gauss-Legendre nodes on the
    path from the baseline to the probe. `points`: cumulative points of the path that are kept, at most `steps`.
    `stratum`: the probes whose fields are taken; `probes`: how many of them, the first ones."""

    dimensions: int = 512
    steps: int = 8
    points: int = 4
    stratum: str = "mixed"
    probes: int = 48

    def __post_init__(self) -> None:
        _power_of_two("GiF dimensions", self.dimensions)
        if not 1 <= self.points <= self.steps or self.steps % self.points:
            raise ValueError(
                f"GiF points must divide steps: got {self.points} points of {self.steps} steps"
            )


@dataclass(frozen=True)
class FingerprintSettings:
    """Everything that decides what a fingerprint's numbers are, apart from the model and the probes."""

    weights: WeightsSettings = field(default_factory=WeightsSettings)
    dna: DnaSettings = field(default_factory=DnaSettings)
    gif: GifSettings = field(default_factory=GifSettings)
