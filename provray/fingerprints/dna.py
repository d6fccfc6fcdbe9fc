"""Raw Model DNA: what a model does with its inputs, from its first layer to its last.

Our reading of Model DNA (Mu et al., ECAI 2024, arXiv 2308.02121), untrained part. A readout is what a model computes
for a probe at one place: the pooled hidden state at a relative depth, or the output probabilities. For a readout on
a stratum of N probes, F is N×d; what is compared is the centred Gram matrix K = HFF'H (H = I - 11'/N), which
needs no shared width, head or architecture: the cosine of two such matrices is linear CKA
(Kornblith et al., ICML 2019). K is never stored. With ±1 vectors r_k, s_k seeded by the probes' ids,

    z_k = (r_k'HF)·(s_k'HF) = r_k'K s_k,   k = 1..m,   E[z·z'] = m <K, K'>,

and (RF, SF, ΣF, ΣR, ΣS, N) adds over shards of probes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from provray.fingerprints.seeds import key_of, signs
from provray.fingerprints.settings import STRATA, DnaSettings
from provray.fingerprints.sketch import unit

PROBABILITIES = "probabilities"
_ROUNDING = 1e-12
"""Share of a readout's squares below which its spread over probes is float32 rounding (eps² is 1.4e-14)."""


def depth_name(depth: float) -> str:
    """`0`, `1/6`, `1/3` ...: a relative depth as people write it."""
    return str(Fraction(depth).limit_denominator(64))


def readout_names(settings: DnaSettings) -> tuple[str, ...]:
    """Every readout a DNA fingerprint can hold, in order: `noise@1/6`, `mixed@probabilities` ..."""
    places = [*(depth_name(d) for d in settings.depths), PROBABILITIES]
    return tuple(f"{stratum}@{place}" for stratum in STRATA for place in places)


@dataclass
class _Projection:
    """Additive state of one readout on one stratum: RF over SF (2m×d), ΣF (d), Σ|f|²."""

    projected: torch.Tensor
    total: torch.Tensor
    squares: float

    def merge(self, other: _Projection) -> None:
        if self.projected.shape != other.projected.shape:
            raise ValueError(
                f"cannot merge readouts of widths {self.projected.shape[1]} and {other.projected.shape[1]}"
            )
        self.projected = self.projected + other.projected
        self.total = self.total + other.total
        self.squares += other.squares


@dataclass
class _Signs:
    """Additive state of one stratum: ΣR over ΣS (2m), N."""

    total: torch.Tensor
    count: int


@dataclass(frozen=True)
class DnaFingerprint:
    """`readouts`: names of the readouts present. `vectors`: float32 (readouts, m), unit norm (zero where the model
    does not react). `scales`: float64 (readouts, 2): the estimated Frobenius norm of K and its trace,
    both over N; trace² / norm² is the effective rank of the readout."""

    readouts: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    scales: npt.NDArray[np.float64]


@dataclass
class DnaState:
    """Mergeable DNA sketch: add shards in any order and on any machine, merge, then `finish`."""

    settings: DnaSettings
    projections: dict[str, _Projection] = field(default_factory=dict)
    strata: dict[str, _Signs] = field(default_factory=dict)

    def signs(self, ids: Sequence[str]) -> torch.Tensor:
        """Random signs of these probes, r over s. Shape (2m, n), float64."""
        return _signs(tuple(ids), self.settings.dimensions)[0]

    def add(
        self,
        stratum: str,
        ids: Sequence[str],
        hidden: Sequence[torch.Tensor],
        probabilities: torch.Tensor | None,
    ) -> None:
        """Add probes of one stratum.

        hidden: pooled states from embedding output to last layer, each (n, d). probabilities: (n, k) or None.
        """
        random_signs, total = _signs(tuple(ids), self.settings.dimensions)
        last = len(hidden) - 1
        places = {depth_name(d): int(d * last + 0.5) for d in self.settings.depths}
        device = hidden[0].device
        random_signs = random_signs.to(device)
        layers = sorted(set(places.values()))
        features = [hidden[layer] for layer in layers]
        if probabilities is not None:
            features.append(probabilities)
        done = _project(random_signs, features)
        for place, layer in places.items():
            self._add(f"{stratum}@{place}", done[layers.index(layer)])
        if probabilities is not None:
            self._add(f"{stratum}@{PROBABILITIES}", done[-1])
        known = self.strata.get(stratum)
        self.strata[stratum] = _Signs(
            total if known is None else known.total + total,
            len(ids) + (known.count if known else 0),
        )

    def _add(self, name: str, projection: _Projection) -> None:
        known = self.projections.get(name)
        if known is None:
            # Places of a shallow model share a layer; each readout needs a state of its own.
            self.projections[name] = _Projection(
                projection.projected, projection.total, projection.squares
            )
        else:
            known.merge(projection)

    def merge(self, other: DnaState) -> None:
        """Add the state of other probes of the same model."""
        if self.settings != other.settings:
            raise ValueError("cannot merge DNA states of different settings")
        for name, projection in other.projections.items():
            self._add(name, projection)
        for stratum, theirs in other.strata.items():
            ours = self.strata.get(stratum)
            self.strata[stratum] = (
                theirs
                if ours is None
                else _Signs(ours.total + theirs.total, ours.count + theirs.count)
            )

    def finish(self) -> DnaFingerprint:
        """The fingerprint of all probes added so far. Raises ValueError if there are none."""
        names = tuple(n for n in readout_names(self.settings) if n in self.projections)
        if not names:
            raise ValueError("a DNA state without probes has no fingerprint")
        m = self.settings.dimensions
        vectors, scales = [], []
        for name in names:
            state, stratum = self.projections[name], self.strata[name.split("@")[0]]
            total = state.total.cpu()
            centred = state.projected.cpu() - torch.outer(stratum.total, total) / stratum.count
            z = (centred[:m] * centred[m:]).sum(dim=1).numpy()
            trace = max(state.squares - float(total @ total) / stratum.count, 0.0)
            if trace <= _ROUNDING * state.squares:
                # The model does not react: what is left is rounding, which must not become a direction.
                z, trace = np.zeros(m), 0.0
            vectors.append(z)
            scales.append(
                (float(np.linalg.norm(z)) / np.sqrt(m) / stratum.count, trace / stratum.count)
            )
        return DnaFingerprint(names, unit(np.stack(vectors)).astype(np.float32), np.array(scales))


@lru_cache(maxsize=512)
def _signs(ids: tuple[str, ...], m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Signs of these probes (2m, n) and their sums (2m,). A worker asks every model the same probes."""
    columns = [
        np.concatenate([signs(key_of("dna-r", i), m), signs(key_of("dna-s", i), m)]) for i in ids
    ]
    matrix = torch.from_numpy(np.stack(columns, axis=1).astype(np.float64))
    return matrix, matrix.sum(dim=1)


def _project(random_signs: torch.Tensor, features: Sequence[torch.Tensor]) -> list[_Projection]:
    """The state of each readout, side by side in one product: a small model's readouts cost less than as many calls."""
    widths = [f.shape[1] for f in features]
    wide = torch.cat([f.double() for f in features], dim=1)
    parts = (random_signs @ wide).split(widths, dim=1)
    totals = wide.sum(dim=0).split(widths)
    squares = [float(part.sum()) for part in (wide * wide).sum(dim=0).cpu().split(widths)]
    return [_Projection(*state) for state in zip(parts, totals, squares, strict=True)]
