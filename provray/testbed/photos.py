"""Labelled crops of the photographs and textures that scikit-image ships: data with nothing of digits.

Images are float32 in [0, 1], N×3×S×S.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from provray.testbed.assets import photo
from provray.testbed.digits import generator

PHOTOS = (
    "astronaut.png",
    "brick.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "ihc.png",
    "moon.png",
    "page.png",
    "rocket.jpg",
    "motorcycle_left.png",
)


@lru_cache(maxsize=len(PHOTOS))
def _pixels(name: str) -> Tensor:
    return torch.tensor(photo(name)).permute(2, 0, 1).float() / 255


def crops(
    names: Sequence[str], count: int, size: int, seed: int, *, low: float = 0.15, high: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Return `count` square crops resized to `size` and, for each, the index of its photo in `names`.

    A crop's side is between `low` and `high` of the photo's shorter side.
    """
    draw = generator(seed, 9)
    labels = torch.arange(count) % len(names)
    images = torch.empty(count, 3, size, size)
    for at, label in enumerate(labels.tolist()):
        pixels = _pixels(names[label])
        height, width = pixels.shape[1:]
        share, top, left = torch.rand(3, generator=draw).tolist()
        side = int((low + (high - low) * share) * min(height, width))
        y, x = int(top * (height - side)), int(left * (width - side))
        window = pixels[None, :, y : y + side, x : x + side]
        images[at] = F.interpolate(window, (size, size), mode="bilinear", antialias=True)[0]
    return images, labels


def turned(images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Turn each image by a random number of quarters, 0 to 3, which is then its label."""
    quarters = torch.randint(4, (len(images),), generator=generator(seed, 10))
    pairs = zip(images, quarters.tolist(), strict=True)
    return torch.stack([torch.rot90(image, turns, (1, 2)) for image, turns in pairs]), quarters
