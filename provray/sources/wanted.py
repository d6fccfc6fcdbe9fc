"""Which files of a model matter: the same for a folder, a bucket and a hub."""

from __future__ import annotations

from provray.models.checkpoint import INDEX_SUFFIX

CARD = "README.md"
"""The model card. It is read for what it declares, and is no part of a revision."""

_NAMED = frozenset(
    {
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
    }
)
_SUFFIXES = (".safetensors", INDEX_SUFFIX, ".model")


def counts(name: str) -> bool:
    """Whether a file makes the model what it is: configuration, weights, shard index, tokenizer, preprocessor.

    `name`: of a file directly in the model's folder.
    """
    return name in _NAMED or name.endswith(_SUFFIXES)


def is_wanted(name: str) -> bool:
    """Whether a file is fetched at all: what counts, and the card."""
    return name == CARD or counts(name)
