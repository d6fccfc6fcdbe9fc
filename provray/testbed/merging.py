"""Merging models of one shape: averages, spherical interpolation, TIES."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel


def average(
    models: Sequence[PreTrainedModel], shares: Sequence[float] | None = None
) -> PreTrainedModel:
    """Average the weights of models of one shape, equally or by `shares` (which must sum to 1).

    Raises ValueError if the models do not have the same tensors.
    """
    shares = [1 / len(models)] * len(models) if shares is None else list(shares)
    if len(shares) != len(models) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares {shares} for {len(models)} models must be as many and sum to 1")
    weights = torch.tensor(shares)
    return _combined(models, lambda parts: torch.tensordot(weights, parts, dims=1))


def slerp(first: PreTrainedModel, second: PreTrainedModel, share: float) -> PreTrainedModel:
    """Interpolate every tensor along the great circle from `first` (share 0) to `second` (share 1).

    Shoemake 1985; tensors of nearly one direction are interpolated on the straight line. Raises ValueError as
    `average`.
    """

    def along_the_circle(parts: Tensor) -> Tensor:
        one, two = parts
        cosine = torch.nn.functional.cosine_similarity(one.flatten(), two.flatten(), dim=0)
        angle = torch.arccos(cosine.clamp(-1, 1))
        if float(angle.sin()) < 1e-4:
            return torch.lerp(one, two, share)
        return (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * two) / angle.sin()

    return _combined([first, second], along_the_circle)


def ties(
    base: PreTrainedModel, models: Sequence[PreTrainedModel], density: float
) -> PreTrainedModel:
    """Merge what models changed of their common base: trim, elect signs, average (TIES, Yadav et al. 2023).

    Of each model's change to each tensor the largest `density` stays; at each place the sign with more mass wins and
    the changes of that sign are averaged. Raises ValueError as `average`.
    """

    def merged(parts: Tensor) -> Tensor:
        origin, changes = parts[0], parts[1:] - parts[0]
        flat = changes.flatten(1)
        keep = max(1, round(density * flat.shape[1]))
        limit = flat.abs().topk(keep, dim=1).values[:, -1:]
        trimmed = torch.where(flat.abs() >= limit, flat, torch.zeros_like(flat))
        elected = trimmed.sum(0).sign()
        agreeing = (trimmed.sign() == elected) & (trimmed != 0)
        count = agreeing.sum(0).clamp(min=1)
        return origin + ((trimmed * agreeing).sum(0) / count).reshape(origin.shape)

    return _combined([base, *models], merged)


def _combined(
    models: Sequence[PreTrainedModel], combine: Callable[[Tensor], Tensor]
) -> PreTrainedModel:
    """A model whose every floating-point tensor is made of the models' own, stacked; counters are the first's."""
    states = [model.state_dict() for model in models]
    for state in states[1:]:
        if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in states[0].items()}:
            raise ValueError("models to merge must have the same tensors of the same shapes")
    child = copy.deepcopy(models[0])
    merged = {
        name: combine(torch.stack([state[name] for state in states]))
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[0].items()
    }
    child.load_state_dict(merged)
    return child
