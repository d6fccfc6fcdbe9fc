"""Making probe sets: the default ones, or one's own from images or texts.

Everything random is drawn from `fingerprints.seeds` and all pixel arithmetic is on integers, so a set comes out the
same on every machine; the default sets are checked against digests written here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from provray.fingerprints.seeds import integers, key_of, permutation
from provray.probes.probe import Modality, Probe, make_probe
from provray.probes.probe_set import ProbeSet, ProbeSetError

DEFAULT_COUNT = 128
"""Probes per stratum of a default set."""
DEFAULT_DIGESTS: dict[Modality, str] = {
    "image": "49cbb016263f3c1bfa3c3ab0d8d41544a78cf1f6b43a3c49edd4eec45d0b3708",
    "text": "6113c693008a0fcc71b36a041ff151661fbf858183f3f597379183437d24471a",
}
TILE = 64
MAX_WORDS = 32
_NOISE_GRIDS = (16, 32, 16, 8)
_MAX_IMAGE_PIXELS = 50_000_000
_IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}

Pixels = npt.NDArray[np.uint8]
_T = TypeVar("_T", Pixels, str)


def default_probes(modality: Modality) -> ProbeSet:
    """The probe set that comes with provray. Raises ProbeSetError if this machine builds another one."""
    if modality == "image":
        probes = _images("default-image", _material_tiles(), DEFAULT_COUNT)
    else:
        probes = _texts("default-text", _material_lines("texts.txt"), DEFAULT_COUNT)
    expected = DEFAULT_DIGESTS[modality]
    if probes.digest != expected:
        raise ProbeSetError(
            f"the default {modality} probes come out as {probes.digest[:12]}… here instead of {expected[:12]}…: "
            "fingerprints would not be comparable with anyone's. Reinstall provray; its probe material is damaged."
        )
    return probes


def probes_from_images(folder: Path, name: str, count: int = DEFAULT_COUNT) -> ProbeSet:
    """A probe set whose natural stratum is `count` images of a folder (searched at any depth).

    Images are cropped to their central square and reduced to 64×64 pixels if larger.
    Raises ProbeSetError if there are fewer than 8 images, or one cannot be read.
    """
    if not folder.is_dir():
        raise ProbeSetError(f"--images {folder} is not a folder")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _IMAGE_ENDINGS)
    chosen: dict[str, tuple[int, Pixels]] = {}
    for i in permutation(key_of("own-images", len(paths)), len(paths)).tolist():
        if len(chosen) == count:
            break
        image = _read_image(paths[i])
        chosen.setdefault(make_probe("natural", image).id, (i, image))
    return _images(name, [image for _, image in sorted(chosen.values(), key=lambda c: c[0])], count)


def probes_from_texts(file: Path, name: str, count: int = DEFAULT_COUNT) -> ProbeSet:
    """A probe set whose natural stratum is `count` lines of a UTF-8 text file, one text a line, cut to 32 words.

    Raises ProbeSetError if there are fewer than 8 different texts of at least 3 words.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProbeSetError(f"cannot read --texts {file}: {error}") from error
    return _texts(name, lines, count)


def _images(name: str, natural: Sequence[Pixels], count: int) -> ProbeSet:
    _require_enough(name, len(natural), "images")
    natural = natural[:count]
    mixed = _until(count, lambda i: _mix_images(natural, key_of("mix-image", i), i % 2 == 0))
    noise = [_noise_image(i) for i in range(count)]
    return _probe_set(name, "image", natural, mixed, noise)


def _texts(name: str, lines: Sequence[str], count: int) -> ProbeSet:
    cleaned = [" ".join(line.split()[:MAX_WORDS]) for line in lines]
    natural = [text for text in dict.fromkeys(cleaned) if len(text.split()) >= 3][:count]
    _require_enough(name, len(natural), "texts of three words or more")
    vocabulary = _material_lines("words.txt")
    mixed = _until(count, lambda i: _splice_texts(natural, key_of("mix-text", i)))
    noise = [_noise_text(vocabulary, key_of("noise-text", i)) for i in range(count)]
    return _probe_set(name, "text", natural, mixed, noise)


