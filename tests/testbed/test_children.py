"""Each child maker keeps the property it promises and leaves the parent alone."""

import copy

import pytest
import torch
from transformers import PreTrainedModel

from provray.testbed import children, merging, text, vision
from provray.testbed.digits import digits


@pytest.fixture
def parent() -> PreTrainedModel:
    return vision.new_classifier("vit", channels=1, size=16, classes=10, seed=3)


def matrices(model: PreTrainedModel) -> list[torch.Tensor]:
    return [p.data for p in model.parameters() if p.ndim >= 2]


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_pruning_zeroes_the_fraction_in_every_tensor(parent: PreTrainedModel) -> None:
    before = copy.deepcopy(parent)
    child = children.prune(parent, 0.6)
    for weight, old in zip(matrices(child), matrices(parent), strict=True):
        zeros = weight == 0
        # the class token starts as zeros
        if (old != 0).all():
            assert abs(float(zeros.float().mean()) - 0.6) < 1 / weight.numel() + 1e-6
        assert torch.equal(weight[~zeros], old[~zeros])
    assert same(parent, before)


def test_global_pruning_zeroes_the_fraction_over_all(parent: PreTrainedModel) -> None:
    child = children.prune(parent, 0.5, "global")
    every = torch.cat([weight.flatten() for weight in matrices(child)])
    assert abs(float((every == 0).float().mean()) - 0.5) < 1e-3


def test_pruning_nothing_changes_nothing(parent: PreTrainedModel) -> None:
    assert same(children.prune(parent, 0.0), parent)


@pytest.mark.parametrize(("bits", "group"), [(8, None), (4, None), (4, 32)])
def test_rounding_leaves_a_lattice(parent: PreTrainedModel, bits: int, group: int | None) -> None:
    child = children.quantise(parent, bits, group)
    top = 2 ** (bits - 1) - 1
    for weight, old in zip(matrices(child), matrices(parent), strict=True):
        rows, old_rows = weight.reshape(len(weight), -1), old.reshape(len(old), -1)
        width = group or rows.shape[1]
        for part, source in zip(rows.split(width, 1), old_rows.split(width, 1), strict=True):
            step = source.abs().amax(1, keepdim=True) / top
            assert ((part - source).abs() <= step / 2 + 1e-6).all()
            assert all(len(row.unique()) <= 2 * top + 1 for row in part)


@pytest.mark.parametrize("bits", [1, 9])
def test_unsupported_bits_are_refused(parent: PreTrainedModel, bits: int) -> None:
    with pytest.raises(ValueError, match=f"{bits} bits"):
        children.quantise(parent, bits)


def test_bfloat16_rounds_every_weight(parent: PreTrainedModel) -> None:
    child = children.to_bfloat16(parent)
    assert all(weight.dtype == torch.bfloat16 for weight in matrices(child))
    assert all(weight.dtype == torch.float32 for weight in matrices(parent))


def test_noise_has_the_scale_asked_for(parent: PreTrainedModel) -> None:
    child = children.add_noise(parent, 0.1, seed=1)
    vectors = [{n: p for n, p in m.named_parameters() if p.ndim < 2} for m in (parent, child)]
    assert all(torch.equal(vectors[0][name], vectors[1][name]) for name in vectors[0])
    weight = max(matrices(parent), key=torch.Tensor.numel)
    change = max(matrices(child), key=torch.Tensor.numel) - weight
    assert float(change.std() / weight.std()) == pytest.approx(0.1, rel=0.05)
    assert same(child, children.add_noise(parent, 0.1, seed=1))


def test_merge_is_the_average(parent: PreTrainedModel) -> None:
    other = children.add_noise(parent, 0.2, seed=2)
    merged = merging.average([parent, other])
    for weight, a, b in zip(*map(matrices, (merged, parent, other)), strict=True):
        assert torch.allclose(weight, (a + b) / 2, atol=1e-6)
    assert same(merging.average([parent, other], [1.0, 0.0]), parent)


def test_merging_strangers_is_refused(parent: PreTrainedModel) -> None:
    other = vision.new_classifier("resnet", channels=1, size=16, classes=10, seed=3)
    with pytest.raises(ValueError, match="same tensors"):
        merging.average([parent, other])


