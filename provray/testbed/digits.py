"""Real handwritten digits as 16×16 images, cut into parts that never mix, and what is done to them.

scikit-learn ships 1,797 digits of 8×8 pixels (UCI, optical recognition of handwritten digits). They are
enlarged to 16×16. The cut is fixed for all zoos, so no model is ever trained on a digit that measures
another one: `train` for bases and children, `test` for accuracy and fidelity only, `probe` for probe
sets of the models' own domain, `cohort` for the reference cohort.

Images are float32 in [0, 1], N×1×16×16 (grey) or N×3×16×16 (tinted).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Part = Literal["train", "test", "probe", "cohort"]
SIZE = 16
SPLIT_SEED = 20231
_COUNTS: tuple[tuple[Part, int], ...] = (
    ("train", 1000),
    ("test", 250),
    ("probe", 250),
    ("cohort", 297),
)

#: Labelling tasks on the same ten classes: name -> label of each of them.
TASKS: Mapping[str, tuple[int, ...]] = {
    "digit": (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    "parity": (0, 1, 0, 1, 0, 1, 0, 1, 0, 1),
    "five or more": (0, 0, 0, 0, 0, 1, 1, 1, 1, 1),
    "pairs": (0, 0, 1, 1, 2, 2, 3, 3, 4, 4),
    "holes": (1, 0, 0, 0, 0, 0, 1, 0, 2, 1),
    # kinds of clothes, for Fashion-MNIST: tops, trousers, dresses, shoes, bags
    "kind": (0, 1, 0, 2, 0, 3, 0, 3, 4, 3),
}

Augment = Callable[[Tensor, torch.Generator], Tensor]


def generator(*seeds: int) -> torch.Generator:
    """Return a generator seeded by several integers; different tuples give unrelated streams."""
    state = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    # torch takes signed 64 bits
    return torch.Generator().manual_seed(int(state) >> 1)


@lru_cache(maxsize=1)
def _all_digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.images / 16.0, dtype=torch.float32)[:, None]
    images = F.interpolate(images, (SIZE, SIZE), mode="bilinear", align_corners=False)
    labels = torch.tensor(bunch.target, dtype=torch.long)
    order = torch.randperm(len(labels), generator=generator(SPLIT_SEED))
    return images[order], labels[order]


def digits(part: Part) -> tuple[Tensor, Tensor]:
    """Return (images N×1×16×16 in [0, 1], digits N) of one part of the fixed cut."""
    images, labels = _all_digits()
    begin = 0
    for name, count in _COUNTS:
        if name == part:
            return images[begin : begin + count], labels[begin : begin + count]
        begin += count
    raise ValueError(f"part {part!r} is none of {', '.join(name for name, _ in _COUNTS)}")


def relabel(labels: Tensor, task: str) -> Tensor:
    """Return the labels of `task` (a key of TASKS) for digits 0..9."""
    if task not in TASKS:
        raise ValueError(f"task {task!r} is none of {', '.join(TASKS)}")
    return torch.tensor(TASKS[task])[labels]


def classes(task: str) -> int:
    """Return the number of classes of `task`."""
    return max(TASKS[task]) + 1


def tint(images: Tensor, draw: torch.Generator) -> Tensor:
    """Give every grey image a random light ink on a random dark paper: N×1×H×W to N×3×H×W."""
    count = len(images)
    ink = 0.45 + 0.55 * torch.rand(count, 3, 1, 1, generator=draw)
    paper = 0.4 * torch.rand(count, 3, 1, 1, generator=draw)
    return paper + (ink - paper) * images


def shift(images: Tensor, draw: torch.Generator, reach: int = 1) -> Tensor:
    """Move each batch by up to `reach` pixels in both directions."""
    dx, dy = torch.randint(-reach, reach + 1, (2,), generator=draw).tolist()
    return torch.roll(images, (dx, dy), (2, 3))


def augmented(channels: int, *, strong: bool = False) -> Augment:
    """Return the training augmentation: shifts, tint if `channels` is 3; `strong` adds contrast and noise."""

    def augment(images: Tensor, draw: torch.Generator) -> Tensor:
        images = shift(images, draw)
        if strong:
            contrast = 0.6 + 0.4 * torch.rand(len(images), 1, 1, 1, generator=draw)
            noise = 0.08 * torch.randn(images.shape, generator=draw)
            images = (images * contrast + noise).clamp(0, 1)
        return tint(images, draw) if channels == 3 else images

    return augment


def coloured(images: Tensor, channels: int, seed: int) -> Tensor:
    """Return `images` with `channels` channels: as they are, or tinted by `seed`."""
    return tint(images, generator(seed, 3)) if channels == 3 else images


def mixtures(images: Tensor, count: int, seed: int, *, noise: float = 0.0) -> Tensor:
    """Return `count` inputs mixed from `images`: half mixup, half cutmix, a share `noise` random pixels.

    Mixup blends two images by a weight in [0.2, 0.8]; cutmix puts a window of 4 to 12 pixels of one into
    another. Random pixels are smoothed by a random amount, so that they have structure at several scales.
    """
    draw = generator(seed, 5)
    first = images[torch.randint(len(images), (count,), generator=draw)]
    second = images[torch.randint(len(images), (count,), generator=draw)]
    weight = 0.2 + 0.6 * torch.rand(count, 1, 1, 1, generator=draw)
    size = images.shape[-1]
    low, high = size // 4, 3 * size // 4
    extent = torch.randint(low, high + 1, (count, 2), generator=draw)
    corner = (torch.rand(count, 2, generator=draw) * (size + 1 - extent)).long()
    axis = torch.arange(size)
    inside = (axis >= corner[..., None]) & (axis < (corner + extent)[..., None])
    window = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None].float()
    use_window = (torch.arange(count) % 2 == 1)[:, None, None, None]
    weight = torch.where(use_window, window, weight)
    mixed = weight * second + (1 - weight) * first
    rough = round(noise * count)
    if rough:
        pixels = torch.rand(rough, *images.shape[1:], generator=draw)
        coarse = F.interpolate(pixels[..., ::4, ::4], pixels.shape[-2:], mode="bilinear")
        share = torch.rand(rough, 1, 1, 1, generator=draw)
        mixed[torch.randperm(count, generator=draw)[:rough]] = share * pixels + (1 - share) * coarse
    return mixed


def as_pictures(images: Tensor) -> np.ndarray:
    """Return images as a probe set wants them: uint8, N×H×W×3."""
    pictures = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    return pictures.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
