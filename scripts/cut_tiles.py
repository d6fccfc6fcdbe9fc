"""Cut the 128 natural image tiles of the default image probe set.

Run from the root of the repository, with scikit-image installed (extra ``testbed``)::

    python scripts/cut_tiles.py            # writes provray/probes/material/natural.png
    python scripts/cut_tiles.py --check    # cuts again, compares with the file that is there

The result is one lossless PNG sprite of 16 x 8 tiles, each 64 x 64 pixels, RGB. The tiles are
square crops of 64 to 256 pixels from photographs that scikit-image ships and whose docstring there
states CC0, the public domain, or no known copyright restrictions: the README.md beside the sprite
lists them. Crops are drawn by SHA-256 of a seed, the photo's name and a counter, and shrunk by
exact area averages in integers, so the script gives the same pixels wherever the photographs
decode to the same pixels. Three of them are JPEG files, whose decoders may differ by a grey level:
so the sprite in the repository is what counts, and this script says how it was made.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

SEED = "provray natural tiles 1"
TILE = 64
COLUMNS, ROWS = 16, 8
SMALLEST_CROP, LARGEST_CROP = 64, 256
LEAST_STD = 12.0
MOST_OVERLAP = 0.4
OUTPUT = Path(__file__).resolve().parent.parent / "provray/probes/material/natural.png"

# Tiles per photo: colourful, varied photographs first; textures and grey ones a few each.
SHARES = {
    "astronaut": 20,
    "coffee": 20,
    "chelsea": 16,
    "rocket": 12,
    "hubble_deep_field": 12,
    "immunohistochemistry": 12,
    "retina": 6,
    "camera": 8,
    "coins": 6,
    "brick": 4,
    "clock": 4,
    "grass": 4,
    "gravel": 4,
}


@dataclass(frozen=True)
class Crop:
    """A square region of a photo, in pixels."""

    top: int
    left: int
    side: int

    def overlap(self, other: Crop) -> float:
        """Intersection over union of two crops, 0 to 1."""
        height = min(self.top + self.side, other.top + other.side) - max(self.top, other.top)
        width = min(self.left + self.side, other.left + other.side) - max(self.left, other.left)
        shared = max(height, 0) * max(width, 0)
        return shared / (self.side**2 + other.side**2 - shared)


def draw(name: str, counter: int, limit: int, what: str) -> int:
    """A number in 0 .. limit - 1, fixed by the seed and the arguments alone."""
    digest = hashlib.sha256(f"{SEED}/{name}/{counter}/{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % limit


def shrink(pixels: np.ndarray, size: int) -> np.ndarray:
    """Area average of a square uint8 image S x S x C to size x size x C, exact, rounded half up."""
    side = pixels.shape[0]
    edges = np.arange(max(side, size) + 1, dtype=np.int64)
    # In units of 1 / (side * size) of the image, target t spans [t, t + 1) * side and source i
    # spans [i, i + 1) * size: every overlap is an integer, those of one target add up to `side`.
    target, source = edges[: size + 1] * side, edges[: side + 1] * size
    overlap = np.minimum(target[1:, None], source[None, 1:]) - np.maximum(
        target[:-1, None], source[None, :-1]
    )
    weights = np.clip(overlap, 0, None)
    total = np.einsum("ti,ijc,uj->tuc", weights, pixels.astype(np.int64), weights, optimize=True)
    return ((2 * total + side**2) // (2 * side**2)).astype(np.uint8)


def photo(name: str) -> np.ndarray:
    """A photo of scikit-image as uint8 H x W x 3; a grey one has its channel three times."""
    pixels = np.asarray(getattr(data, name)())
    if pixels.dtype != np.uint8:
        raise SystemExit(f"{name} is {pixels.dtype}, expected uint8: another scikit-image?")
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def cut(name: str, count: int) -> list[np.ndarray]:
    """`count` tiles of one photo: varied in scale and place, none near constant, little overlap."""
    pixels = photo(name)
    height, width = pixels.shape[:2]
    taken: list[Crop] = []
    tiles: list[np.ndarray] = []
    for counter in range(20_000):
        if len(tiles) == count:
            return tiles
        largest = min(LARGEST_CROP, height, width)
        side = SMALLEST_CROP + draw(name, counter, largest - SMALLEST_CROP + 1, "side")
        crop = Crop(
            top=draw(name, counter, height - side + 1, "top"),
            left=draw(name, counter, width - side + 1, "left"),
            side=side,
        )
        if any(crop.overlap(other) > MOST_OVERLAP for other in taken):
            continue
        region = pixels[crop.top : crop.top + side, crop.left : crop.left + side]
        tile = shrink(region, TILE)
        # About each channel's own mean: a flat patch of one saturated colour must not pass.
        if tile.std(axis=(0, 1)).mean() > LEAST_STD:
            taken.append(crop)
            tiles.append(tile)
    raise SystemExit(f"{name} yields {len(tiles)} tiles, {count} wanted")


def sprite() -> np.ndarray:
    """All tiles as one image, photos interleaved so that every stretch of tiles is a mixture."""
    placed = [
        ((number + 0.5) / count, order, tile)
        for order, (name, count) in enumerate(SHARES.items())
        for number, tile in enumerate(cut(name, count))
    ]
    placed.sort(key=lambda item: item[:2])
    tiles = np.stack([tile for _, _, tile in placed])
    grid = tiles.reshape(ROWS, COLUMNS, TILE, TILE, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(ROWS * TILE, COLUMNS * TILE, 3)


def main() -> int:
    """Write the sprite, or compare it with the one in place; 1 if they differ."""
    parser = argparse.ArgumentParser(description="Cut the natural image tiles.")
    parser.add_argument("--check", action="store_true", help="compare with the file in place")
    pixels = sprite()
    if parser.parse_args().check:
        difference = np.abs(pixels.astype(int) - np.asarray(Image.open(OUTPUT)).astype(int))
        print(f"largest difference: {difference.max()} grey levels")
        return int(difference.max() > 1)
    Image.fromarray(pixels).save(OUTPUT, optimize=True)
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size:,} bytes, pixels sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
