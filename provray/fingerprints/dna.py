"""Raw Model DNA: what a model does with its inputs, from its first layer to its last.

Our reading of Model DNA (Mu et al., ECAI 2024, arXiv 2308.02121), untrained part. A readout is what a model computes
for a probe at one place: the pooled hidden state at a relative depth, or the output probabilities. For a readout on
a stratum of N probes, F is N×d; what is compared is the centred Gram matrix K = HFF'H (H = I - 11'/N), which
needs no shared width, head or architecture: the cosine of two such matrices is linear CKA
(Kornblith et al., ICML 2019). K is never stored. With ±1 vectors r_k, s_k seeded by the probes' ids,

    z_k = (r_k'HF)·(s_k'HF) = r_k'K s_k,   k = 1..m,   E[z·z'] = m <K, K'>,

and (RF, SF, ΣF, ΣR, ΣS, N) adds over shards of probes: one product of the signs with the readouts side by side.
"""

from __future__ import annotations

import copy
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


@lru_cache(maxsize=64)
def depth_name(depth: float) -> str:
    """`0`, `1/6`, `1/3` ...: a relative depth as people write it."""
    return str(Fraction(depth).limit_denominator(64))


def readout_names(settings: DnaSettings) -> tuple[str, ...]:
    """Every readout a DNA fingerprint can hold, in order: `noise@1/6`, `mixed@probabilities` ..."""
    places = [*(depth_name(d) for d in settings.depths), PROBABILITIES]
    return tuple(f"{stratum}@{place}" for stratum in STRATA for place in places)


@dataclass
class _Stratum:
    """Additive state of one stratum, of all its readouts side by side.

    sums: [R; S; 1] times [F, 1], (2m+1)×(d+1): RF over SF over ΣF, and in the last column ΣR over ΣS over N.
    squares: Σf² of each column of F. widths: columns of each layer. places: each readout's layer; in a shallow model
    some share one.
    """

    sums: torch.Tensor
    squares: torch.Tensor
    widths: tuple[int, ...]
    places: dict[str, int]

    def require_widths(self, widths: tuple[int, ...]) -> None:
        """Raises ValueError for readouts of another shape than these."""
        if self.widths != widths:
            raise ValueError(f"cannot merge readouts of widths {self.widths} and {widths}")

    def merge(self, other: _Stratum) -> None:
        self.require_widths(other.widths)
        self.sums = self.sums + other.sums
        self.squares = self.squares + other.squares

    def finish(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """z of each readout, and its scales (see `DnaFingerprint`)."""
        sums, squares = self.sums.cpu().numpy(), self.squares.cpu().numpy()
        total, count = sums[-1, :-1], sums[-1, -1]
        # In place where it can be: a large model's readouts are wide.
        centred = np.outer(sums[:-1, -1], total / count)
        np.subtract(sums[:-1, :-1], centred, out=centred)
        m = len(centred) // 2
        products = np.multiply(centred[:m], centred[m:], out=centred[:m])
        starts = np.cumsum((0, *self.widths[:-1]))
        z = np.add.reduceat(products, starts, axis=1).T
        squares = np.add.reduceat(squares, starts)
        trace = np.maximum(squares - np.add.reduceat(total * total, starts) / count, 0)
        # Where the model does not react, what is left is rounding, which must not become a direction.
        dead = trace <= _ROUNDING * squares
        z[dead], trace[dead] = 0, 0
        scales = np.stack([np.linalg.norm(z, axis=1) / np.sqrt(m), trace], axis=1) / count
        layers = list(self.places.values())
        return z[layers], scales[layers]


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
    strata: dict[str, _Stratum] = field(default_factory=dict)

    def signs(self, ids: Sequence[str]) -> torch.Tensor:
        """Random signs of these probes, r over s. Shape (2m, n), float64."""
        return _signs(tuple(ids), self.settings.dimensions)[:-1]

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
        last = len(hidden) - 1
        chosen = {depth_name(d): int(d * last + 0.5) for d in self.settings.depths}
        layers = sorted(set(chosen.values()))
        places = {place: layers.index(layer) for place, layer in chosen.items()}
        features = [hidden[layer] for layer in layers]
        if probabilities is not None:
            places[PROBABILITIES] = len(features)
            features.append(probabilities)
        # Side by side in one product: a small model's readouts cost less than as many calls.
        wide = torch.cat([*features, features[0].new_ones(len(ids), 1)], dim=1).double()
        signs = _signs(tuple(ids), self.settings.dimensions).to(wide.device)
        squares = wide[:, :-1].square().sum(dim=0)
        widths = tuple(f.shape[1] for f in features)
        known = self.strata.get(stratum)
        if known is None:
            self.strata[stratum] = _Stratum(signs @ wide, squares, widths, places)
        else:
            known.require_widths(widths)
            known.sums.addmm_(signs, wide)
            known.squares += squares

    def merge(self, other: DnaState) -> None:
        """Add the state of other probes of the same model."""
        if self.settings != other.settings:
            raise ValueError("cannot merge DNA states of different settings")
        for stratum, theirs in other.strata.items():
            if stratum in self.strata:
                self.strata[stratum].merge(theirs)
            else:
                self.strata[stratum] = copy.deepcopy(theirs)

    def finish(self) -> DnaFingerprint:
        """The fingerprint of all probes added so far. Raises ValueError if there are none."""
        if not self.strata:
            raise ValueError("a DNA state without probes has no fingerprint")
        present = [stratum for stratum in STRATA if stratum in self.strata]
        done = [self.strata[stratum].finish() for stratum in present]
        return DnaFingerprint(
            tuple(
                f"{stratum}@{place}" for stratum in present for place in self.strata[stratum].places
            ),
            unit(np.concatenate([z for z, _ in done])).astype(np.float32),
            np.concatenate([scales for _, scales in done]),
        )


@lru_cache(maxsize=128)
def _signs(ids: tuple[str, ...], m: int) -> torch.Tensor:
    """[R; S; 1] of these probes, (2m+1, n), float64. A worker asks every model the same probes."""
    columns = [
        np.concatenate([signs(key_of("dna-r", i), m), signs(key_of("dna-s", i), m), [1]])
        for i in ids
    ]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float64))
