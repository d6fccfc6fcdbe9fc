"""From one model folder to rows of the index: checks, weights sketch, safe load, probes. Knows no Ray.

A model's weights give one row. Its behaviour is measured shard by shard; the states of shards add up
(`BehaviourPart.merge`), so one worker or several give the same fingerprint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import provray
from provray.crawl.settings import BEHAVIOUR, Compute, Stage
from provray.fingerprints.dna import DnaState
from provray.fingerprints.gif import GifState, gradient_fields
from provray.fingerprints.sample import chosen_blocks
from provray.fingerprints.settings import FingerprintSettings
from provray.fingerprints.sketch import BLOCK
from provray.fingerprints.space import Space, behaviour_space, weights_space
from provray.fingerprints.weights import READOUTS as WEIGHTS_READOUTS
from provray.fingerprints.weights import TensorSource, fingerprint_weights
from provray.index.row import Row
from provray.models.adapter import Inputs, ProbedModel
from provray.models.checkpoint import Checkpoint, Limits, iter_tensor, open_checkpoint
from provray.models.config import SUPPORTED, architecture, read_config
from provray.models.errors import ModelError
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


@dataclass(frozen=True)
class Fingerprinter:
    """Fingerprints models under fixed settings. `probes`: digest of the probe set of each modality."""

    settings: FingerprintSettings
    probes: dict[str, str]
    compute: Compute = field(default_factory=Compute)

    def weights(self, ref: ModelRef) -> Row:
        """The weights row: `ok` with sketch, digests and marks, or the status and reason of what is wrong."""
        started = time.perf_counter()
        base = self._row(ref, "weights", weights_space(self.settings).id)
        try:
            checkpoint = self._open(ref)
            made = fingerprint_weights(
                _tensor_sources(checkpoint, self.settings.weights.sample), self.settings.weights
            )
        except ModelError as error:
            return base(
                status=error.status, reason=error.reason, seconds=time.perf_counter() - started
            )
        return base(
            **self._config_facts(ref),
            parameters=checkpoint.parameters,
            bytes=checkpoint.nbytes,
            weights_digest=made.digest,
            readouts=WEIGHTS_READOUTS,
            vectors=made.vectors,
            tensors=made.marks,
            seconds=time.perf_counter() - started,
        )

    @property
    def limits(self) -> Limits:
        """Bounds of a checkpoint that is taken on."""
        return Limits(total_bytes=self.compute.max_bytes)

    def modality(self, ref: ModelRef) -> str:
        """What a model's config says it takes: `image`, `text`, or empty if it cannot be probed."""
        return self._config_facts(ref).get("modality", "")

    def load(self, ref: ModelRef) -> ProbedModel:
        """The model, ready to be probed. Raises ModelError."""
        return load_model(
            self._open(ref),
            device=self.compute.device,
            dtype=torch.float32,
        )

    def behaviour(
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

    def finish(self, part: BehaviourPart) -> list[Row]:
        """The rows of all the probes a model was asked: DNA, and GiF if any of them were of its stratum."""
        facts: dict[str, Any] = {
            "modality": part.modality,
            "model_type": part.model_type,
            "architecture": part.architecture,
            "parameters": part.parameters,
            "warnings": part.warnings,
            "device": self.compute.device,
            "dtype": self.compute.dtype,
            "probes": self.probes[part.modality],
        }
        rows = []
        if "dna" in part.stages:
            dna = part.dna.finish()
            row = self._row(part.ref, "dna", self.behaviour_id("dna", part.modality))
            rows.append(
                row(
                    **facts,
                    readouts=dna.readouts,
                    vectors=dna.vectors,
                    scales=tuple(dna.scales.ravel().tolist()),
                    seconds=part.dna_seconds,
                )
            )
        if part.gif.sketches:
            gif = part.gif.finish()
            row = self._row(part.ref, "gif", self.behaviour_id("gif", part.modality))
            rows.append(
                row(
                    **facts,
                    readouts=gif.readouts,
                    vectors=gif.vectors,
                    scales=tuple(gif.completeness.tolist()),
                    seconds=part.gif_seconds,
                )
            )
        return rows

    def failed(
        self,
        ref: ModelRef,
        status: str,
        reason: str,
        modality: str = "",
        seconds: float = 0.0,
        stages: Sequence[Stage] = BEHAVIOUR,
    ) -> Row:
        """The row of a model whose behaviour could not be measured, of the first of these stages."""
        kind = stages[0] if stages else BEHAVIOUR[0]
        row = self._row(ref, kind, self.behaviour_id(kind, modality))
        return row(status=status, reason=reason, modality=modality, seconds=seconds)

    def failed_weights(self, ref: ModelRef, status: str, reason: str) -> Row:
        """The row of a model whose weights could not even be read."""
        row: Row = self._row(ref, "weights", weights_space(self.settings).id)(
            status=status, reason=reason
        )
        return row

    def spaces(self, stages: Sequence[Stage]) -> list[Space]:
        """Every space that these stages make rows in."""
        found = [weights_space(self.settings)] if "weights" in stages else []
        found.extend(
            behaviour_space(kind, self.settings, modality, digest)
            for kind in BEHAVIOUR
            if kind in stages
            for modality, digest in self.probes.items()
        )
        return found

    def behaviour_id(self, kind: Any, modality: str) -> str:
        """Id of the space of this kind for a modality; of no space at all for an unknown modality."""
        if modality not in self.probes:
            return f"{kind}-none"
        return behaviour_space(kind, self.settings, modality, self.probes[modality]).id

    def _open(self, ref: ModelRef) -> Checkpoint:
        if ref.problem is not None:
            raise ref.problem
        return open_checkpoint(Path(ref.location), self.limits)

    def _config_facts(self, ref: ModelRef) -> dict[str, str]:
        """Type, class and modality by the config; none of them if it is not one that can be probed."""
        try:
            config = read_config(Path(ref.location))
        except ModelError:
            return {}
        return {
            "model_type": config["model_type"],
            "modality": SUPPORTED[config["model_type"]].modality,
            "architecture": architecture(config) or "",
        }

    def _autocast(self) -> Any:
        enabled = self.compute.dtype == "bfloat16"
        return torch.autocast(self.compute.device.split(":")[0], torch.bfloat16, enabled=enabled)

    def _row(self, ref: ModelRef, kind: str, space: str) -> Any:
        def make(**values: Any) -> Row:
            return Row(
                model=ref.model,
                revision=ref.revision,
                kind=kind,
                space=space,
                location=ref.location,
                declared=json.dumps(dict(ref.declared), sort_keys=True),
                provray=provray.__version__,
                **values,
            )

        return make


def _tensor_sources(checkpoint: Checkpoint, sample: int) -> Iterator[TensorSource]:
    for entry in checkpoint.tensors:
        blocks = iter_tensor(entry, BLOCK, chosen_blocks(entry.shape, sample))
        yield TensorSource(entry.name, entry.dtype, entry.shape, blocks)


def _before(number: int, shards: Sequence[Shard]) -> int:
    """How many probes of these shards are among the first `number` of their stratum."""
    return sum(min(max(number - shard.start, 0), len(shard.probes)) for shard in shards)


def _cut(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size`, and at least one, that cover `count` items."""
    size = max(size, 1)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
