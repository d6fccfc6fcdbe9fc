"""Which models are probed, and how their `config.json` is read without trusting it.

A configuration only chooses among classes that transformers ships and gives them sizes. Everything
in it that could name code, kernels or other files is removed, what is left is bounded, and only
fields the class declares reach it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from provray.models.errors import BrokenModel, UnsafeModel, UnsupportedModel
from provray.models.files import DEFAULT_LIMITS, Limits, read_json_object
from provray.probes.probe import Modality

Kind = Literal["image", "encoder", "decoder", "encoder-decoder"]


@dataclasses.dataclass(frozen=True)
class ModelFamily:
    """One allow-listed `model_type` and the transformers classes that stand for it.

    config, base: class names; heads: classification classes by name; causal: the next-token class
    of a decoder; fixed_size: images must have the configured size; offset_positions: the first
    position of a text follows the padding id (RoBERTa), which shortens the longest text;
    scale_free: nothing but a norm follows the word embeddings (no absolute positions), so the
    network sees their direction alone.
    """

    model_type: str
    kind: Kind
    config: str
    base: str
    heads: tuple[str, ...] = ()
    causal: str | None = None
    fixed_size: bool = False
    offset_positions: bool = False
    scale_free: bool = False

    @property
    def modality(self) -> Modality:
        """What its probes are."""
        return "image" if self.kind == "image" else "text"


def _image(
    model_type: str, stem: str, *, fixed: bool = False, teacher: bool = False
) -> ModelFamily:
    heads: tuple[str, ...] = (f"{stem}ForImageClassification",)
    if teacher:
        heads += (f"{stem}ForImageClassificationWithTeacher",)
    return ModelFamily(
        model_type, "image", f"{stem}Config", f"{stem}Model", heads, fixed_size=fixed
    )


def _encoder(
    model_type: str, stem: str, *, offset: bool = False, scale_free: bool = False
) -> ModelFamily:
    return ModelFamily(
        model_type,
        "encoder",
        f"{stem}Config",
        f"{stem}Model",
        (f"{stem}ForSequenceClassification",),
        offset_positions=offset,
        scale_free=scale_free,
    )


def _decoder(
    model_type: str, stem: str, causal: str = "ForCausalLM", *, scale_free: bool = True
) -> ModelFamily:
    return ModelFamily(
        model_type,
        "decoder",
        f"{stem}Config",
        f"{stem}Model",
        (f"{stem}ForSequenceClassification",),
        causal=f"{stem}{causal}",
        scale_free=scale_free,
    )


def _encoder_decoder(
    model_type: str, stem: str, base: str, *, scale_free: bool = False
) -> ModelFamily:
    return ModelFamily(
        model_type, "encoder-decoder", f"{stem}Config", f"{stem}{base}", scale_free=scale_free
    )


_FAMILIES = (
    _image("resnet", "ResNet"),
    _image("regnet", "RegNet"),
    _image("convnext", "ConvNext"),
    _image("convnextv2", "ConvNextV2"),
    _image("mobilenet_v1", "MobileNetV1"),
    _image("mobilenet_v2", "MobileNetV2"),
    _image("mobilevit", "MobileViT"),
    _image("efficientnet", "EfficientNet"),
    _image("poolformer", "PoolFormer"),
    _image("pvt_v2", "PvtV2"),
    _image("vit", "ViT", fixed=True),
    _image("vit_msn", "ViTMSN", fixed=True),
    _image("deit", "DeiT", fixed=True, teacher=True),
    _image("beit", "Beit", fixed=True),
    _image("dinov2", "Dinov2"),
    _image("dinov2_with_registers", "Dinov2WithRegisters"),
    _image("swin", "Swin"),
    _image("swinv2", "Swinv2"),
    _encoder("bert", "Bert"),
    _encoder("roberta", "Roberta", offset=True),
    _encoder("xlm-roberta", "XLMRoberta", offset=True),
    _encoder("camembert", "Camembert", offset=True),
    _encoder("mpnet", "MPNet", offset=True),
    _encoder("distilbert", "DistilBert"),
    _encoder("albert", "Albert"),
    _encoder("electra", "Electra"),
    _encoder("deberta-v2", "DebertaV2", scale_free=True),
    _encoder("modernbert", "ModernBert", scale_free=True),
    _decoder("gpt2", "GPT2", "LMHeadModel", scale_free=False),
    _decoder("gpt_neo", "GPTNeo", scale_free=False),
    _decoder("gpt_neox", "GPTNeoX"),
    _decoder("llama", "Llama"),
    _decoder("mistral", "Mistral"),
    _decoder("qwen2", "Qwen2"),
    _decoder("qwen3", "Qwen3"),
    _decoder("gemma", "Gemma"),
    _decoder("phi", "Phi"),
    _decoder("opt", "OPT", scale_free=False),
    _encoder_decoder("t5", "T5", "EncoderModel", scale_free=True),
    _encoder_decoder("mt5", "MT5", "EncoderModel", scale_free=True),
    _encoder_decoder("bart", "Bart", "Model"),
    _encoder_decoder("mbart", "MBart", "Model"),
)

SUPPORTED: Mapping[str, ModelFamily] = {family.model_type: family for family in _FAMILIES}
"""The allow-list, by `model_type`."""

_REMOVED = re.compile(
    r"auto_map|custom_pipelines|_name_or_path|name_or_path|trust_remote_code"
    r"|.*(attn|attention|experts)_implementation.*|.*kernels.*|use_kernel|kernel_(config|mapping|repo.*)"
)
"""Keys that name code, kernels or other places; removed wherever they stand."""

_LEGACY_ROPE = frozenset(
    {"rope_theta", "rope_scaling", "rotary_pct", "rotary_emb_base", "partial_rotary_factor"}
)
"""Older names of rotary settings, which transformers converts to `rope_parameters`."""

_NOT_PASSED = frozenset(
    {
        "architectures",
        "chunk_size_feed_forward",
        "dtype",
        "id2label",
        "is_decoder",
        "label2id",
        "output_hidden_states",
        "problem_type",
        "return_dict",
        "transformers_version",
    }
)
"""Declared fields that a probe sets itself, or that say nothing about the weights."""

_COUNTED = re.compile(
    r".*(layers?|depths?|repeats|stages|blocks)|attention_types|num_hidden_groups|inner_group_num"
)
_MAX_COUNT = 4096
_MAX_LABELS = 100_000
_MAX_INTEGER = 1 << 40
_MAX_WINDOW = 1024


def read_config(folder: Path, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Read `config.json`, remove what could name code, and check `model_type` against the allow-
    list.

    Raises:
        UnsupportedModel: a `model_type` that is not on the list (nested ones too), or quantised
        weights. UnsafeModel, BrokenModel: not a bounded JSON object, or a size out of bounds.
    """
    config = read_json_object(Path(folder) / "config.json", limits.config_bytes)
    try:
        return _checked(strip_references(config))
    except RecursionError:
        raise UnsafeModel("config.json nests JSON too deeply to be read") from None