def _require_enough(name: str, found: int, what: str) -> None:
    if found < 8:
        raise ProbeSetError(f"probe set {name!r} needs at least 8 different {what}, found {found}")


def _probe_set(
    name: str, modality: Modality, natural: Sequence[_T], mixed: Sequence[_T], noise: Sequence[_T]
) -> ProbeSet:
    parts = (("natural", natural), ("mixed", mixed), ("noise", noise))
    probes: list[Probe] = [make_probe(stratum, c) for stratum, part in parts for c in part]
    return ProbeSet(name, modality, tuple(probes))


def _until(count: int, make: Callable[[int], _T]) -> list[_T]:
    """`count` different results of make(0), make(1), ... (few inputs can give the same mixture twice)."""
    kept: dict[str, _T] = {}
    for i in range(20 * count):
        made = make(i)
        kept.setdefault(make_probe("mixed", made).id, made)
        if len(kept) == count:
            return list(kept.values())
    raise ProbeSetError(f"only {len(kept)} of {count} mixtures differ; give more different inputs")


def _mix_images(natural: Sequence[Pixels], key: int, blend: bool) -> Pixels:
    """Two different images, blended (mixup, weights 5:3 to 3:5) or with a rectangle exchanged (cutmix)."""
    a, b = permutation(key, len(natural))[:2]
    first, second = natural[a], _resize(natural[b], natural[a].shape[0])
    draw = integers(key_of(key, "draw"), 4, 2**16)
    if blend:
        share = 3 + draw[0] % 3
        mixed = (first.astype(np.int64) * share + second.astype(np.int64) * (8 - share)) // 8
        return mixed.astype(np.uint8)
    size = first.shape[0]
    height, width = size // 2 + draw[0] % (size // 4 + 1), size // 2 + draw[1] % (size // 4 + 1)
    top, left = draw[2] % (size - height + 1), draw[3] % (size - width + 1)
    result = first.copy()
    result[top : top + height, left : left + width] = second[
        top : top + height, left : left + width
    ]
    return result


def _noise_image(number: int) -> Pixels:
    """Independent random pixels on a coarse or fine grid; every model enlarges or reduces it to its own size."""
    grid = _NOISE_GRIDS[number % len(_NOISE_GRIDS)]
    values = integers(key_of("noise-image", number), grid * grid * 3, 256)
    return values.astype(np.uint8).reshape(grid, grid, 3)


def _splice_texts(natural: Sequence[str], key: int) -> str:
    """The beginning of one text and the end of another."""
    a, b = permutation(key, len(natural))[:2]
    first, second = natural[a].split(), natural[b].split()
    return " ".join(first[: (len(first) + 1) // 2] + second[len(second) // 2 :])


def _noise_text(vocabulary: Sequence[str], key: int) -> str:
    """8 to 20 random words."""
    length = 8 + int(integers(key, 1, 13)[0])
    return " ".join(vocabulary[i] for i in integers(key_of(key, "words"), length, len(vocabulary)))


def _resize(image: Pixels, size: int) -> Pixels:
    """Square image to size×size by taking nearest pixels (exact on every machine)."""
    index = (np.arange(size) * image.shape[0]) // size
    return image[index][:, index]


def _read_image(path: Path) -> Pixels:
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > _MAX_IMAGE_PIXELS:
                raise ProbeSetError(f"{path} has more than {_MAX_IMAGE_PIXELS:,} pixels; reduce it")
            image = opened.convert("RGB")
    except ProbeSetError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow's readers of single formats raise all of these for files that are damaged.
        raise ProbeSetError(f"cannot read image {path}: {error}; remove it or repair it") from error
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side > TILE:
        image = image.resize((TILE, TILE), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.uint8)


def _material_lines(file: str) -> list[str]:
    text = (resources.files("provray.probes") / "material" / file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip()]


def _material_tiles() -> list[Pixels]:
    source = resources.files("provray.probes") / "material" / "natural.png"
    with source.open("rb") as file, Image.open(file) as opened:
        sprite = np.asarray(opened.convert("RGB"), dtype=np.uint8)
    rows, columns = sprite.shape[0] // TILE, sprite.shape[1] // TILE
    return [
        sprite[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE].copy()
        for r in range(rows)
        for c in range(columns)
    ]
