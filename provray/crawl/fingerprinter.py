"""From one model folder to rows of the index: checks, the weights sketch, and what `behaviour` measured.

Knows neither Ray nor torch: whoever only says what is to be done has no use for either.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import provray
from provray.crawl.settings import BEHAVIOUR, Compute, Stage
from provray.fingerprints.sample import chosen_blocks
from provray.fingerprints.settings import FingerprintSettings
from provray.fingerprints.sketch import BLOCK
from provray.fingerprints.space import Space, behaviour_space, weights_space
from provray.fingerprints.weights import READOUTS as WEIGHTS_READOUTS
from provray.fingerprints.weights import TensorSource, fingerprint_weights
from provray.index.row import Row
from provray.models.checkpoint import Checkpoint, Limits, iter_tensor, open_checkpoint
from provray.models.config import SUPPORTED, architecture, read_config
from provray.models.errors import ModelError
from provray.sources import ModelRef

if TYPE_CHECKING:
    from provray.crawl.behaviour import BehaviourPart


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
            checkpoint = self.open(ref)
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

    def open(self, ref: ModelRef) -> Checkpoint:
        """A model's checked checkpoint. Raises ModelError."""
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
