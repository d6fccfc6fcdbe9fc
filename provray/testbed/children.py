"""What people do to a model they have: every function here makes a child out of a parent.

All of them return a new model and leave the parent as it is. Weights are float32 unless said otherwise,
rounded ones too: a quantised child holds the values its lattice allows, written as float32, which is how
such models are re-uploaded.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from provray.testbed.digits import generator


def _matrices(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Weights of two or more dimensions: linear layers, convolutions, embeddings; each tied one once."""
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            yield name, parameter.data


def _threshold(values: Tensor, fraction: float) -> float:
    """The magnitude that `fraction` of the values stay at or below."""
    count = int(fraction * values.numel())
    if count == 0:
        return -1.0
    return float(values.kthvalue(count).values)


def prune(
    model: PreTrainedModel, fraction: float, scope: Literal["tensor", "global"] = "tensor"
) -> PreTrainedModel:
    """Set the smallest `fraction` of the weights to zero, in each tensor or over all of them at once.

    Biases and normalisation weights are left alone. Raises ValueError unless 0 ≤ fraction < 1.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"a fraction of {fraction} cannot be pruned; give one in [0, 1)")
    child = copy.deepcopy(model)
    limit = -1.0
    if scope == "global":
        magnitudes = torch.cat([weight.abs().flatten() for _, weight in _matrices(child)])
        limit = _threshold(magnitudes, fraction)
    for _, weight in _matrices(child):
        if scope == "tensor":
            limit = _threshold(weight.abs().flatten(), fraction)
        weight[weight.abs() <= limit] = 0.0
    return child


def quantise(model: PreTrainedModel, bits: int, group: int | None = None) -> PreTrainedModel:
    """Round every weight to a symmetric lattice of 2^bits − 1 values.

    One scale per row (output channel), or per `group` consecutive values of a row as int4 formats do.
    Raises ValueError unless 2 ≤ bits ≤ 8.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"rounding to {bits} bits is not supported; give 2 to 8")
    top = 2 ** (bits - 1) - 1
    child = copy.deepcopy(model)
    for _, weight in _matrices(child):
        rows = weight.reshape(weight.shape[0], -1)
        for part in [rows] if group is None else rows.split(group, dim=1):
            scale = part.abs().amax(dim=1, keepdim=True) / top
            scale[scale == 0] = 1.0
            part.copy_((part / scale).round().clamp(-top, top) * scale)
        weight.copy_(rows.reshape(weight.shape))
    return child


def to_bfloat16(model: PreTrainedModel) -> PreTrainedModel:
    """Cast all weights to bfloat16; the folder then holds BF16 tensors."""
    return copy.deepcopy(model).bfloat16()


def add_noise(model: PreTrainedModel, scale: float, seed: int) -> PreTrainedModel:
    """Add Gaussian noise of `scale` times each weight tensor's own standard deviation."""
    child = copy.deepcopy(model)
    draw = generator(seed, 7)
    for _, weight in _matrices(child):
        weight += scale * weight.std() * torch.randn(weight.shape, generator=draw)
    return child


def merge(
    models: Sequence[PreTrainedModel], shares: Sequence[float] | None = None
) -> PreTrainedModel:
    """Average the weights of models of one shape, equally or by `shares` (which must sum to 1).

    Tensors that are not floating point (counters) come from the first. Raises ValueError if the models
    do not have the same tensors.
    """
    shares = [1 / len(models)] * len(models) if shares is None else list(shares)
    if len(shares) != len(models) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares {shares} for {len(models)} models must be as many and sum to 1")
    states = [model.state_dict() for model in models]
    for state in states[1:]:
        if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in states[0].items()}:
            raise ValueError("models to merge must have the same tensors of the same shapes")
    child = copy.deepcopy(models[0])
    merged = dict(states[0])
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            parts = [share * state[name] for share, state in zip(shares, states, strict=True)]
            merged[name] = torch.stack(parts).sum(0)
    child.load_state_dict(merged)
    return child


def with_new_head(model: PreTrainedModel, classes: int, seed: int) -> PreTrainedModel:
    """Return the same body under a new, randomly drawn head of `classes` outputs."""
    config = copy.deepcopy(model.config)
    config.num_labels = classes
    torch.manual_seed(seed)
    child = type(model)(config)
    prefix = child.base_model_prefix
    getattr(child, prefix).load_state_dict(getattr(model, prefix).state_dict())
    return child.eval()
