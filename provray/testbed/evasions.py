"""Changing every weight of a model and nothing of what it computes: what a careful copyist would do.

A `Coupling` says which axes of which tensors carry the same hidden neurons: the tensors that compute them and those
that read them. Neurons may then be reordered along all of these axes, and, where nothing but a positively
homogeneous function lies between, scaled up in the first and down in the second.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from provray.testbed.digits import generator
from provray.testbed.vision import head


@dataclass(frozen=True)
class Coupling:
    """One group of hidden neurons, as patterns of tensor names; `{}` stands for what their names share.

    writes: tensors whose axis 0 (or `write_axis`) is the neurons. reads: tensors whose axis `read_axis` is.
    carried: reordered with them and never scaled (normalisation statistics). block: attention heads move
    as wholes. scale: neurons may be scaled. permute: they may be reordered.
    """

    writes: tuple[str, ...]
    reads: tuple[str, ...]
    carried: tuple[str, ...] = ()
    write_axis: int = 0
    read_axis: int = 1
    heads: bool = False
    scale: bool = False
    permute: bool = True


def _norm(name: str) -> tuple[str, ...]:
    return tuple(f"{name}.{part}" for part in ("weight", "bias"))


def _statistics(name: str) -> tuple[str, ...]:
    return tuple(f"{name}.{part}" for part in ("running_mean", "running_var"))


_VIT = (
    Coupling(_norm("{}.mlp.fc1"), ("{}.mlp.fc2.weight",)),
    Coupling(
        (
            *_norm("{}.attention.q_proj"),
            *_norm("{}.attention.k_proj"),
            *_norm("{}.attention.v_proj"),
        ),
        ("{}.attention.o_proj.weight",),
        heads=True,
    ),
    # values pass through attention linearly
    Coupling(
        _norm("{}.attention.v_proj"), ("{}.attention.o_proj.weight",), scale=True, permute=False
    ),
    Coupling(_norm("{}.layernorm_after"), ("{}.mlp.fc1.weight",), scale=True, permute=False),
)
_BERT = (
    Coupling(_norm("{}.intermediate.dense"), ("{}.output.dense.weight",)),
    Coupling(
        (
            *_norm("{}.attention.self.query"),
            *_norm("{}.attention.self.key"),
            *_norm("{}.attention.self.value"),
        ),
        ("{}.attention.output.dense.weight",),
        heads=True,
    ),
    Coupling(
        _norm("{}.attention.self.value"),
        ("{}.attention.output.dense.weight",),
        scale=True,
        permute=False,
    ),
)
_GPT2 = (
    Coupling(("{}.mlp.c_fc.weight",), ("{}.mlp.c_proj.weight",), ("{}.mlp.c_fc.bias",), 1, 0),
    Coupling(_norm("{}.ln_2"), ("{}.mlp.c_fc.weight",), read_axis=0, scale=True, permute=False),
)
_CONVNEXT = (
    Coupling(_norm("{}.pwconv1"), ("{}.pwconv2.weight",)),
    Coupling(_norm("{}.layernorm"), ("{}.pwconv1.weight",), scale=True, permute=False),
)
# ReLU between the two: what is scaled before it is scaled behind it
_RESNET = (
    Coupling(
        _norm("{}.layer.0.normalization"),
        ("{}.layer.1.convolution.weight",),
        ("{}.layer.0.convolution.weight", *_statistics("{}.layer.0.normalization")),
        scale=True,
    ),
)
_MOBILENET = (
    Coupling(
        (
            "{}.expand_1x1.convolution.weight",
            *_norm("{}.expand_1x1.normalization"),
            "{}.conv_3x3.convolution.weight",
            *_norm("{}.conv_3x3.normalization"),
        ),
        ("{}.reduce_1x1.convolution.weight",),
        (*_statistics("{}.expand_1x1.normalization"), *_statistics("{}.conv_3x3.normalization")),
    ),
)
_EFFICIENTNET = (
    Coupling(
        (
            "{}.expansion.expand_conv.weight",
            *_norm("{}.expansion.expand_bn"),
            "{}.depthwise_conv.depthwise_conv.weight",
            *_norm("{}.depthwise_conv.depthwise_norm"),
            *_norm("{}.squeeze_excite.expand"),
        ),
        ("{}.projection.project_conv.weight", "{}.squeeze_excite.reduce.weight"),
        (
            *_statistics("{}.expansion.expand_bn"),
            *_statistics("{}.depthwise_conv.depthwise_norm"),
        ),
    ),
)
COUPLINGS: Mapping[str, tuple[Coupling, ...]] = {
    "vit": _VIT,
    "bert": _BERT,
    "gpt2": _GPT2,
    "convnext": _CONVNEXT,
    "resnet": _RESNET,
    "mobilenet_v2": _MOBILENET,
    "efficientnet": _EFFICIENTNET,
}
"""By `model_type`. ReLU6 in MobileNet and the swish of EfficientNet are not homogeneous: nothing is scaled there."""


def permute_neurons(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Reorder hidden neurons and attention heads at random. Raises ValueError for an unknown architecture."""
    return _changed(model, seed, scaling=False)


