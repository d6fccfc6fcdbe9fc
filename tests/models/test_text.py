"""Words, tokens and attributions of texts; tokenizers built from plain files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from provray.models.adapter import MAX_CLASSES, distribution
from provray.models.checkpoint import open_checkpoint
from provray.models.errors import BrokenModel, ModelError, UnsafeModel, UnsupportedModel
from provray.models.files import Limits
from provray.models.load import load_model
from provray.models.text import TextInputs, TextModel
from provray.models.tokenizer import read_tokenizer
from provray.probes.probe import make_probe
from tests.models import tiny


def load(folder: Path) -> TextModel:
    model = load_model(open_checkpoint(folder))
    assert isinstance(model, TextModel)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("bert"), tiny.build("bert"))


@pytest.fixture(scope="module")
def model(folder: Path) -> TextModel:
    return load(folder)


def test_words_of_tokens(model: TextModel) -> None:
    inputs = model.prepare([make_probe("natural", "the fab film"), make_probe("natural", "a")])
    # [CLS] the f ##a ##b film [SEP]
    assert inputs.words[0].tolist() == [32, 0, 1, 1, 1, 2, 32]
    assert inputs.fixed[0].tolist() == [True, False, False, False, False, False, True]
    assert inputs.mask.tolist() == [[1] * 7, [1, 1, 1, 0, 0, 0, 0]]
    assert inputs.last.tolist() == [6, 2]


def test_attributions_add_up_per_word(model: TextModel) -> None:
    inputs = model.prepare([make_probe("natural", "the fab film"), make_probe("natural", "a")])
    g = torch.zeros_like(inputs.embeddings)
    g[0, :, 0] = torch.tensor([0.0, 1, 2, 3, 4, 5, 0])
    g[1, 1, :2] = 3.0
    words = model.attribute(g, inputs)
    assert words.shape == (2, 32)
    assert words[0, :4].tolist() == [1, 9, 5, 0]
    assert words[1, :2].tolist() == [6, 0]
    twice = model.attribute(g.repeat_interleave(2, dim=0), inputs)  # two points for each probe
    torch.testing.assert_close(twice, words.repeat_interleave(2, dim=0))


def test_special_tokens_and_padding_attribute_nothing(model: TextModel) -> None:
    inputs = model.prepare([make_probe("natural", "the fab film"), make_probe("natural", "a")])
    start, end = model.endpoints(inputs)
    difference = (end - start).abs().sum(2) > 0
    assert torch.equal(difference, ~inputs.fixed)
    assert float(start[0, 1].abs().sum()) == 0


def test_long_texts_are_cut(model: TextModel) -> None:
    inputs = model.prepare([make_probe("noise", " ".join(["the film"] * 100))])
    assert inputs.mask.shape == (1, 64)
    assert int(inputs.words[inputs.words < 32].max()) == 31
    g = torch.ones_like(inputs.embeddings)
    assert model.attribute(g, inputs).sum() == 32 * 16


def test_padding_changes_nothing(model: TextModel) -> None:
    short, long = make_probe("natural", "bad"), make_probe("noise", " ".join(["the film"] * 30))
    alone = model.readouts(model.prepare([short]))
    together = model.readouts(model.prepare([short, long]))
    for one, two in zip(alone.hidden, together.hidden, strict=True):
        torch.testing.assert_close(one[0], two[0], rtol=1e-5, atol=1e-6)


def test_a_slice_of_a_batch_is_as_if_prepared_alone(model: TextModel) -> None:
    probes = [make_probe("natural", t) for t in ("a", "the fab film was very good", "the film")]
    some, alone = model.prepare(probes)[2:], model.prepare(probes[2:])
    assert len(some) == 1
    for name, expected in vars(alone).items():
        torch.testing.assert_close(getattr(some, name), expected, rtol=0, atol=0)


def test_scale_free_models_start_at_the_mean_embedding(tmp_path: Path) -> None:
    for model_type in ("llama", "gemma", "t5", "deberta-v2"):
        built = tiny.build(model_type)
        model = load(tiny.save(tmp_path / model_type, built))
        start, _ = model.endpoints(model.prepare([make_probe("natural", "the film")]))
        embed = built.get_input_embeddings()
        with torch.no_grad():
            mean = embed(torch.arange(embed.num_embeddings)).mean(0)
        row = 1 if model_type in ("t5", "deberta-v2") else 0
        torch.testing.assert_close(start[0, row], mean, rtol=1e-4, atol=1e-6)


def test_token_beyond_the_embedding(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    tokenizer = tiny.word_tokenizer(special=True)
    tokenizer.add_tokens([f"zz{n}" for n in range(40)])
    model._tokenizer = tokenizer
    with pytest.raises(BrokenModel, match="the model has 64 embeddings"):
        model.prepare([make_probe("natural", "the zz39")])


def test_no_token_at_all(folder: Path) -> None:
    model = load(folder)
    model._tokenizer = tiny.word_tokenizer(special=False)
    with pytest.raises(BrokenModel, match="no token"):
        model.prepare([make_probe("natural", "")])


def test_wrong_probes(model: TextModel) -> None:
    import numpy as np

    with pytest.raises(ValueError, match="text probes"):
        model.prepare([make_probe("noise", np.zeros((4, 4, 3), np.uint8))])


def test_roberta_positions_shorten_the_text(tmp_path: Path) -> None:
    built = tiny.build("roberta", max_position_embeddings=20, pad_token_id=1)
    model = load(tiny.save(tmp_path, built))
    inputs = model.prepare([make_probe("noise", " ".join(["the film"] * 30))])
    assert inputs.mask.shape == (1, 18)
    assert isinstance(inputs, TextInputs)
    model.readouts(inputs)


def byte_level(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "f"), ("Ġ", "the")]
    tokens = ["<s>", "</s>", *alphabet, "th", "the", "Ġf", "Ġthe"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = "\n".join(" ".join(pair) for pair in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n")
    return tokens, merges


def test_byte_level_files_and_leading_spaces(tmp_path: Path) -> None:
    tokens, _ = byte_level(tmp_path)
    plain = read_tokenizer(tmp_path, "gpt2", 64, Limits()).encode("the the fé")
    assert plain.tokens == ["the", "Ġthe", "Ġf", "Ã", "©"]
    wrapped = read_tokenizer(tmp_path, "roberta", 64, Limits()).encode("the fx")
    assert wrapped.tokens == ["<s>", "the", "Ġf", "x", "</s>"]

    built = tiny.build("gpt2", vocab_size=len(tokens))
    built.save_pretrained(tmp_path)
    inputs = load(tmp_path).prepare([make_probe("natural", "the the fé")])
    assert inputs.words[0].tolist() == [0, 1, 2, 2, 2]


def test_random_merges_are_turned_off(tmp_path: Path) -> None:
    tokens, merges = byte_level(tmp_path)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, dropout=0.9))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    read = read_tokenizer(tmp_path, "gpt2", 64, Limits())
    seen = {tuple(read.encode("the the the").tokens) for _ in range(20)}
    assert seen == {("the", "Ġthe", "Ġthe")}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("tokenizer.json", "{", BrokenModel),
        ("tokenizer.json", "[" * 100_000, BrokenModel),
        ("tokenizer.json", '{"version": "1.0"}', BrokenModel),
        ("tokenizer.json", "x" * 3_000_000, UnsafeModel),
        ("vocab.txt", "a\nb\n", BrokenModel),
    ],
)
def test_tokenizers_that_cannot_be_read(
    tmp_path: Path, name: str, content: str, kind: type[ModelError]
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(kind, match=name):
        read_tokenizer(tmp_path, "bert", 64, Limits(tokenizer_bytes=2_000_000))


def test_no_tokenizer(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"no tokenizer\.json"):
        read_tokenizer(tmp_path, "bert", 64, Limits())


def test_large_vocabularies_keep_inner_products() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(40, 30_000, generator=generator)
    logits[20:] += logits[:20]
    exact, folded = torch.softmax(logits, 1), distribution(logits)
    assert folded.shape == (40, MAX_CLASSES)
    gram, sketch = exact @ exact.T, folded @ folded.T
    scale = gram.diagonal().sqrt()
    error = ((sketch - gram) / (scale[:, None] * scale)).abs()
    assert float(error.mean()) < 0.02
    assert float((sketch - gram).sum() / gram.sum()) == pytest.approx(0, abs=0.03)
    assert torch.equal(distribution(logits), folded)
    small = distribution(logits[:, :4096])
    torch.testing.assert_close(small, torch.softmax(logits[:, :4096], 1))


@pytest.mark.parametrize("column", [0, 1, 4999, 151_935])
def test_columns_are_hashed_with_splitmix64(column: int) -> None:
    state = ((column + 1) * 0x9E3779B97F4A7C15) % 2**64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
    state ^= state >> 31
    logits = torch.full((1, 151_936), -1e9)
    logits[0, column] = 0.0
    folded = distribution(logits)
    assert folded.abs().sum() == 1
    assert folded[0, state % 4096] == (-1.0 if (state >> 32) & 1 else 1.0)
