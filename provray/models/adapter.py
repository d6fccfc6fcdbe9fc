"""What fingerprints see of a model: the same few questions for images and for text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from provray.models.errors import BrokenModel
from provray.probes.probe import Modality, Probe

IMAGE_GRID = 16
"""Side of the common grid on which attributions of images are compared."""

TEXT_WORDS = 32
"""Words of a text whose attributions are compared."""

MAX_CLASSES = 4096
"""Columns kept of an output distribution; larger vocabularies are folded to this many."""


@dataclass(frozen=True)
class Readouts:
    """What a model computes for a batch of B probes, on its device, as float32.

    hidden: L+1 tensors B×d (d may differ), embedding output first and last layer last, each pooled
    over positions. probabilities: B×k output distribution, or None without a head. top: B, index
    of the largest logit, as of `top_class`: no column of `probabilities` where one logit became two
    of them or many were folded.
    """

    hidden: list[torch.Tensor]
    probabilities: torch.Tensor | None
    top: torch.Tensor | None


class Inputs(Protocol):
    """A batch of probes as one model takes it, on its device; only that model looks inside."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Inputs:
        """Some of the probes, as if they had been prepared alone."""


class ProbedModel(Protocol):
    """A loaded model in evaluation mode that answers probes.

    positions: length P of the common attribution space (images: a 16×16 grid; texts: 32 words).
    head: whether there are probabilities and a top logit. warnings: what had to be assumed.
    """

    modality: Modality
    model_type: str
    architecture: str
    parameters: int
    head: bool
    warnings: tuple[str, ...]
    positions: int

    def prepare(self, probes: Sequence[Probe]) -> Inputs:
        """Turn probes of the model's modality into its input; raises BrokenModel if the model's
        files forbid it.
        """

    def activation_bytes(self, inputs: Inputs) -> int:
        """Bytes of intermediate results of one probe, measured on this batch: what decides how many
        fit in memory.
        """

    def readouts(self, inputs: Inputs) -> Readouts:
        """Pooled hidden states at every depth, and probabilities, without gradients."""

    def endpoints(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """(x0, x): both ends of the attribution path in the differentiable input space, each B×…"""

    def scalars(
        self, points: torch.Tensor, inputs: Inputs, top: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(feature norm, logit of class `top`) at points, in one forward pass, differentiable.

        points: (B·J)×…, row b·J+j belongs to probe b. top: (B,) classes, or None. Both results are
        (B·J,) float32; the second is None without a head or without `top`.
        """

    def top_class(self, inputs: Inputs) -> torch.Tensor | None:
        """(B,) index of the largest logit of each probe, or None without a head."""

    def attribute(self, g: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """(B·J)×P float32: attributions in the input space, rows as of `scalars`, moved to the common
        one; each row's sum is kept.
        """


def distribution(logits: torch.Tensor) -> torch.Tensor:
    """Class probabilities B×k, float32, of logits B×k.

    One logit (a regression or a yes/no score) gives (σ, 1−σ). More than `MAX_CLASSES` columns are
    folded by a count-sketch with signs and buckets that depend on the column index alone: inner
    products keep their expectation.
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        return torch.cat([torch.sigmoid(logits), torch.sigmoid(-logits)], dim=1)
    probabilities = torch.softmax(logits, dim=1)
    columns = probabilities.shape[1]
    if columns <= MAX_CLASSES:
        return probabilities
    bucket, sign = _column_hash(columns)
    folded = probabilities.new_zeros(probabilities.shape[0], MAX_CLASSES)
    folded.index_add_(1, bucket.to(logits.device), probabilities * sign.to(logits.device))
    return folded


def _column_hash(columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Bucket and sign of each column: the SplitMix64 finaliser of its index (Steele, Lea, Flood
    2014).
    """
    value = (torch.arange(columns, dtype=torch.int64) + 1) * _i64(0x9E3779B97F4A7C15)
    value = (value ^ _shift(value, 30)) * _i64(0xBF58476D1CE4E5B9)
    value = (value ^ _shift(value, 27)) * _i64(0x94D049BB133111EB)
    value = value ^ _shift(value, 31)
    bucket = value & (MAX_CLASSES - 1)
    sign = 1.0 - 2.0 * (_shift(value, 32) & 1).float()
    return bucket, sign


def _i64(unsigned: int) -> int:
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned


def _shift(value: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift (torch shifts signed integers arithmetically)."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def count_activations(module: torch.nn.Module, forward: Callable[[], object]) -> int:
    """Bytes of the outputs of all leaf modules during one call of `forward`."""
    total = 0

    def count(_: torch.nn.Module, __: object, output: object) -> None:
        nonlocal total
        if isinstance(output, torch.Tensor):
            total += output.numel() * output.element_size()

    leaves = [part for part in module.modules() if not part._modules]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return total


def path_steps(points: torch.Tensor, batch: int) -> int:
    """Points per probe J of a tensor with batch·J rows."""
    steps, rest = divmod(points.shape[0], batch)
    if rest or not steps:
        raise ValueError(f"{points.shape[0]} points do not divide into {batch} probes")
    return steps


def all_hidden(states: Sequence[torch.Tensor], last: torch.Tensor) -> list[torch.Tensor]:
    """Hidden states ending in what the model's body returns.

    Some bodies list the last layer before their final norm or final convolution: the former is
    replaced (same shape), the latter appended.
    """
    hidden = list(states)
    if hidden and hidden[-1].shape == last.shape:
        hidden[-1] = last
    else:
        hidden.append(last)
    return hidden


def require_finite(hidden: Sequence[torch.Tensor], probabilities: torch.Tensor | None) -> None:
    """Raise BrokenModel if a readout holds NaN or infinite values."""
    every = [*hidden] if probabilities is None else [*hidden, probabilities]
    # One number tells that all is well. Whose fault it is, or that only the sum is too large, costs a look at each.
    if math.isfinite(torch.cat(every, dim=1).sum()):
        return
    for depth, state in enumerate(hidden):
        if not torch.isfinite(state).all():
            raise BrokenModel(f"the model computes NaN or infinite values at hidden state {depth}")
    if probabilities is not None and not torch.isfinite(probabilities).all():
        raise BrokenModel("the model's output probabilities are NaN or infinite")