def rescale_neurons(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Scale hidden neurons by random factors between 1/4 and 4, undone behind them.

    Raises ValueError for an architecture in which nothing may be scaled.
    """
    return _changed(model, seed, scaling=True)


def permute_classes(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Reorder the classes of a classifier by at least one place."""
    child = copy.deepcopy(model)
    last = [module for module in head(child).modules() if isinstance(module, torch.nn.Linear)][-1]
    classes = len(last.weight)
    turn = 1 + int(torch.randint(classes - 1, (1,), generator=generator(seed, 17)))
    order = torch.arange(classes).roll(turn)
    with torch.no_grad():
        last.weight.copy_(last.weight[order])
        if last.bias is not None:
            last.bias.copy_(last.bias[order])
    return child


def _changed(model: PreTrainedModel, seed: int, *, scaling: bool) -> PreTrainedModel:
    kind = str(model.config.model_type)
    wanted = [c for c in COUPLINGS.get(kind, ()) if (c.scale if scaling else c.permute)]
    if not wanted:
        does = "rescaled" if scaling else "permuted"
        raise ValueError(f"neurons of {kind} cannot be {does}: known are {', '.join(COUPLINGS)}")
    child = copy.deepcopy(model)
    state = child.state_dict()
    draw = generator(seed, 18)
    with torch.no_grad():
        for coupling in wanted:
            for place in _places(coupling, state):
                if scaling:
                    _scale(coupling, place, state, draw)
                else:
                    _permute(coupling, place, state, draw, int(_heads(model)))
    return child


def _heads(model: PreTrainedModel) -> int:
    return int(getattr(model.config, "num_attention_heads", 1) or 1)


def _places(coupling: Coupling, state: Mapping[str, Tensor]) -> list[str]:
    """What `{}` stands for wherever the whole coupling is present."""
    first = coupling.writes[0].removeprefix("{}")
    found = [name.removesuffix(first) for name in state if re.search(re.escape(first) + "$", name)]
    every = (*coupling.writes, *coupling.reads)
    return [place for place in found if all(p.format(place) in state for p in every)]


def _permute(
    coupling: Coupling, place: str, state: Mapping[str, Tensor], draw: torch.Generator, heads: int
) -> None:
    count = state[coupling.writes[0].format(place)].shape[coupling.write_axis]
    if coupling.heads:
        blocks = torch.arange(count).reshape(heads, -1)
        order = blocks[torch.randperm(heads, generator=draw)].flatten()
    else:
        order = torch.randperm(count, generator=draw)
    for pattern in coupling.writes:
        _reorder(state[pattern.format(place)], order, coupling.write_axis)
    for pattern in coupling.carried:
        if pattern.format(place) in state:
            _reorder(state[pattern.format(place)], order, 0)
    for pattern in coupling.reads:
        _reorder(state[pattern.format(place)], order, coupling.read_axis)


def _reorder(tensor: Tensor, order: Tensor, axis: int) -> None:
    tensor.copy_(tensor.index_select(axis, order))


def _scale(
    coupling: Coupling, place: str, state: Mapping[str, Tensor], draw: torch.Generator
) -> None:
    count = state[coupling.writes[0].format(place)].shape[coupling.write_axis]
    factors = 4.0 ** (2 * torch.rand(count, generator=draw) - 1)
    for pattern in coupling.writes:
        _times(state[pattern.format(place)], factors, coupling.write_axis)
    for pattern in coupling.reads:
        _times(state[pattern.format(place)], 1 / factors, coupling.read_axis)


def _times(tensor: Tensor, factors: Tensor, axis: int) -> None:
    shape = [1] * tensor.ndim
    shape[axis] = len(factors)
    tensor.mul_(factors.view(shape).to(tensor.dtype))
