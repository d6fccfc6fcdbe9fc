"""Configurations: what is stripped, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from provray.models.config import SUPPORTED, config_fields, read_config
from provray.models.errors import ModelError, UnsafeModel, UnsupportedModel


def config(folder: Path, **fields: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"} | fields))
    return folder


def test_every_family_names_classes_that_exist() -> None:
    for family in SUPPORTED.values():
        for name in (family.config, family.base, *family.heads, family.causal):
            assert name is None or hasattr(transformers, name), name
        assert getattr(transformers, family.config).model_type == family.model_type


def test_references_to_code_and_kernels_are_stripped_at_any_depth(tmp_path: Path) -> None:
    evil = {
        "auto_map": {"AutoModel": "evil.Model"},
        "custom_pipelines": {"x": 1},
        "_name_or_path": "evil/repo",
        "_attn_implementation": "evil/kernels",
        "attn_implementation": "evil/kernels",
        "_attn_implementation_internal": "evil/kernels",
        "_experts_implementation": "evil/kernels",
        "use_kernels": True,
        "trust_remote_code": True,
    }
    found = read_config(config(tmp_path, **evil, sub=[{"deep": evil | {"kept": 1}}], kernel_size=3))
    assert found == {"model_type": "bert", "sub": [{"deep": {"kept": 1}}], "kernel_size": 3}


def test_only_declared_fields_reach_the_class() -> None:
    raw = {
        "hidden_size": 16,
        "to_dict": "x",
        "per_layer_config": {"0": {"hidden_size": 1}},
        "fusion_config": {"patch_embeddings": True},
        "transformers_weights": "/etc/passwd",
        "dtype": "load",
        "id2label": {"0": "a", "1": "b", "2": "c"},
        "_private": 1,
    }
    fields = config_fields(raw, transformers.BertConfig)
    assert fields == {"hidden_size": 16, "num_labels": 3, "use_cache": False}


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"model_type": "evil"}, "'evil' is not supported; supported are albert"),
        ({"model_type": None}, "not supported"),
        ({"model_type": ["bert"]}, "not supported"),
        ({"vision_config": {"model_type": "evil"}}, "'evil'"),
        ({"layers": [{"x": {"model_type": "evil"}}]}, "'evil'"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({"text_config": {"quantization_config": {"bits": 4}}}, "quantization_config"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
    ],
)
def test_unsupported(tmp_path: Path, fields: dict[str, Any], match: str) -> None:
    with pytest.raises(UnsupportedModel, match=match):
        read_config(config(tmp_path, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"num_hidden_layers": 10**9},
        {"depths": [3000, 3000]},
        {"depths": [2, [10**6]]},
        {"num_labels": 10**9},
        {"vocab_size": 10**30},
        {"hidden_size": 1e300},
        {"window_size": 10**6},
        {"image_size": [10**6, 10**6]},
        {"depth_coefficient": 1e9},
        {"attention_types": [[["global"], 10**8]]},
        {"text_config": {"n_layer": -(10**9)}},
    ],
)
def test_sizes_out_of_bounds(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(UnsafeModel, match=next(iter(fields)) + "|n_layer"):
        read_config(config(tmp_path, **fields))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "",
        "{",
        '{"model_type": "bert", "model_type": "evil"}',
        '{"a":' * 100_000,
        '{"a":' * 900 + "1" + "}" * 900,
        '{"model_type": "bert", "x": Infinity}',
        '{"x": "' + "y" * (1 << 20) + '"}',
    ],
)
def test_json_that_is_no_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError) as caught:
        read_config(tmp_path)
    assert len(caught.value.reason) < 1200


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        read_config(tmp_path)
