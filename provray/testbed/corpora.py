"""The text collections cut into parts that never mix, and tokenizers trained on them.

`zoo` texts train and test the families of the demo and the studies, `cohort` texts those of the
reference cohort; each has a test part of its own.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from provray.testbed.assets import Texts, bbc_news, rotten_tomatoes

Corpus = Literal["news", "reviews"]
Use = Literal["zoo", "cohort"]
TokenizerKind = Literal["wordpiece", "bpe"]
SPLIT_SEED = 20232

# One tokenizer thread: builders run side by side, and each was promised one core.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@dataclass(frozen=True)
class Corpora:
    """Training and test texts of one collection for one use."""

    train: Texts
    test: Texts


@lru_cache(maxsize=2)
def _shuffled(corpus: Corpus) -> Texts:
    texts = bbc_news() if corpus == "news" else rotten_tomatoes()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(texts))
    return texts.take(order.tolist())


def corpus_texts(corpus: Corpus, use: Use) -> Corpora:
    """Return the part of `corpus` kept for `use`: two thirds zoo, one third cohort; a fifth is test."""
    texts = _shuffled(corpus)
    border = 2 * len(texts) // 3
    rows = range(border) if use == "zoo" else range(border, len(texts))
    cut = 4 * len(rows) // 5
    return Corpora(texts.take(rows[:cut]), texts.take(rows[cut:]))


@dataclass(frozen=True)
class Tokens:
    """Token ids and attention mask, N×T each, padded on the right."""

    ids: Tensor
    mask: Tensor

    def rows(self, rows: Tensor) -> "Tokens":
        """Return these rows, cut to the longest of them."""
        mask = self.mask[rows]
        longest = int(mask.sum(1).max())
        return Tokens(self.ids[rows][:, :longest], mask[:, :longest])


def encode(tokenizer: Tokenizer, texts: Sequence[str], length: int, pad: int = 0) -> Tokens:
    """Tokenize, cut to `length` tokens (special ones included) and pad to the longest."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    # long documents are cut anyway: no need to tokenize all of them
    rows = [tokenizer.encode(text[: 12 * length]).ids for text in texts]
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
        mask[at, : len(row)] = 1
    return Tokens(ids, mask)


def _wordpiece_vocabulary(
    texts: Sequence[str], special: Sequence[str], size: int
) -> dict[str, int]:
    """Special tokens, every letter alone and inside a word, frequent words, frequent word endings.

    The trainer of the tokenizers library orders its vocabulary differently in every run, so the pieces
    are counted here.
    """
    normaliser = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normaliser.normalize_str(text)))
    letters = sorted({letter for word in words for letter in word})
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters)]
    endings: Counter[str] = Counter()
    for word, count in words.items():
        for length in range(2, min(5, len(word))):
            endings[f"##{word[-length:]}"] += count * length
    for counter, share in ((endings, 0.2), (words, 1.0)):
        ranked = [piece for _, piece in sorted((-count, piece) for piece, count in counter.items())]
        room = int(share * (size - len(pieces)))
        known = set(pieces)
        pieces += [piece for piece in ranked if piece not in known][:room]
    return {piece: number for number, piece in enumerate(pieces)}


def train_tokenizer(kind: TokenizerKind, texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """Train a lower-casing WordPiece (as BERT's) or a byte-level BPE (as RoBERTa's and GPT-2's).

    The padding token has id 0 in both. The same texts give the same tokenizer.
    """
    if kind == "wordpiece":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        vocab = _wordpiece_vocabulary(texts, special, vocabulary)
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        first, last = "[CLS]", "[SEP]"
    else:
        special = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        first, last = "<s>", "</s>"
    tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(first, tokenizer.token_to_id(first)), (last, tokenizer.token_to_id(last))],
    )
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path, *, max_length: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` of a trained tokenizer."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    wordpiece = tokenizer.token_to_id("[CLS]") is not None
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    if not wordpiece:
        names = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
    keys = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        **dict(zip(keys, names, strict=True)),
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read the `tokenizer.json` of a model folder."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))
