"""Whole models for a verdict: real sketches of a few small tensors, and one direction per readout of behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.scores import LOWER_HALF
from provray.fingerprints.sketch import unit
from provray.index.row import Row
from tests.ancestry.families import Tensors, base_model, fingerprinted, tuned
from tests.ancestry.rows import make_row

Vector = npt.NDArray[np.float64]
SPACES = ("weights-1", "dna-1", "gif-1")
READOUTS = (*LOWER_HALF, "noise@1", "natural@probabilities", "mixed@1", "mixed@probabilities")
_SCALES = (1.0, 2.0) * len(READOUTS)
ANSWERS = ("natural@probabilities", "mixed@probabilities")


def near(vector: Vector, cosine: float, rng: np.random.Generator) -> Vector:
    """A vector of the same length at this cosine from another, of any shape."""
    flat = vector.astype(np.float64).ravel()
    other = rng.standard_normal(flat.size)
    other -= (other @ flat) / (flat @ flat) * flat
    other *= np.linalg.norm(flat) / np.linalg.norm(other)
    made: Vector = (cosine * flat + np.sqrt(1 - cosine**2) * other).reshape(vector.shape)
    return made


@dataclass(frozen=True)
class Network:
    """A model: its tensors, a vector for each readout, and the probe set that it was asked."""

    name: str
    tensors: Tensors
    behaviour: Mapping[str, Vector]
    probes: str = "own probes"
    model_type: str = "mlp"

    def named(self, name: str, tensors: Tensors | None = None) -> Network:
        """Another model that behaves the same, with these tensors if any are given."""
        return replace(self, name=name, tensors=self.tensors if tensors is None else tensors)

    def behaving(self, cosine: float, seed: int, only: tuple[str, ...] = READOUTS) -> Network:
        """The same weights; behaviour at this cosine in these readouts, and unrelated in the others."""
        rng = np.random.default_rng([seed, 1])
        made = {r: near(v, cosine if r in only else 0.0, rng) for r, v in self.behaviour.items()}
        return replace(self, behaviour=made)

    def child(self, name: str, seed: int, by: float = 0.1, behaviour: float = 0.6) -> Network:
        """Every value a little changed."""
        return self.behaving(behaviour, seed).named(name, tuned(self.tensors, seed, by))

    def rows(self) -> list[Row]:
        """Its rows, one of each kind."""
        weights = fingerprinted(self.name, self.tensors).weights
        assert weights is not None
        field = np.concatenate([self.behaviour["mixed@1"], self.behaviour["mixed@1"]])
        facts: dict[str, Any] = {"probes": self.probes, "model_type": self.model_type}
        return [
            replace(weights, model_type=self.model_type, modality="image"),
            make_row(self.name, "dna", dict(self.behaviour), scales=_SCALES, **facts),
            make_row(self.name, "gif", {"mixed@feature_norm": field}, scales=(0.01,), **facts),
        ]

    def fingerprint(self) -> Fingerprint:
        """Its fingerprint of all three kinds."""
        return Fingerprint(self.name, "r1", *self.rows())


def stranger(name: str, seed: int, **changed: str) -> Network:
    """A model of its own start and its own behaviour."""
    rng = np.random.default_rng([seed, 2])
    behaviour = {readout: unit(rng.standard_normal(256)) for readout in READOUTS}
    return Network(name, base_model(seed), behaviour, **changed)


def same_start(network: Network, name: str, seed: int) -> Network:
    """A model that began with the same matrices and learned other biases: cosines .9 and .1."""
    rng = np.random.default_rng([seed, 3])
    made = {
        n: near(t, 0.9 if t.ndim > 1 else 0.1, rng).astype(np.float32)
        for n, t in network.tensors.items()
    }
    return network.behaving(0.0, seed).named(name, made)


def permuted(network: Network, name: str, seed: int) -> Network:
    """The same network with the neurons of its hidden layer in another order."""
    order = np.random.default_rng(seed).permutation(len(network.tensors["layer.0.bias"]))
    made = dict(network.tensors)
    made["layer.0.weight"] = made["layer.0.weight"][order]
    made["layer.0.bias"] = made["layer.0.bias"][order]
    made["layer.1.weight"] = np.ascontiguousarray(made["layer.1.weight"][:, order])
    return network.named(name, made)
