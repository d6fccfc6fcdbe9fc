"""What people do to a model they have: every function here makes a child out of a parent.

All of them return a new model and leave the parent as it is. Weights are float32 unless said otherwise,
rounded ones too: a quantised child holds the values its lattice allows, written as float32, which is how
such models are re-uploaded.
"""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from provray.testbed.digits import generator
from provray.testbed.vision import head


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


def to_float16(model: PreTrainedModel) -> PreTrainedModel:
    """Cast all weights to float16; the folder then holds F16 tensors."""
    return copy.deepcopy(model).half()


def add_noise(model: PreTrainedModel, scale: float, seed: int) -> PreTrainedModel:
    """Add Gaussian noise of `scale` times each weight tensor's own standard deviation."""
    child = copy.deepcopy(model)
    draw = generator(seed, 7)
    for _, weight in _matrices(child):
        weight += scale * weight.std() * torch.randn(weight.shape, generator=draw)
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


def drop_layer(model: PreTrainedModel, layer: int) -> PreTrainedModel:
    """Return the model without one of its repeated layers; of a network of stages, one of the last stage.

    Raises ValueError if there is no such layer, or no other one left.
    """
    config = copy.deepcopy(model.config)
    names = list(model.state_dict())
    pattern = r"^(.*?\.(?:layers|layer|h)\.)\d+\."
    prefix = next(found[1] for name in reversed(names) if (found := re.match(pattern, name)))
    numbers = {int(name[len(prefix) :].split(".")[0]) for name in names if name.startswith(prefix)}
    if layer not in numbers or len(numbers) == 1:
        raise ValueError(f"layer {layer} cannot be dropped: the model has layers {sorted(numbers)}")
    if hasattr(config, "depths"):
        config.depths = [*config.depths[:-1], config.depths[-1] - 1]
    else:
        config.num_hidden_layers = config.num_hidden_layers - 1
    state = {}
    for name, tensor in model.state_dict().items():
        if name.startswith(prefix):
            number, rest = name[len(prefix) :].split(".", 1)
            if int(number) == layer:
                continue
            name = f"{prefix}{int(number) - (int(number) > layer)}.{rest}"
        state[name] = tensor
    child = type(model)(config)
    child.load_state_dict(state)
    return child.eval()


class _LowRank(torch.nn.Module):
    """W + BA, B zero at first: low-rank adaptation (Hu et al., 2021)."""

    def __init__(self, weight: Tensor, rank: int, draw: torch.Generator) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        self.a = torch.nn.Parameter(torch.randn(rank, columns, generator=draw) / columns**0.5)
        self.b = torch.nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.b @ self.a).reshape(weight.shape)


class _Masked(torch.nn.Module):
    """W where it was not zero."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", (weight != 0).float())

    def forward(self, weight: Tensor) -> Tensor:
        mask: Tensor = self.get_buffer("mask")
        return weight * mask


@contextmanager
def unchanged(model: PreTrainedModel) -> Iterator[None]:
    """Train the weights as they are."""
    yield


@contextmanager
def low_rank(model: PreTrainedModel, rank: int, seed: int) -> Iterator[None]:
    """Inside, only low-rank additions to the weight matrices and the head can be trained; then they are merged.

    Matrices thinner than twice the rank, embeddings and everything of one dimension stay as they are.
    """
    draw = generator(seed, 16)
    own = head(model)
    inside = set(own.modules())
    chosen = [
        (module, weight)
        for module, weight in _weighted(model)
        if module not in inside and min(len(weight), weight[0].numel()) >= 2 * rank
    ]
    tuned = {id(parameter) for parameter in own.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in tuned)
    for module, weight in chosen:
        parametrize.register_parametrization(module, "weight", _LowRank(weight, rank, draw))
    yield
    for module, _ in chosen:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)


@contextmanager
def zeros_stay(model: PreTrainedModel) -> Iterator[None]:
    """Inside, weights that are zero stay zero: a pruned model recovers without growing back."""
    chosen = _weighted(model)
    for module, weight in chosen:
        parametrize.register_parametrization(module, "weight", _Masked(weight))
    yield
    for module, _ in chosen:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def _weighted(model: PreTrainedModel) -> list[tuple[torch.nn.Module, Tensor]]:
    """Modules with a weight of two or more dimensions, embeddings left out, and these weights."""
    return [
        (module, weight)
        for module in model.modules()
        if not isinstance(module, torch.nn.Embedding)
        and isinstance(weight := getattr(module, "weight", None), torch.nn.Parameter)
        and weight.ndim >= 2
    ]
