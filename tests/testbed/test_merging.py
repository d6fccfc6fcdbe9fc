"""Merges on weights whose result can be worked out by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from transformers import PreTrainedModel

from provray.testbed import merging, vision

NAME = "classifier.1.bias"


def model_with(values: list[float]) -> PreTrainedModel:
    model = vision.new_classifier("resnet", channels=1, size=16, classes=len(values), seed=1)
    model.state_dict()[NAME].copy_(torch.tensor(values))
    return model


def merged_bias(model: PreTrainedModel) -> torch.Tensor:
    return model.state_dict()[NAME]


def test_slerp_walks_the_circle() -> None:
    first, second = model_with([1.0, 0.0]), model_with([0.0, 1.0])
    half = math.sqrt(0.5)
    torch.testing.assert_close(
        merged_bias(merging.slerp(first, second, 0.5)), torch.tensor([half, half])
    )
    torch.testing.assert_close(
        merged_bias(merging.slerp(first, second, 0.0)), torch.tensor([1.0, 0.0])
    )
    # one direction: the straight line
    torch.testing.assert_close(
        merged_bias(merging.slerp(model_with([1.0, 2.0]), model_with([2.0, 4.0]), 0.5)),
        torch.tensor([1.5, 3.0]),
    )


def test_ties_trims_elects_and_averages() -> None:
    base = model_with([0.0, 0.0, 0.0, 0.0])
    one = model_with([4.0, 3.0, 0.1, 0.0])
    two = model_with([2.0, -5.0, 0.0, 0.2])
    # the upper half of each change stays: (4, 3, 0, 0) and (2, -5, 0, 0); signs +, -
    merged = merging.ties(base, [one, two], density=0.5)
    torch.testing.assert_close(merged_bias(merged), torch.tensor([3.0, -5.0, 0.0, 0.0]))


def test_merging_a_model_with_itself_is_that_model() -> None:
    model = vision.new_classifier("vit", channels=1, size=16, classes=4, seed=2)
    for merged in (
        merging.average([model, copy.deepcopy(model)]),
        merging.slerp(model, copy.deepcopy(model), 0.3),
        merging.ties(model, [copy.deepcopy(model)], density=0.2),
    ):
        for ours, theirs in zip(merged.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_models_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same tensors"):
        merging.slerp(model_with([1.0, 0.0]), model_with([1.0, 0.0, 0.0]), 0.5)
