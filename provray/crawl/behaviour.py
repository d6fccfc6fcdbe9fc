"""A model run on probes, shard by shard. Knows no Ray.

The states of shards add up (`BehaviourPart.merge`), so one worker or several give the same fingerprint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.settings import BEHAVIOUR, Stage
from provray.fingerprints.dna import DnaState
from provray.fingerprints.gif import GifState, gradient_fields
from provray.models.adapter import Inputs, ProbedModel
from provray.models.load import load_model
from provray.probes import Probe, Shard
from provray.sources import ModelRef

CHECKED_PROBES = 8
"""Probes of GiF, the first ones, whose completeness error is measured."""


@dataclass
class BehaviourPart:
    """What some of the probes said of one model: mergeable states and the facts that go with them.

    `stages`: which of DNA and GiF are measured.
    """

    ref: ModelRef
    stages: tuple[Stage, ...]
    modality: str
    model_type: str
    architecture: str
    parameters: int
    dna: DnaState
    gif: GifState
    warnings: tuple[str, ...]
    dna_seconds: float = 0.0
    gif_seconds: float = 0.0
    activation_bytes: int = 1

    def merge(self, other: BehaviourPart) -> None:
        """Add what other probes said of the same model."""
        if (self.ref.model, self.ref.revision) != (other.ref.model, other.ref.revision):
            raise ValueError(f"cannot merge probes of {other.ref.model} into {self.ref.model}")
        self.dna.merge(other.dna)
        self.gif.merge(other.gif)
        self.dna_seconds += other.dna_seconds
        self.gif_seconds += other.gif_seconds


class Prober:
    """Runs models under the settings of a fingerprinter, which makes rows of the parts."""

    def __init__(self, fingerprinter: Fingerprinter) -> None:
        self.settings, self.compute = fingerprinter.settings, fingerprinter.compute
        self._open = fingerprinter.open

    def load(self, ref: ModelRef) -> ProbedModel:
        """The model, ready to be probed. Raises ModelError."""
        return load_model(
            self._open(ref),
            device=self.compute.device,
            dtype=torch.float32,
        )

    def probe(
        self, ref: ModelRef, shards: Sequence[Shard], stages: Sequence[Stage] = BEHAVIOUR
    ) -> BehaviourPart:
        """Load the model and ask it these probes. Raises ModelError if it cannot be loaded or run."""
        model = self.load(ref)
        part = self.begin(model, ref, shards, stages)
        self.add(part, model, shards)
        return part

    def begin(
        self,
        model: ProbedModel,
        ref: ModelRef,
        shards: Sequence[Shard],
        stages: Sequence[Stage] = BEHAVIOUR,
    ) -> BehaviourPart:
        """An empty part for a loaded model; measures on one probe how much memory a batch takes."""
        return BehaviourPart(
            ref,
            tuple(stages),
            model.modality,
            model.model_type,
            model.architecture,
            model.parameters,
            DnaState(self.settings.dna),
            GifState(self.settings.gif),
            model.warnings,
            activation_bytes=model.activation_bytes(model.prepare(shards[0].probes[:1])),
        )

    def add(self, part: BehaviourPart, model: ProbedModel, shards: Sequence[Shard]) -> None:
        """Add these probes to a part. Batches are as large as memory allows, and each is prepared once for both stages:
        a small model's time is its calls."""
        for stratum in dict.fromkeys(shard.stratum for shard in shards):
            own = sorted((s for s in shards if s.stratum == stratum), key=lambda s: s.start)
            self._add_stratum(part, model, own)

    def _add_stratum(
        self, part: BehaviourPart, model: ProbedModel, shards: Sequence[Shard]
    ) -> None:
        """Add shards of one stratum, in order."""
        every = [probe for shard in shards for probe in shard.probes]
        asked = "gif" in part.stages and shards[0].stratum == self.settings.gif.stratum
        fields = _before(self.settings.gif.probes, shards) if asked else 0
        checked = _before(CHECKED_PROBES, shards)
        readouts = len(every) if "dna" in part.stages else 0
        budget = max(self.compute.batch_bytes // max(part.activation_bytes, 1), 1)
        for batch in _cut(max(readouts, fields), budget):
            started = time.perf_counter()
            probes = every[batch]
            inputs = model.prepare(probes)
            top = self._add_dna(part, model, probes, inputs) if readouts else None
            between = time.perf_counter()
            part.dna_seconds += between - started
            wanted = probes[: max(fields - batch.start, 0)]
            self._add_gif(part, model, wanted, inputs, budget, checked - batch.start, top)
            part.gif_seconds += time.perf_counter() - between

    def _add_dna(
        self, part: BehaviourPart, model: ProbedModel, probes: Sequence[Probe], inputs: Inputs
    ) -> torch.Tensor | None:
        """Readouts of a batch. Returns each probe's top class where they tell it."""
        with self._autocast():
            out = model.readouts(inputs)
        ids = [p.id for p in probes]
        part.dna.add(probes[0].stratum, ids, out.hidden, out.probabilities)
        # Rounded to bfloat16, two classes may be equal.
        return out.top if self.compute.dtype == "float32" else None

    def _add_gif(
        self,
        part: BehaviourPart,
        model: ProbedModel,
        wanted: Sequence[Probe],
        inputs: Inputs,
        budget: int,
        checked: int,
        top: torch.Tensor | None,
    ) -> None:
        """Fields of the first probes of a batch, always in float32: bfloat16 gradients turn a field by up to .03 in
        cosine. checked: for how many of them completeness is measured; top: the top class of each, where it is known.
        """
        gif = self.settings.gif
        # Kept for the backward pass, activations live twice as long as in a forward pass.
        rows = max(budget // 2, 1)
        for some in _cut(len(wanted), rows // gif.steps):
            fields = gradient_fields(
                model,
                inputs[some],
                gif,
                rows=rows,
                checked=max(min(checked, some.stop) - some.start, 0),
                top=None if top is None else top[some],
            )
            part.gif.add([p.id for p in wanted[some]], fields)

    def _autocast(self) -> Any:
        enabled = self.compute.dtype == "bfloat16"
        return torch.autocast(self.compute.device.split(":")[0], torch.bfloat16, enabled=enabled)


def _before(number: int, shards: Sequence[Shard]) -> int:
    """How many probes of these shards are among the first `number` of their stratum."""
    return sum(min(max(number - shard.start, 0), len(shard.probes)) for shard in shards)


def _cut(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size`, and at least one, that cover `count` items."""
    size = max(size, 1)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
