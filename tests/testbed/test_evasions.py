"""An evasion changes the weights and not the function."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel

from provray.testbed import evasions, vision
from provray.testbed.text import TextShape, new_text_model

Evasion = Callable[[PreTrainedModel, int], PreTrainedModel]
VISION = ("resnet", "vit", "convnext", "efficientnet", "mobilenet-v2")
BOUNDED = ("efficientnet", "mobilenet-v2")


def lively(model: PreTrainedModel) -> PreTrainedModel:
    """Give norms and their statistics values of their own: at their defaults, any order of them is the same."""
    draw = torch.Generator().manual_seed(3)
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=draw)
            tensor.copy_(0.5 + noise if "var" in name or "weight" in name else noise - 0.5)
    return model


def changed(first: PreTrainedModel, second: PreTrainedModel) -> int:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return sum(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("architecture", VISION)
@pytest.mark.parametrize("evade", [evasions.permute_neurons, evasions.rescale_neurons])
def test_images_get_the_same_logits(architecture: str, evade: Evasion) -> None:
    model = lively(vision.new_classifier(architecture, channels=1, size=16, classes=10, seed=1))
    if evade is evasions.rescale_neurons and architecture in BOUNDED:
        with pytest.raises(ValueError, match="cannot be rescaled"):
            evade(model, 3)
        return
    other = evade(model, 3)
    images = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(
            other(pixel_values=images).logits,
            model(pixel_values=images).logits,
            rtol=1e-3,
            atol=1e-4,
        )
    assert changed(model, other) >= 8


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("evade", [evasions.permute_neurons, evasions.rescale_neurons])
def test_texts_get_the_same_logits(family: str, evade: Evasion) -> None:
    model = lively(new_text_model(TextShape(family, 60, 16, 3, 2), "classify", classes=3, seed=0))
    ids = torch.randint(5, 60, (4, 9), generator=torch.Generator().manual_seed(1))
    other = evade(model, 3)
    with torch.no_grad():
        asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        torch.testing.assert_close(
            other(**asked).logits, model(**asked).logits, rtol=1e-3, atol=1e-4
        )
    assert changed(model, other) >= 6


def test_permuted_classes_are_all_in_other_places() -> None:
    model = vision.new_classifier("resnet", channels=1, size=16, classes=10, seed=1)
    other = evasions.permute_classes(model, 5)
    images = torch.rand(4, 1, 16, 16)
    with torch.no_grad():
        before = model(pixel_values=images).logits
        after = other(pixel_values=images).logits
    torch.testing.assert_close(before.sort(1).values, after.sort(1).values)
    assert not torch.isclose(before, after, rtol=1e-6).any()


def test_unknown_architectures_are_named() -> None:
    model = vision.new_classifier("swin", channels=1, size=32, classes=3, seed=1)
    with pytest.raises(ValueError, match="neurons of swin cannot be permuted"):
        evasions.permute_neurons(model, 0)