def _checked(cleaned: dict[str, Any]) -> dict[str, Any]:
    for key, value in _walk(cleaned):
        if key == "quantization_config" and value:
            raise UnsupportedModel(
                "config.json has a quantization_config: quantised layouts are not read, "
                "index the unquantised model"
            )
        if key == "model_type" and (not isinstance(value, str) or value not in SUPPORTED):
            raise UnsupportedModel(
                f"model_type {str(value)[:60]!r} is not supported; "
                f"supported are {', '.join(sorted(SUPPORTED))}"
            )
    if "model_type" not in cleaned:
        raise UnsupportedModel("config.json has no model_type")
    if cleaned.get("position_embedding_type", "absolute") not in ("absolute", None):
        raise UnsupportedModel(
            f"position_embedding_type {str(cleaned['position_embedding_type'])[:60]!r} "
            "is not supported, only 'absolute'"
        )
    _check_bounds(cleaned)
    return cleaned


def strip_references(value: Any) -> Any:
    """A copy of parsed JSON without the keys that name code, kernels or other places."""
    if isinstance(value, dict):
        return {k: strip_references(v) for k, v in value.items() if not _REMOVED.fullmatch(k)}
    if isinstance(value, list):
        return [strip_references(item) for item in value]
    return value


def config_fields(config: Mapping[str, Any], config_class: type) -> dict[str, Any]:
    """The part of a configuration that its class declares, ready for `config_class(**fields)`.

    Labels are reduced to their number; what the class does not declare never reaches it.
    """
    declared = {field.name for field in dataclasses.fields(config_class)} - _NOT_PASSED
    declared |= set(getattr(config_class, "attribute_map", {}))
    declared |= _LEGACY_ROPE | {"tie_word_embeddings"}
    fields = {k: v for k, v in config.items() if k in declared and not k.startswith("_")}
    labels = label_count(config)
    if labels is not None:
        fields["num_labels"] = labels
    fields["use_cache"] = False
    return fields


def label_count(config: Mapping[str, Any]) -> int | None:
    """How many classes the configuration names, or None if it names none."""
    names = config.get("id2label")
    if isinstance(names, (dict, list)):
        return len(names)
    number = config.get("num_labels")
    return number if isinstance(number, int) else None


def architecture(config: Mapping[str, Any]) -> str | None:
    """The first class name under `architectures`, if there is one."""
    names = config.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        return names[0]
    return None


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def _check_bounds(config: dict[str, Any]) -> None:
    for key, value in _walk(config):
        numbers = _numbers(value)
        if not numbers:
            continue
        largest = max(abs(n) for n in numbers)
        if not largest <= _MAX_INTEGER:
            raise UnsafeModel(f"config.json sets {key} to {_short(value)}, beyond any real model")
        if _COUNTED.fullmatch(key) and sum(abs(n) for n in numbers) > _MAX_COUNT:
            raise UnsafeModel(
                f"config.json sets {key} to {_short(value)}, limit {_MAX_COUNT} layers"
            )
        if key == "depth_coefficient" and largest > 100:
            raise UnsafeModel(f"config.json sets {key} to {_short(value)}, limit 100")
        if key in ("window_size", "image_size", "num_channels") and largest > _MAX_WINDOW:
            raise UnsafeModel(f"config.json sets {key} to {_short(value)}, limit {_MAX_WINDOW}")
        if key == "num_labels" and largest > _MAX_LABELS:
            raise UnsafeModel(f"config.json sets {key} to {_short(value)}, limit {_MAX_LABELS}")
    if (label_count(config) or 0) > _MAX_LABELS:
        raise UnsafeModel(f"config.json names more than {_MAX_LABELS} labels")
    if (label_count(config) or 0) < 0:
        raise BrokenModel(f"config.json sets num_labels to {label_count(config)}")


def _numbers(value: Any) -> list[int | float]:
    if isinstance(value, bool):
        return []
    if isinstance(value, (int, float)):
        return [value]
    if isinstance(value, list):
        return [n for item in value for n in _numbers(item)]
    return []


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
