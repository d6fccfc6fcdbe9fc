"""A model's own tokenizer, built from its plain files with the `tokenizers` library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import (
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from provray.models.errors import BrokenModel, UnsupportedModel
from provray.models.files import Limits, read_bounded, read_json_object


def read_tokenizer(folder: Path, model_type: str, max_tokens: int, limits: Limits) -> Tokenizer:
    """The tokenizer of a folder, truncating at `max_tokens` (special tokens included), without
    padding.

    `tokenizer.json` is used as it is (but for random merges, which are turned off); else
    `vocab.txt` is read as a WordPiece vocabulary, or `vocab.json` with `merges.txt` as a byte-level
    BPE.

    Raises:
        UnsupportedModel: none of these files is there.
        UnsafeModel, BrokenModel: a file is too large or cannot be read.
    """
    folder = Path(folder)
    if (folder / "tokenizer.json").exists():
        text = _text(folder / "tokenizer.json", limits)
        tokenizer = _build(lambda: Tokenizer.from_str(text), "tokenizer.json")
    elif (folder / "vocab.txt").exists():
        tokenizer = _word_piece(folder, limits)
    elif (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        tokenizer = _byte_level(folder, model_type, limits)
    else:
        raise UnsupportedModel(
            "the folder has no tokenizer.json, vocab.txt, or vocab.json with merges.txt: "
            "save the tokenizer in one of these forms"
        )
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None
    try:
        tokenizer.enable_truncation(max_length=max_tokens, direction="right")
    except Exception as error:
        raise BrokenModel(
            f"the tokenizer cannot cut texts to {max_tokens} tokens: {error}"
        ) from None
    tokenizer.no_padding()
    return tokenizer


def _build(make: Any, what: str) -> Tokenizer:
    try:
        return make()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the Rust library is no Exception
        raise BrokenModel(f"{what} cannot be read as a tokenizer: {str(error)[:160]}") from None


def _text(path: Path, limits: Limits) -> str:
    try:
        return read_bounded(path, limits.tokenizer_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BrokenModel(f"{path.name} is not UTF-8: {error.reason}") from None


def _settings(folder: Path, limits: Limits) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json_object(path, limits.config_bytes) if path.exists() else {}


def _word_piece(folder: Path, limits: Limits) -> Tokenizer:
    vocabulary = {
        token: number
        for number, token in enumerate(
            _text(folder / "vocab.txt", limits).removesuffix("\n").split("\n")
        )
    }
    settings = _settings(folder, limits)
    unknown = "[UNK]"
    first, last = ("[CLS]", "[SEP]") if "[CLS]" in vocabulary else ("<s>", "</s>")
    for token in (first, last, unknown):
        if token not in vocabulary:
            raise BrokenModel(f"vocab.txt lacks the token {token}")

    def make() -> Tokenizer:
        tokenizer = Tokenizer(
            models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=100)
        )
        tokenizer.normalizer = normalizers.BertNormalizer(
            lowercase=settings.get("do_lower_case", True) is not False,
            handle_chinese_chars=settings.get("tokenize_chinese_chars", True) is not False,
            strip_accents=None,
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}",
            special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])],
        )
        return tokenizer

    return _build(make, "vocab.txt")


def _byte_level(folder: Path, model_type: str, limits: Limits) -> Tokenizer:
    vocabulary = read_json_object(folder / "vocab.json", limits.tokenizer_bytes)
    if not all(isinstance(number, int) for number in vocabulary.values()):
        raise BrokenModel("vocab.json must map tokens to numbers")
    merges = []
    for line in _text(folder / "merges.txt", limits).split("\n"):
        if line and not line.startswith("#version"):
            left, _, right = line.partition(" ")
            merges.append((left, right))
    settings = _settings(folder, limits)
    prefix = settings.get("add_prefix_space", False) is True
    wrapped = (
        model_type in ("roberta", "camembert", "bart") and {"<s>", "</s>"} <= vocabulary.keys()
    )

    def make() -> Tokenizer:
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
        if wrapped:
            tokenizer.post_processor = processors.RobertaProcessing(
                ("</s>", vocabulary["</s>"]),
                ("<s>", vocabulary["<s>"]),
                add_prefix_space=prefix,
            )
        else:
            tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        return tokenizer

    return _build(make, "vocab.json with merges.txt")
