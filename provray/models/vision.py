"""Image models as probed models: classifiers and backbones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch

from provray.models.adapter import (
    IMAGE_GRID,
    Inputs,
    Readouts,
    all_hidden,
    count_activations,
    distribution,
    path_steps,
    require_finite,
)
from provray.models.preprocess import PixelSettings
from provray.probes.probe import Modality, Probe


@dataclass(frozen=True)
class ImageInputs:
    """Normalised pixels B×C×H×W."""

    pixels: torch.Tensor

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    def __getitem__(self, rows: slice) -> ImageInputs:
        return ImageInputs(self.pixels[rows])


class VisionModel:
    """A transformers image model that answers probes (see `ProbedModel`).

    The input space is normalised pixels; the path starts at zeros, the model's mean image. Hidden
    states are averaged over positions (all tokens of a transformer, the plane of a CNN).
    """

    modality: Modality = "image"
    positions: int = IMAGE_GRID * IMAGE_GRID

    def __init__(
        self,
        model: Any,
        settings: PixelSettings,
        *,
        head: bool,
        model_type: str,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.model_type = model_type
        self.architecture = type(model).__name__
        self.parameters = sum(p.numel() for p in model.parameters())
        self.head = head
        self.warnings = warnings
        self._model = model
        self._settings = settings
        self._dtype = next(model.parameters()).dtype
        self._device = next(model.parameters()).device
        self._last: torch.Tensor | None = None
        # A classifier does not return its body's last state, so it is taken on the way.
        model.base_model.register_forward_hook(self._keep_last)

    def prepare(self, probes: Sequence[Probe]) -> ImageInputs:
        """Resize and normalise image probes of any sizes; raises ValueError for a text probe."""
        images = [probe.content for probe in probes]
        if not images or any(isinstance(image, str) for image in images):
            raise ValueError("an image model is probed with one or more image probes")
        return ImageInputs(self._settings.apply(cast(list[np.ndarray], images), str(self._device)))

    def activation_bytes(self, inputs: Inputs) -> int:
        """Bytes of intermediate results per probe of this batch."""
        return count_activations(self._model, lambda: self.readouts(inputs)) // len(inputs)

    @torch.no_grad()
    def readouts(self, inputs: Inputs) -> Readouts:
        """Pooled hidden states of every stage or layer, and class probabilities; raises BrokenModel
        on NaN.
        """
        output, last = self._forward(_pixels(inputs), states=True)
        hidden = [_pool(state).float() for state in all_hidden(output.hidden_states, last)]
        probabilities = distribution(output.logits) if self.head else None
        require_finite(hidden, probabilities)
        top = output.logits.float().argmax(dim=1) if self.head else None
        return Readouts(hidden, probabilities, top)

    def endpoints(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Zeros and the normalised pixels, each B×C×H×W."""
        pixels = _pixels(inputs)
        return torch.zeros_like(pixels), pixels

    def scalars(
        self, points: torch.Tensor, inputs: Inputs, top: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """L2 norm of the pooled last state, and the logit of each probe's class `top`."""
        steps = path_steps(points, len(inputs))
        output, last = self._forward(points, states=False)
        norm = torch.linalg.vector_norm(_pool(last).float(), dim=1)
        if not self.head or top is None:
            return norm, None
        chosen = top.repeat_interleave(steps).unsqueeze(1)
        return norm, output.logits.float().gather(1, chosen).squeeze(1)

    @torch.no_grad()
    def top_class(self, inputs: Inputs) -> torch.Tensor | None:
        """The class of the largest logit, or None without a head."""
        if not self.head:
            return None
        output, _ = self._forward(_pixels(inputs), states=False)
        return cast(torch.Tensor, output.logits).float().argmax(dim=1)

    def attribute(self, g: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """Sum over channels, then spread each pixel over a 16×16 grid by shared area."""
        plane = g.float().sum(dim=1)
        rows = _area(plane.shape[1]).to(plane)
        columns = _area(plane.shape[2]).to(plane)
        return (rows @ plane @ columns.T).flatten(1)

    def _forward(self, pixels: torch.Tensor, *, states: bool) -> tuple[Any, torch.Tensor]:
        try:
            output = self._model(pixels.to(self._dtype), output_hidden_states=states)
            assert self._last is not None
            return output, self._last
        finally:
            self._last = None

    def _keep_last(self, module: Any, args: Any, output: Any) -> None:
        self._last = output.last_hidden_state


def _pixels(inputs: Inputs) -> torch.Tensor:
    return cast(ImageInputs, inputs).pixels


def _pool(state: torch.Tensor) -> torch.Tensor:
    """Mean over positions of B×C×H×W or B×N×C."""
    return state.mean(dim=(2, 3)) if state.dim() == 4 else state.mean(dim=1)


@lru_cache(maxsize=64)
def _area(size: int) -> torch.Tensor:
    """16×size matrix: the share of pixel j's extent that falls into cell i; columns sum to 1."""
    edges = torch.arange(IMAGE_GRID + 1, dtype=torch.float64) * (size / IMAGE_GRID)
    pixel = torch.arange(size, dtype=torch.float64)
    upper = torch.minimum(edges[1:, None], pixel + 1)
    lower = torch.maximum(edges[:-1, None], pixel)
    return (upper - lower).clamp(min=0).float()
