"""Image collections under one name: grey 16×16 pictures in ten classes, cut into parts that never mix.

`digits` are scikit-learn's 1,797 handwritten digits (`digits.digits`). `fashion` is Fashion-MNIST (Xiao
et al., 2017, MIT licence; Debian package `dataset-fashion-mnist`), reduced from 28×28 by area. `train` is
for bases and children, `thief` holds what a thief owns (nothing a victim was trained on; digits are too few
for that), `test` is for accuracy and fidelity only, `probe` for probe sets.
"""

import gzip
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from provray.testbed.assets import MissingAsset
from provray.testbed.digits import SIZE, digits, generator

Pictures = Literal["digits", "fashion"]
PicturePart = Literal["train", "thief", "test", "probe"]
FOLDER_VARIABLE = "PROVRAY_FASHION_MNIST"
_DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SPLIT_SEED = 20233
_TRAIN_COUNTS: Mapping[str, tuple[int, int]] = {"train": (0, 4000), "thief": (4000, 14000)}
_TEST_COUNTS: Mapping[str, tuple[int, int]] = {"test": (0, 250), "probe": (250, 500)}


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes (the format of MNIST). Raises ValueError for anything else."""
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * data[3]:
        raise ValueError(f"{path.name} is no IDX file of unsigned bytes")
    rank = data[3]
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * rank)
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{path.name} declares {shape} and holds {values.size} values")
    return values.reshape(shape)


def fashion_folder() -> Path:
    """Where Fashion-MNIST lies: the folder that PROVRAY_FASHION_MNIST names, else Debian's. Raises MissingAsset."""
    named = Path(os.environ.get(FOLDER_VARIABLE, _DEBIAN_FOLDER))
    for folder in (named, _DEBIAN_FOLDER):
        if (folder / "train-images-idx3-ubyte.gz").is_file():
            return folder
    raise MissingAsset(
        f"Fashion-MNIST is not in {named}: `make fashion` unpacks it into .cache/fashion-mnist (set "
        f"{FOLDER_VARIABLE} to that folder), or install Debian's package dataset-fashion-mnist"
    )


@lru_cache(maxsize=2)
def _fashion(file: str) -> tuple[Tensor, Tensor]:
    folder = fashion_folder()
    pixels = read_idx(folder / f"{file}-images-idx3-ubyte.gz")
    labels = torch.tensor(read_idx(folder / f"{file}-labels-idx1-ubyte.gz"), dtype=torch.long)
    order = torch.randperm(len(labels), generator=generator(SPLIT_SEED, len(labels)))[:14000]
    images = torch.tensor(pixels[order.numpy()], dtype=torch.float32)[:, None] / 255
    return F.interpolate(images, (SIZE, SIZE), mode="area"), labels[order]


def pictures(name: Pictures, part: PicturePart) -> tuple[Tensor, Tensor]:
    """Return (images N×1×16×16 in [0, 1], labels N of ten classes) of one part of a collection."""
    if name == "digits":
        return digits("train" if part == "thief" else part)
    if name != "fashion":
        raise ValueError(f"pictures {name!r} are none of {', '.join(get_args(Pictures))}")
    for file, counts in (("train", _TRAIN_COUNTS), ("t10k", _TEST_COUNTS)):
        if part in counts:
            images, labels = _fashion(file)
            begin, end = counts[part]
            return images[begin:end], labels[begin:end]
    raise ValueError(f"part {part!r} is none of {', '.join(get_args(PicturePart))}")
