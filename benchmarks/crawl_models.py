"""The models that crawls are timed on: a zoo's, each some twice; and thousands of tiny ones with random weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

from provray.testbed.folders import read_truth, save_model

_WEIGHTS = "model.safetensors"
_SHIFT = 0.01
"""Each tiny model's weights are its base's times 1 ± this."""


def zoo_folder(zoo: Path, folder: Path, count: int) -> int:
    """Lay the models of a zoo out as `folder/zoo/NAME`, then copies of them with one weight changed as
    `folder/again/NAME`, until there are `count`; returns how many of them are copies."""
    paths = [zoo / record.path for record in read_truth(zoo)]
    for number in range(count):
        source = paths[number % len(paths)]
        name = source.relative_to(zoo).as_posix().replace("/", "-")
        again = number // len(paths)
        _copy(
            source, folder / ("again" if again else "zoo") / (f"{name}-{again}" if again else name)
        )
        if again:
            _change_one_weight(folder / "again" / f"{name}-{again}" / _WEIGHTS)
    return max(count - len(paths), 0)


def tiny_folder(folder: Path, count: int) -> None:
    """Save `count` tiny ViTs, BERTs and ResNets in turn as `folder/NUMBER`: random weights, different in each."""
    bases = [folder.parent / f"{folder.name}-bases" / name for name in ("vit", "bert", "resnet")]
    for base, make in zip(bases, (_vit, _bert, _resnet), strict=True):
        torch.manual_seed(7)
        make(base)
    for number in range(count):
        base, own = bases[number % len(bases)], folder / f"{number:05}"
        if own.exists():
            continue
        building = folder / f".{number:05}"
        shutil.rmtree(building, ignore_errors=True)
        _copy(base, building)
        _perturb(building / _WEIGHTS, number)
        building.rename(own)


def _copy(source: Path, folder: Path) -> None:
    """The same files under another name: nothing is written twice."""
    folder.mkdir(parents=True)
    for file in source.iterdir():
        os.link(file, folder / file.name)


def _own(path: Path) -> bytearray:
    """The content of a linked file, which is unlinked so that the other names keep it."""
    raw = bytearray(path.read_bytes())
    path.unlink()
    return raw


def _values(raw: bytearray) -> int:
    """Where the values of a safetensors file begin."""
    return 8 + int.from_bytes(raw[:8], "little")


def _change_one_weight(path: Path) -> None:
    raw = _own(path)
    raw[_values(raw)] ^= 1  # the lowest bit of a mantissa
    path.write_bytes(raw)


def _perturb(path: Path, seed: int) -> None:
    raw = _own(path)
    values = np.frombuffer(raw, "<f4", offset=_values(raw))
    values *= 1 + _SHIFT * np.random.default_rng(seed).standard_normal(len(values), np.float32)
    path.write_bytes(raw)


def _vit(folder: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=24,
        patch_size=8,
        initializer_range=0.2,
    )
    _save(transformers.ViTForImageClassification(config), folder, _image_files(24))


def _resnet(folder: Path) -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic"
    )
    _save(transformers.ResNetForImageClassification(config), folder, _image_files(32))


def _bert(folder: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=80,
        initializer_range=0.2,
    )
    _save(
        transformers.BertForSequenceClassification(config),
        folder,
        lambda into: (into / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8"),
    )


def _image_files(size: int) -> Callable[[Path], object]:
    settings = {
        "size": {"height": size, "width": size},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    return lambda into: (into / "preprocessor_config.json").write_text(json.dumps(settings))


def _save(
    model: transformers.PreTrainedModel, folder: Path, inputs: Callable[[Path], object]
) -> None:
    def write(into: Path) -> None:
        inputs(into)

    if not folder.exists():
        save_model(model.eval(), folder, title=folder.name, inputs=write)
