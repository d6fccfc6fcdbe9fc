"""Every allow-listed model type, with every head, as a tiny random model: readouts, gradients,
completeness.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from provray.models.adapter import Inputs, ProbedModel
from provray.models.checkpoint import open_checkpoint
from provray.models.config import SUPPORTED
from provray.models.load import load_model
from provray.probes.probe import Probe, make_probe
from tests.models import tiny

CASES = [
    (family.model_type, name)
    for family in SUPPORTED.values()
    for name in (family.base, *family.heads, *([family.causal] if family.causal else []))
]

# Types whose scalars bend along the path: the max-pooling of a ResNet, deep and very narrow CNNs.
ROUGH = {"resnet", "mobilenet_v1", "mobilenet_v2"}
# More parts of the path where norms of small vectors bend sharply.
PARTS = {"resnet": 24, "gemma": 24, "llama": 40, "mistral": 40, "qwen3": 40}


def image_probes() -> list[Probe]:
    generator = np.random.default_rng(5)
    return [
        make_probe("noise", generator.integers(0, 256, (side, side, 3), dtype=np.uint8))
        for side in (32, 48, 20)
    ]


def text_probes() -> list[Probe]:
    texts = ["the film was very good", "bad", "a plain hello story about fab"]
    return [make_probe("natural", text) for text in texts]


def probes_for(model: ProbedModel) -> list[Probe]:
    return image_probes() if model.modality == "image" else text_probes()


def integrate(
    model: ProbedModel, inputs: Inputs, top: torch.Tensor | None, parts: int
) -> list[torch.Tensor]:
    """(x − x0) ⊙ the path integral of each scalar's gradient, 4 Gauss-Legendre nodes in each part."""
    start, end = model.endpoints(inputs)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    totals = [torch.zeros_like(end)] * (1 if top is None else 2)
    shape = (1, 4) + (1,) * (end.dim() - 1)
    for low in np.arange(parts) / parts:
        alpha = torch.tensor(low + (nodes + 1) / (2 * parts), dtype=torch.float32).view(shape)
        weight = torch.tensor(weights / (2 * parts), dtype=torch.float32).view(shape)
        points = start.unsqueeze(1) + alpha * (end - start).unsqueeze(1)
        points = points.flatten(0, 1).requires_grad_(True)
        values = model.scalars(points, inputs, top)
        for number, value in enumerate(values[: len(totals)]):
            assert value is not None
            (gradient,) = torch.autograd.grad(value.sum(), points, retain_graph=True)
            part = gradient.view(len(inputs), 4, *end.shape[1:]) * weight
            totals[number] = totals[number] + part.sum(dim=1)
    return [(end - start) * total for total in totals]


@pytest.mark.parametrize(("model_type", "architecture"), CASES)
def test_tiny_model(tmp_path: Path, model_type: str, architecture: str) -> None:
    built = tiny.build(model_type, architecture)
    model = load_model(open_checkpoint(tiny.save(tmp_path, built)))
    family = SUPPORTED[model_type]
    assert model.model_type == model_type
    assert model.architecture == architecture
    assert model.modality == family.modality
    assert model.warnings == ()
    assert model.head is (architecture != family.base)
    probes = probes_for(model)
    inputs = model.prepare(probes)
    assert len(inputs) == len(probes)

    readouts = model.readouts(inputs)
    assert len(readouts.hidden) >= 2
    for state in readouts.hidden:
        assert state.shape[0] == len(probes)
        assert state.dtype == torch.float32
        assert not state.requires_grad
    top = model.top_class(inputs)
    if model.head:
        assert readouts.probabilities is not None
        assert top is not None
        torch.testing.assert_close(readouts.probabilities.sum(1), torch.ones(len(probes)))
        assert torch.equal(readouts.probabilities.argmax(1), top)
        assert readouts.top is not None
        assert torch.equal(readouts.top, top)
    else:
        assert readouts.probabilities is None
        assert readouts.top is None
        assert top is None

    # The same probe alone, and with the batch turned around.
    for row, probe in enumerate(probes):
        alone = model.readouts(model.prepare([probe]))
        for state, single in zip(readouts.hidden, alone.hidden, strict=True):
            largest = float(single[0].abs().max())
            torch.testing.assert_close(state[row], single[0], rtol=0, atol=1e-5 * largest)
    again = model.readouts(model.prepare(probes))
    for state, same in zip(readouts.hidden, again.hidden, strict=True):
        assert torch.equal(state, same)

    # Both scalars at both ends; rows b·J+j belong to probe b.
    start, end = model.endpoints(inputs)
    norm, logit = model.scalars(end, inputs, top)
    torch.testing.assert_close(norm, torch.linalg.vector_norm(readouts.hidden[-1], dim=1))
    assert (logit is None) is (top is None)
    both = torch.stack([start, end], dim=1).flatten(0, 1)
    norms, logits = model.scalars(both, inputs, top)
    torch.testing.assert_close(norms[1::2], norm, rtol=1e-4, atol=1e-5)
    if logit is not None:
        assert logits is not None
        torch.testing.assert_close(logits[1::2], logit, rtol=1e-4, atol=1e-4)

    # Completeness: attributions, moved to the common space, sum to F(x) − F(x0). Once per type:
    # the last of its classes has both scalars.
    if architecture != [name for kind, name in CASES if kind == model_type][-1]:
        return
    summed = integrate(model, inputs, top, PARTS.get(model_type, 12))
    for g, values in zip(summed, [norms] if logits is None else [norms, logits], strict=True):
        attributed = model.attribute(g, inputs)
        assert attributed.shape == (len(probes), model.positions)
        assert attributed.dtype == torch.float32
        change = values[1::2] - values[0::2]
        error = (attributed.sum(1) - change).abs().max() / change.abs().max()
        assert float(error) < (0.05 if model_type in ROUGH else 2e-3)


