"""Guessing how a child was made, from marks in its weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from provray.ancestry.relation import guess_relation
from provray.fingerprints.weights import TensorMark
from tests.ancestry.families import fingerprinted
from tests.ancestry.rows import make_model, marked

Tensors = dict[str, np.ndarray]


def _tensors(seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)
    shapes = {"layer.0.weight": (64, 96), "layer.1.weight": (96, 64), "classifier.weight": (10, 64)}
    return {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def _guess(child: Tensors, parent: Tensors) -> str:
    return guess_relation(fingerprinted("child", child), fingerprinted("parent", parent))


def _pruned(tensors: Tensors, share: float) -> Tensors:
    return {
        n: np.where(np.abs(t) < np.quantile(np.abs(t), share), 0, t).astype(np.float32)
        for n, t in tensors.items()
    }


def _rounded(tensors: Tensors, levels: int) -> Tensors:
    made = {}
    for name, tensor in tensors.items():
        scale = np.abs(tensor).max(axis=1, keepdims=True) / levels
        made[name] = (np.round(tensor / scale) * scale).astype(np.float32)
    return made


def _tuned(tensors: Tensors, by: float = 0.05) -> Tensors:
    rng = np.random.default_rng(9)
    return {
        n: (t + by * rng.standard_normal(t.shape)).astype(np.float32) for n, t in tensors.items()
    }


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_pruning_leaves_zeros(share: float) -> None:
    assert _guess(_pruned(_tensors(), share), _tensors()) == "pruned"


@pytest.mark.parametrize("levels", [127, 7, 1])
def test_rounding_leaves_few_values(levels: int) -> None:
    """To 8 and 4 bits, and to ternary. Coarse rounding makes zeros too, which nobody pruned."""
    child = _rounded(_tensors(), levels)
    assert _guess(child, _tensors()) == "quantised"


def test_a_head_of_another_shape_or_name_is_new() -> None:
    parent = _tensors()
    wider = {**_tuned(parent), "classifier.weight": np.ones((3, 64), np.float32)}
    removed = {n: t for n, t in parent.items() if not n.startswith("classifier")}
    assert _guess(wider, parent) == "new head"
    assert _guess(removed, parent) == "new head"
    assert _guess({**removed, "score.weight": parent["classifier.weight"]}, parent) == "new head"


def test_changed_values_alone_are_a_fine_tune() -> None:
    assert _guess(_tuned(_tensors()), _tensors()) == "fine-tune"
    # A child of a pruned or rounded parent did not prune or round.
    assert _guess(_tuned(_pruned(_tensors(), 0.5)), _pruned(_tensors(), 0.5)) == "fine-tune"
    assert _guess(_tuned(_rounded(_tensors(), 7)), _rounded(_tensors(), 7)) == "fine-tune"


@pytest.mark.parametrize("lossy", [None, 0.5, 7])
def test_the_same_bits_are_a_copy_and_the_same_values_a_rearrangement(lossy: float | None) -> None:
    parent = _tensors()
    if lossy is not None:
        parent = _pruned(parent, lossy) if lossy < 1 else _rounded(parent, int(lossy))
    assert _guess(parent, parent) == "copy"
    order = np.random.default_rng(3).permutation(64)
    permuted = {
        **parent,
        "layer.0.weight": parent["layer.0.weight"][order],
        "layer.1.weight": np.ascontiguousarray(parent["layer.1.weight"][:, order]),
    }
    assert _guess(permuted, parent) == "rearranged"


def test_another_head_on_the_same_body_is_a_new_head() -> None:
    """Of the same name and shape: only its values tell."""
    retrained = {**_tensors(), "classifier.weight": _tensors(5)["classifier.weight"]}
    assert _guess(retrained, _tensors()) == "new head"
    assert _guess({**_tuned(_tensors()), "classifier.weight": retrained["classifier.weight"]},
                  _tensors()) == "fine-tune"  # fmt: skip


def test_fewer_layers_of_the_same_values_were_dropped() -> None:
    fewer = {n: t for n, t in _tensors().items() if n != "layer.1.weight"}
    assert _guess(fewer, _tensors()) == "layers dropped"
    assert _guess(_tensors(), fewer) == "fine-tune"  # it has more, so it did not come by dropping


@pytest.mark.parametrize("kept_bits", [16, 13])
def test_half_precision_is_a_quantisation(kept_bits: int) -> None:
    """bfloat16 keeps the upper 16 bits, float16 has three more in the mantissa."""
    mask = np.uint32(0xFFFFFFFF << kept_bits & 0xFFFFFFFF)
    half = {n: (t.view(np.uint32) & mask).view(np.float32) for n, t in _tensors().items()}
    assert _guess(half, _tensors()) == "quantised"
    assert _guess(_tuned(half, 1e-4), half) == "fine-tune"


def test_nothing_shared_is_unknown() -> None:
    row = fingerprinted("parent", _tensors()).weights
    assert row is not None
    parent = marked("parent", row.tensors)
    renamed = [replace(m, name=f"tower.{m.name}") for m in row.tensors]
    reshaped = [replace(m, shape=(*m.shape, 1)) for m in row.tensors]
    vectors_only = [TensorMark("norm.weight", (64,), "0" * 16, 0.0, 1.0)]
    for marks in (renamed, reshaped, vectors_only, []):
        assert guess_relation(marked("child", marks), parent) == "unknown"
    assert guess_relation(make_model("child"), parent) == "unknown"
    assert guess_relation(parent, make_model("other")) == "unknown"
