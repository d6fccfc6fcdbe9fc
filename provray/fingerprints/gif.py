"""ModelGiF: how a model's output moves with its inputs.

After ModelGiF (Song et al., ICCV 2023, arXiv 2309.11013). Along the straight path from a baseline x0 to a probe x, with
Gauss-Legendre nodes α_j and weights w_j, the field at the path's point t is

    g_t(x) = (x - x0) ⊙ Σ_{α_j <= t} w_j ∇F(x0 + α_j (x - x0)),

and at its end Σ g = F(x) - F(x0) (completeness; Sundararajan et al., ICML 2017), a free check that is reported.
F is the logit of the model's own top class, or head-free the norm of its pooled features. Per
probe and point the field is brought to a grid that all models of a modality share, scaled to unit norm and
count-sketched with a seed of the probe's id; sketches add over probes, so the cosine of two models' sketches
is the mean cosine of their fields over probes and points, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from provray.fingerprints.quadrature import gauss_legendre
from provray.fingerprints.seeds import key_of
from provray.fingerprints.settings import GifSettings
from provray.fingerprints.sketch import F64, count_sketch_sum, unit

TOP_LOGIT = "top_logit"
FEATURE_NORM = "feature_norm"
SCALARS = (FEATURE_NORM, TOP_LOGIT)


class Differentiable(Protocol):
    """What GiF needs of a model. `inputs` is the model's own prepared batch of B probes; a slice of it is a batch."""

    positions: int

    def endpoints(self, inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Baseline x0 and probe x in the input space, each (B, ...)."""
        ...

    def top_class(self, inputs: Any) -> torch.Tensor | None:
        """Each probe's own top class (B,), or None without a head."""
        ...

    def scalars(
        self, points: torch.Tensor, inputs: Any, top: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Feature norm and top logit at points (B*J, ...); rows b*J .. b*J+J-1 belong to probe b."""
        ...

    def attribute(self, g: torch.Tensor, inputs: Any) -> torch.Tensor:
        """Fields (B*J, ...), rows as of `scalars`, on the common positions, (B*J, positions); keeps each sum."""
        ...


@dataclass(frozen=True)
class Fields:
    """Fields of a batch: `by_scalar[name]` is float32 (B, points, positions); `completeness[name]` the relative
    errors |Σg - ΔF| / max(|ΔF|, 1e-3 |F(x)|) of the probes where they were measured."""

    by_scalar: dict[str, npt.NDArray[np.float32]]
    completeness: dict[str, npt.NDArray[np.float64]]


def gradient_fields(
    model: Differentiable,
    inputs: Any,
    settings: GifSettings,
    *,
    rows: int,
    checked: int = 0,
    top: torch.Tensor | None = None,
) -> Fields:
    """Fields of one prepared batch of B probes, with one forward pass for both scalars at each point.

    rows: points that go through the model together, which bounds memory; at least one per probe. checked: of how many
    probes, the first ones, F is also evaluated at both ends of the path for the completeness error. top: each probe's
    own top class (B,), where it is known; else the model is asked.
    """
    x0, x = model.endpoints(inputs)
    top = model.top_class(inputs) if top is None else top
    span = x - x0
    nodes, weights = gauss_legendre(settings.steps)
    # Row k holds what each node adds to the field at point k: its weight, if the path has come by it.
    reach = np.repeat(np.tri(settings.points), settings.steps // settings.points, axis=1) * weights
    shares = torch.tensor(reach, dtype=x.dtype, device=x.device)
    per_pass = max(rows // len(x), 1)
    cumulative: dict[str, torch.Tensor] = {}
    for start in range(0, settings.steps, per_pass):
        part = slice(start, start + per_pass)
        for name, gradients in _gradients(model, inputs, x0, span, top, nodes[part]).items():
            added = (shares[:, part] @ gradients.flatten(2)).view(len(x), -1, *x.shape[1:])
            cumulative[name] = cumulative[name] + added if name in cumulative else added
    fields = span.unsqueeze(1) * torch.cat(list(cumulative.values()), dim=1)
    placed = model.attribute(fields.flatten(0, 1), inputs).float().cpu().numpy()
    by_scalar = np.split(placed.reshape(*fields.shape[:2], -1), len(cumulative), axis=1)
    completeness = {}
    if checked:
        ends = fields[:checked, settings.points - 1 :: settings.points]
        reached = ends.flatten(2).double().sum(dim=2)
        errors = _errors(model, inputs[:checked], top, reached)
        completeness = dict(zip(cumulative, errors, strict=True))
    return Fields(dict(zip(cumulative, by_scalar, strict=True)), completeness)


def _gradients(
    model: Differentiable,
    inputs: Any,
    x0: torch.Tensor,
    span: torch.Tensor,
    top: torch.Tensor | None,
    nodes: npt.NDArray[np.float64],
) -> dict[str, torch.Tensor]:
    """Gradients of each scalar at these points of every probe's path, each (B, points, ...)."""
    alpha = torch.tensor(nodes, dtype=x0.dtype, device=x0.device)
    alpha = alpha.view(1, -1, *((1,) * (x0.dim() - 1)))
    path = (x0.unsqueeze(1) + alpha * span.unsqueeze(1)).flatten(0, 1).requires_grad_()
    values = zip(SCALARS, model.scalars(path, inputs, top), strict=True)
    present = [(name, value) for name, value in values if value is not None]
    shape = (x0.shape[0], len(nodes), *x0.shape[1:])
    gradients = {}
    for i, (name, value) in enumerate(present):
        (gradient,) = torch.autograd.grad(value.sum(), path, retain_graph=i + 1 < len(present))
        gradients[name] = gradient.view(shape)
    return gradients


def _errors(
    model: Differentiable, inputs: Any, top: torch.Tensor | None, reached: torch.Tensor
) -> list[npt.NDArray[np.float64]]:
    """Completeness errors of these probes for each scalar that the model has. reached: Σg, (B, scalars)."""
    ends = torch.stack(model.endpoints(inputs), dim=1).flatten(0, 1)
    with torch.no_grad():
        values = model.scalars(ends, inputs, None if top is None else top[: len(reached)])
    errors = []
    for value, sums in zip((v for v in values if v is not None), reached.T, strict=True):
        at_x0, at_x = value.double().view(-1, 2).T
        change = at_x - at_x0
        scale = torch.maximum(change.abs(), 1e-3 * at_x.abs()).clamp_min(1e-12)
        errors.append(((sums - change).abs() / scale).cpu().numpy())
    return errors


@dataclass(frozen=True)
class GifFingerprint:
    """`readouts`: `mixed@top_logit` ...; `vectors`: float32 (readouts, m), unit norm. `completeness`: median relative
    error per readout, NaN where it was not measured."""

    readouts: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    completeness: npt.NDArray[np.float64]


@dataclass
class GifState:
    """Mergeable GiF sketch: add shards in any order and on any machine, merge, then `finish`."""

    settings: GifSettings
    sketches: dict[str, F64] = field(default_factory=dict)
    errors: dict[str, list[float]] = field(default_factory=dict)

    def add(self, ids: Sequence[str], fields: Fields) -> None:
        """Add the fields of these probes."""
        m = self.settings.dimensions
        keys = [key_of("gif", probe) for probe in ids]
        for name, values in fields.by_scalar.items():
            directions = unit(values).reshape(len(values), -1)
            added = count_sketch_sum(directions, keys, m)
            self.sketches[name] = self.sketches[name] + added if name in self.sketches else added
        for name, errors in fields.completeness.items():
            self.errors.setdefault(name, []).extend(float(e) for e in errors)

    def merge(self, other: GifState) -> None:
        """Add the state of other probes of the same model."""
        if self.settings != other.settings:
            raise ValueError("cannot merge GiF states of different settings")
        for name, sketch in other.sketches.items():
            self.sketches[name] = self.sketches.get(name, np.zeros_like(sketch)) + sketch
        for name, errors in other.errors.items():
            self.errors.setdefault(name, []).extend(errors)

    def finish(self) -> GifFingerprint:
        """The fingerprint of all probes added so far. Raises ValueError if there are none."""
        names = [name for name in SCALARS if name in self.sketches]
        if not names:
            raise ValueError("a GiF state without probes has no fingerprint")
        return GifFingerprint(
            tuple(f"{self.settings.stratum}@{name}" for name in names),
            unit(np.stack([self.sketches[name] for name in names])).astype(np.float32),
            np.array([np.median(self.errors[n]) if self.errors.get(n) else np.nan for n in names]),
        )
