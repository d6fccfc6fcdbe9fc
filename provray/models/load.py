"""From a checked checkpoint to a probed model, with transformers' own classes and nothing from the
folder but data.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import torch
import transformers.modeling_utils  # all that a first model would import, at the cost of its time and memory
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from transformers.utils import logging as transformers_logging

from provray.models.adapter import ProbedModel
from provray.models.checkpoint import DEFAULT_LIMITS, Checkpoint, Limits
from provray.models.config import SUPPORTED, ModelFamily, architecture, config_fields, read_config
from provray.models.errors import BrokenModel, ModelError, UnsupportedModel
from provray.models.preprocess import read_pixel_settings
from provray.models.text import MAX_TOKENS, TextModel
from provray.models.tokenizer import read_tokenizer
from provray.models.vision import VisionModel

_OPTIONAL = re.compile(r".*(num_batches_tracked|mask_token|position_ids|token_type_ids)")
"""State that a probe never reads or that is recomputed: its absence from a file says nothing."""

_INTEGER_DTYPES = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})


def load_model(
    checkpoint: Checkpoint,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    limits: Limits = DEFAULT_LIMITS,
) -> ProbedModel:
    """Build the model of a checked checkpoint in evaluation mode, without gradients for its
    weights.

    The class comes from the allow-list by `model_type` and the first of `architectures`: a
    classifier or a next-token model keeps its head, everything else is loaded as its base model.

    Raises:
        UnsupportedModel: a kind of model or tokenizer this version does not read.
        UnsafeModel: a file or a setting out of bounds.
        BrokenModel: configuration and weights contradict each other, or weights are not finite.
    """
    raw = read_config(checkpoint.folder, limits)
    family = SUPPORTED[raw["model_type"]]
    name, kind = _choose(family, architecture(raw))
    model_class = getattr(transformers, name)
    attention = "sdpa" if family.kind == "image" and model_class._supports_sdpa else "eager"
    config = _config(family, raw)
    settings = None
    warnings: list[str] = []
    if family.kind == "image":
        settings, warnings = read_pixel_settings(
            checkpoint.folder, config.to_dict(), fixed_size=family.fixed_size, limits=limits
        )
        tokenizer = None
    else:
        tokenizer = read_tokenizer(
            checkpoint.folder, family.model_type, _max_tokens(family, config), limits
        )
    options: dict[str, Any] = {}
    if kind == "base" and "add_pooling_layer" in model_class.__init__.__code__.co_varnames:
        options["add_pooling_layer"] = False
    _check_size(model_class, config, attention, options, checkpoint)
    model, ignored = _fill(model_class, config, attention, options, checkpoint, dtype)
    if ignored:
        warnings.append(
            f"{len(ignored)} tensors are not part of {name} and were ignored, such as {ignored[0]}"
        )
    model = model.to(device).eval().requires_grad_(False)
    head = kind != "base"
    if settings is not None:
        return VisionModel(
            model, settings, head=head, model_type=family.model_type, warnings=tuple(warnings)
        )
    assert tokenizer is not None
    body, last_token_head = model.base_model, None
    if family.kind == "decoder" and head:
        last_token_head = model.get_output_embeddings() if kind == "causal" else model.score
    if family.kind == "encoder-decoder" and hasattr(body, "get_encoder"):
        body = body.get_encoder()
    return TextModel(
        model,
        tokenizer,
        body=body,
        last_token_head=last_token_head,
        head=head,
        model_type=family.model_type,
        scale_free=family.scale_free,
        warnings=tuple(warnings),
    )


def _choose(family: ModelFamily, name: str | None) -> tuple[str, str]:
    if name is not None and name in family.heads:
        return name, "classes"
    if name is not None and name == family.causal:
        return name, "causal"
    return family.base, "base"


def _config(family: ModelFamily, raw: dict[str, Any]) -> Any:
    config_class = getattr(transformers, family.config)
    try:
        return config_class(**config_fields(raw, config_class))
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        raise BrokenModel(f"config.json is not a valid {family.config}: {_line(error)}") from None


def _max_tokens(family: ModelFamily, config: Any) -> int:
    longest = getattr(config, "max_position_embeddings", None) or MAX_TOKENS
    if family.offset_positions:
        longest -= (config.pad_token_id or 0) + 1
    if longest < 8:
        raise UnsupportedModel(f"the model takes {longest} tokens; texts need at least 8")
    return min(MAX_TOKENS, longest)


@contextlib.contextmanager
def _budget(checkpoint: Checkpoint) -> Iterator[None]:
    """Stop the construction of a model as soon as it has far more parts or values than the file.

    The slack covers tied weights, computed buffers and parts without weights.
    """
    values = 2 * checkpoint.parameters + 16_000_000
    parts = 64 * len(checkpoint.tensors) + 4096
    used = {"values": 0, "parts": 0}

    def count(module: Any, name: str, part: Any) -> None:
        used["parts"] += 1
        if isinstance(part, torch.Tensor):
            used["values"] += part.numel()
        if used["values"] > values:
            raise BrokenModel(
                f"config.json implies at least {used['values']:,} values, "
                f"the file holds {checkpoint.parameters:,}"
            )
        if used["parts"] > parts:
            raise BrokenModel(
                f"config.json implies more than {parts:,} parts, "
                f"the file holds {len(checkpoint.tensors):,} tensors"
            )

    hooks = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
        register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_size(
    model_class: Any, config: Any, attention: str, options: dict[str, Any], checkpoint: Checkpoint
) -> None:
    """Build the model without memory for its weights, and compare it with the file."""
    config._attn_implementation = attention
    try:
        with _budget(checkpoint), torch.device("meta"), torch.random.fork_rng(devices=[]):
            skeleton = model_class(config, **options)
    except ModelError:
        raise
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        raise BrokenModel(
            f"config.json does not describe a {model_class.__name__}: {_line(error)}"
        ) from None
    expected = {name for name, _ in skeleton.named_parameters()}
    prefix = f"{model_class.base_model_prefix}."
    for entry in checkpoint.tensors:
        names = (entry.name, prefix + entry.name, entry.name.removeprefix(prefix))
        if entry.dtype in _INTEGER_DTYPES and any(name in expected for name in names):
            raise UnsupportedModel(
                f"tensor {entry.name[:80]!r} stores weights as {entry.dtype}: "
                "integer layouts are not read, index the model with floating-point weights"
            )


def _fill(
    model_class: Any,
    config: Any,
    attention: str,
    options: dict[str, Any],
    checkpoint: Checkpoint,
    dtype: torch.dtype,
) -> tuple[Any, list[str]]:
    """The model with the file's weights, and the names in the file that it does not have."""
    state: dict[str, torch.Tensor] = {}
    try:
        for path in checkpoint.files:
            state.update(load_file(path))
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise BrokenModel(f"the weights cannot be read: {_line(error)}") from None
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.numel() and not _finite(tensor):
            raise BrokenModel(f"tensor {name[:80]!r} holds NaN or infinite values")
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            model, report = model_class.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=dtype,
                attn_implementation=attention,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                local_files_only=True,
                **options,
            )
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        raise BrokenModel(
            f"the weights do not fit a {model_class.__name__}: {_line(error)}"
        ) from None
    mismatched = sorted(report["mismatched_keys"])
    if mismatched:
        key, found, wanted = mismatched[0][:3]
        raise BrokenModel(
            f"tensor {key!r} has shape {list(found)}, config.json implies {list(wanted)}"
        )
    missing = sorted(key for key in report["missing_keys"] if not _OPTIONAL.fullmatch(key))
    if missing:
        raise BrokenModel(
            f"{len(missing)} tensors of a {model_class.__name__} are missing from the file: "
            f"{', '.join(missing[:3])}"
        )
    if report["error_msgs"]:
        raise BrokenModel(f"the weights do not fit: {str(report['error_msgs'][0])[:160]}")
    # A pooler is left out of a base model on purpose: no readout looks at it.
    return model, sorted(key for key in report["unexpected_keys"] if "pooler." not in key)


def _finite(tensor: torch.Tensor) -> bool:
    if tensor.element_size() == 1:  # float8 has no comparisons
        tensor = tensor.float()
    low, high = torch.aminmax(tensor)
    limit = torch.finfo(torch.float32).max
    return bool(low >= -limit) and bool(high <= limit)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and load reports: what they say is in the row's reason or
    warnings.
    """
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}"
