"""Tiny random models of every allow-listed type, saved as real model folders.

Smooth activations where the type lets one choose: a path integral over kinks converges slowly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from provray.models.config import SUPPORTED

WORDS = ["the", "a", "film", "was", "very", "good", "bad", "plain", "story", "about"]

_BERT_LIKE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
}
_LLAMA_LIKE: dict[str, Any] = _BERT_LIKE | {"num_key_value_heads": 1, "head_dim": 8}
_VIT_LIKE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 24,
    "patch_size": 8,
}
_SWIN_LIKE: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "window_size": 4,
}
_BART_LIKE: dict[str, Any] = {
    "vocab_size": 64,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 80,
    "scale_embedding": True,
}
_T5_LIKE: dict[str, Any] = {
    "vocab_size": 64,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
}

CONFIGS: dict[str, dict[str, Any]] = {
    "resnet": {
        "embedding_size": 8,
        "hidden_sizes": [8, 12],
        "depths": [1, 1],
        "layer_type": "basic",
        "hidden_act": "gelu",
    },
    "regnet": {
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "groups_width": 8,
        "hidden_act": "gelu",
    },
    "convnext": {"num_stages": 2, "hidden_sizes": [8, 12], "depths": [1, 1], "image_size": 32},
    "convnextv2": {"num_stages": 2, "hidden_sizes": [8, 12], "depths": [1, 1], "image_size": 32},
    "mobilenet_v1": {"depth_multiplier": 0.25, "image_size": 64, "hidden_act": "gelu"},
    "mobilenet_v2": {"depth_multiplier": 0.25, "image_size": 64, "hidden_act": "gelu"},
    "mobilevit": {
        "image_size": 64,
        "hidden_sizes": [12, 16, 20],
        "neck_hidden_sizes": [8, 8, 12, 16, 16, 20, 24],
        "num_attention_heads": 2,
    },
    "efficientnet": {
        "width_coefficient": 0.25,
        "depth_coefficient": 0.25,
        "hidden_dim": 320,
        "image_size": 32,
    },
    "poolformer": {
        "hidden_sizes": [8, 12],
        "depths": [1, 1],
        "num_encoder_blocks": 2,
        "patch_sizes": [7, 3],
        "strides": [4, 2],
        "padding": [2, 1],
    },
    "pvt_v2": {
        "hidden_sizes": [8, 12],
        "depths": [1, 1],
        "num_encoder_blocks": 2,
        "num_attention_heads": [1, 2],
        "image_size": 32,
        "sr_ratios": [2, 1],
        "patch_sizes": [7, 3],
        "strides": [4, 2],
        "mlp_ratios": [2, 2],
    },
    "vit": _VIT_LIKE,
    "vit_msn": _VIT_LIKE,
    "deit": _VIT_LIKE,
    "beit": _VIT_LIKE,
    "dinov2": _VIT_LIKE,
    "dinov2_with_registers": _VIT_LIKE,
    "swin": _SWIN_LIKE,
    "swinv2": _SWIN_LIKE,
    "bert": _BERT_LIKE,
    "roberta": _BERT_LIKE,
    "xlm-roberta": _BERT_LIKE,
    "camembert": _BERT_LIKE,
    "mpnet": _BERT_LIKE | {"pad_token_id": 1},
    "distilbert": {"vocab_size": 64, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "albert": _BERT_LIKE | {"embedding_size": 12},
    "electra": _BERT_LIKE | {"embedding_size": 12},
    "deberta-v2": _BERT_LIKE | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": _BERT_LIKE
    | {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    "gpt2": {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 80},
    "gpt_neo": {
        "vocab_size": 64,
        "hidden_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "max_position_embeddings": 80,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 8,
    },
    "gpt_neox": _BERT_LIKE,
    "llama": _LLAMA_LIKE,
    "mistral": _LLAMA_LIKE,
    "qwen2": _LLAMA_LIKE,
    "qwen3": _LLAMA_LIKE,
    "gemma": _LLAMA_LIKE,
    "phi": _BERT_LIKE,
    "opt": {
        "vocab_size": 64,
        "hidden_size": 16,
        "word_embed_proj_dim": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 24,
        "max_position_embeddings": 80,
        "do_layer_norm_before": False,
        "activation_function": "gelu",
    },
    "t5": _T5_LIKE,
    "mt5": _T5_LIKE,
    "bart": _BART_LIKE,
    "mbart": _BART_LIKE,
}


def build(model_type: str, architecture: str | None = None, **changes: Any) -> Any:
    """A tiny model of the type, every weight and bias random (a zero bias would hide mistakes)."""
    family = SUPPORTED[model_type]
    config = getattr(transformers, family.config)(**(CONFIGS[model_type] | changes))
    torch.manual_seed(7)
    model = getattr(transformers, architecture or family.base)(config)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(0.1 * noise)
            else:
                parameter.copy_(noise * (0.7 / max(parameter[0].numel(), 1) ** 0.5))
        norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        if norms:  # real statistics, or the signal dies on its way
            for norm in norms:
                norm.momentum = None
            size = CONFIGS[model_type].get("image_size", 32)
            model.train()(torch.randn(64, 3, size, size, generator=generator))
            for norm in norms:
                norm.running_var.clamp_(min=0.1 * float(norm.running_var.mean()))
    return model.eval()


def save(folder: Path, model: Any, *, preprocessor: dict[str, Any] | None = None) -> Path:
    """Save a model with the files its modality needs."""
    model.save_pretrained(folder)
    model_type = model.config.model_type
    if SUPPORTED[model_type].modality == "text":
        word_tokenizer(special=SUPPORTED[model_type].kind != "decoder").save(
            str(folder / "tokenizer.json")
        )
    else:
        size = CONFIGS[model_type].get("image_size", 32)
        settings = preprocessor or {
            "size": {"height": size, "width": size},
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def word_tokenizer(*, special: bool) -> Tokenizer:
    """WordPiece over `WORDS` and single letters, so that unknown words take several tokens."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "<unused>", "[CLS]", "[SEP]", "[UNK]", *WORDS]
    tokens += [f"##{letter}" for letter in letters[:20]] + list(letters[:20])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return tokenizer