@pytest.mark.parametrize("architecture", ["vit", "resnet", "convnext"])
def test_new_head_keeps_the_body(architecture: str) -> None:
    parent = vision.new_classifier(architecture, channels=1, size=16, classes=10, seed=3)
    child = children.with_new_head(parent, 2, seed=9)
    assert same(child.base_model, parent.base_model)
    assert child.config.num_labels == 2
    images, _ = digits("test")
    assert vision.probabilities(child, images[:5]).shape == (5, 2)


def test_training_a_frozen_body_moves_the_head_only() -> None:
    parent = vision.new_classifier("resnet", channels=1, size=16, classes=10, seed=3)
    child = children.with_new_head(parent, 10, seed=9)
    head = copy.deepcopy(vision.head(child))
    images, labels = digits("train")
    training = vision.Training(epochs=0.2, batch=20, rate=1e-3)
    vision.train(child, images, labels, training, seed=1, head_only=True)
    assert same(child.base_model, parent.base_model)
    assert not same(vision.head(child), head)


def test_text_classifier_keeps_its_encoder() -> None:
    shape = text.TextShape("bert", 100, 16, 2, 2)
    encoder = text.new_text_model(shape, "contrast", classes=2, seed=1)
    child = text.classifier_on(encoder, 5, seed=2)
    assert type(child).__name__ == "BertForSequenceClassification"
    assert same(child.base_model, encoder)
    again = text.classifier_on(child, 3, seed=2)
    assert same(again.base_model, encoder)
    assert again.config.num_labels == 3


def test_a_dropped_layer_is_gone_and_the_others_stay(parent: PreTrainedModel) -> None:
    child = children.drop_layer(parent, 1)
    assert child.config.num_hidden_layers == parent.config.num_hidden_layers - 1
    ours, theirs = child.state_dict(), parent.state_dict()
    for number, source in ((0, 0), (1, 2), (2, 3)):
        name = "vit.layers.{}.mlp.fc1.weight"
        assert torch.equal(ours[name.format(number)], theirs[name.format(source)])
    with pytest.raises(ValueError, match="layer 9 cannot be dropped"):
        children.drop_layer(parent, 9)


def test_a_stage_of_a_convnext_loses_a_layer() -> None:
    parent = vision.new_classifier("convnext", channels=1, size=16, classes=4, seed=3)
    child = children.drop_layer(parent, 1)
    assert list(child.config.depths) == [2, 1]
    assert len(child.state_dict()) < len(parent.state_dict())


def test_an_adapter_adds_a_low_rank_and_leaves_the_rest(parent: PreTrainedModel) -> None:
    child = copy.deepcopy(parent)
    images, labels = digits("train")
    with children.low_rank(child, 2, seed=1):
        vision.train(child, images[:80], labels[:80], vision.Training(2, 20, 5e-3), seed=0)
    assert set(child.state_dict()) == set(parent.state_dict())
    differences = {
        name: child.state_dict()[name] - tensor for name, tensor in parent.state_dict().items()
    }
    added = differences["vit.layers.0.mlp.fc1.weight"]
    assert float(added.abs().max()) > 0
    assert torch.linalg.matrix_rank(added, rtol=1e-4) <= 2
    assert float(differences["vit.layers.0.layernorm_before.weight"].abs().max()) == 0
    assert all(parameter.requires_grad for parameter in child.parameters())


def test_recovery_keeps_zeros(parent: PreTrainedModel) -> None:
    child = children.prune(parent, 0.6)
    zeros = {name: tensor == 0 for name, tensor in child.named_parameters() if "mlp" in name}
    before = {name: tensor.clone() for name, tensor in child.named_parameters()}
    images, labels = digits("train")
    with children.zeros_stay(child):
        vision.train(child, images[:80], labels[:80], vision.Training(2, 20, 5e-3), seed=0)
    after = dict(child.named_parameters())
    for name, mask in zeros.items():
        if name.endswith("weight"):
            assert bool((after[name][mask] == 0).all())
            assert not torch.equal(after[name], before[name])


def test_half_precision_is_written_as_such(parent: PreTrainedModel) -> None:
    child = children.to_float16(parent)
    assert {p.dtype for p in child.parameters()} == {torch.float16}
    assert {p.dtype for p in parent.parameters()} == {torch.float32}