@pytest.mark.parametrize(
    ("model_type", "architecture", "changes", "columns"),
    [
        ("vit", "ViTForImageClassification", {"num_labels": 1}, 2),
        ("gpt2", "GPT2LMHeadModel", {"vocab_size": 6000}, 4096),
    ],
)
def test_top_class_is_a_logit_where_probabilities_have_other_columns(
    tmp_path: Path, model_type: str, architecture: str, changes: dict[str, int], columns: int
) -> None:
    torch.manual_seed(0)
    built = tiny.build(model_type, architecture, **changes)
    model = load_model(open_checkpoint(tiny.save(tmp_path, built)))
    inputs = model.prepare(probes_for(model))
    readouts = model.readouts(inputs)
    assert readouts.probabilities is not None
    assert readouts.probabilities.shape[1] == columns
    top = model.top_class(inputs)
    assert top is not None
    assert readouts.top is not None
    assert torch.equal(readouts.top, top)


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "opt", "gemma", "gpt_neox", "phi"])
def test_decoder_heads_equal_the_whole_model(tmp_path: Path, model_type: str) -> None:
    family = SUPPORTED[model_type]
    assert family.causal is not None
    for architecture in (family.causal, family.heads[0]):
        built = tiny.build(model_type, architecture)
        model = load_model(open_checkpoint(tiny.save(tmp_path / architecture, built)))
        probe = text_probes()[0]
        ids = torch.tensor([tiny.word_tokenizer(special=False).encode(str(probe.content)).ids])
        with torch.no_grad():
            logits = built(input_ids=ids).logits
        logits = logits[:, -1] if logits.dim() == 3 else logits
        inputs = model.prepare([probe])
        probabilities = model.readouts(inputs).probabilities
        assert probabilities is not None
        torch.testing.assert_close(probabilities, torch.softmax(logits, 1), rtol=1e-4, atol=1e-6)
        top = model.top_class(inputs)
        _, logit = model.scalars(model.endpoints(inputs)[1], inputs, top)
        assert logit is not None
        torch.testing.assert_close(logit, logits.max(1).values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", ["bert", "roberta", "t5", "bart", "modernbert"])
def test_embeddings_path_equals_token_path(tmp_path: Path, model_type: str) -> None:
    built = tiny.build(model_type)
    model = load_model(open_checkpoint(tiny.save(tmp_path, built)))
    probe = text_probes()[0]
    ids = torch.tensor([tiny.word_tokenizer(special=True).encode(str(probe.content)).ids])
    body = built.get_encoder() if model_type == "bart" else built
    with torch.no_grad():
        expected = body(input_ids=ids).last_hidden_state.mean(dim=1)
    found = model.readouts(model.prepare([probe])).hidden[-1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
