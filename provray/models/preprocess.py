"""How a vision model wants its pixels: `preprocessor_config.json` read by hand, and applied in
torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from provray.models.errors import BrokenModel, UnsupportedModel
from provray.models.files import Limits, read_json_object

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green, blue in the luminance that one-channel models get (ITU-R BT.601)."""

DEFAULT_SIZE = 224
_SIZES = range(8, 1025)


@dataclass(frozen=True)
class PixelSettings:
    """value = pixel · scale + shift per channel, on an image of height × width pixels with values
    0..255.
    """

    height: int
    width: int
    channels: int
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def apply(self, images: Sequence[np.ndarray], device: str) -> torch.Tensor:
        """uint8 H×W×3 images of any sizes as one float32 batch B×C×height×width on `device`.

        The whole image fills the model's frame: a centre crop, if the model's own pipeline has one,
        is skipped, so that every model sees the same picture and attributions of models with
        different crops stay comparable.
        """
        batch = torch.empty(len(images), self.channels, self.height, self.width)
        by_size: dict[tuple[int, ...], list[int]] = {}
        for row, image in enumerate(images):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(
                    f"an image probe must be uint8 H×W×3, not {image.dtype} {image.shape}"
                )
            by_size.setdefault(image.shape, []).append(row)
        for rows in by_size.values():
            pixels = torch.from_numpy(np.stack([images[row] for row in rows])).permute(0, 3, 1, 2)
            batch[rows] = self._normalise(pixels.float())
        return batch.to(device)

    def _normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.channels == 1:
            pixels = (pixels * torch.tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
        if pixels.shape[2:] != (self.height, self.width):
            pixels = F.interpolate(
                pixels,
                size=(self.height, self.width),
                mode="bilinear",
                antialias=True,
                align_corners=False,
            )
        scale, shift = torch.tensor(self.scale), torch.tensor(self.shift)
        return pixels * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def read_pixel_settings(
    folder: Path, config: Mapping[str, Any], *, fixed_size: bool, limits: Limits
) -> tuple[PixelSettings, list[str]]:
    """The pixel settings of a model folder and warnings about what had to be assumed.

    Defaults: the configured image size or else 224; pixels over 255; ImageNet mean and standard
    deviation.

    Raises:
        UnsupportedModel: channels other than 1 or 3, or a size outside 8..1024.
        BrokenModel: values that are not numbers, or a standard deviation of zero.
    """
    channels = config.get("num_channels", 3)
    if channels not in (1, 3):
        raise UnsupportedModel(f"the model takes {channels} channels; 1 and 3 are supported")
    path = Path(folder) / "preprocessor_config.json"
    warnings: list[str] = []
    settings: dict[str, Any] = {}
    if path.exists():
        settings = read_json_object(path, limits.config_bytes)
    configured = _square(config.get("image_size"))
    size = _input_size(settings)
    if size is None:
        size = configured or (DEFAULT_SIZE, DEFAULT_SIZE)
        missing = (
            "no size in preprocessor_config.json" if settings else "no preprocessor_config.json"
        )
        warnings.append(f"{missing}: size {_times(size)} assumed")
    elif fixed_size and configured and size != configured:
        warnings.append(
            f"preprocessor_config.json asks for {_times(size)}, "
            f"the model takes {_times(configured)}: the latter used"
        )
    if fixed_size and configured:
        size = configured
    if size[0] not in _SIZES or size[1] not in _SIZES:
        raise UnsupportedModel(
            f"the input size {_times(size)} is outside {_SIZES.start}..{_SIZES.stop - 1}"
        )
    scale, shift, assumed = _affine(settings, channels)
    if assumed:
        warnings.append(
            "no image_mean/image_std in preprocessor_config.json: ImageNet values assumed"
        )
    return PixelSettings(size[0], size[1], channels, scale, shift), warnings


def _input_size(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    # The crop is the last step where there is one, so its size is the input size.
    if settings.get("do_center_crop", "crop_size" in settings):
        size = _square(settings.get("crop_size"))
        if size is not None:
            return size
    return _square(settings.get("size"))


def _square(size: Any) -> tuple[int, int] | None:
    if isinstance(size, Mapping):
        both = "height" in size and "width" in size
        size = [size["height"], size["width"]] if both else size.get("shortest_edge")
    if _is_int(size):
        return size, size
    if isinstance(size, list) and len(size) == 2 and all(_is_int(side) for side in size):
        return size[0], size[1]
    return None


def _affine(
    settings: Mapping[str, Any], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """Scale and shift per channel of value = ((pixel · factor − offset) − mean) / std."""
    factor, offset = 1.0, 0.0
    if settings.get("do_rescale", True):
        factor = _number(settings.get("rescale_factor", 1 / 255), "rescale_factor")
        offset = 1.0 if settings.get("rescale_offset", False) is True else 0.0
    scale, shift = [factor] * channels, [-offset] * channels
    if not settings.get("do_normalize", True):
        return tuple(scale), tuple(shift), False
    assumed = settings.get("image_mean") is None or settings.get("image_std") is None
    mean = _per_channel(settings, "image_mean", IMAGENET_MEAN, channels)
    std = _per_channel(settings, "image_std", IMAGENET_STD, channels)
    if min(abs(value) for value in std) < 1e-6:
        raise BrokenModel(f"image_std of {list(std)} divides by zero")
    scale = [s / d for s, d in zip(scale, std, strict=True)]
    shift = [(t - m) / d for t, m, d in zip(shift, mean, std, strict=True)]
    if settings.get("include_top") is True:
        # EfficientNet divides by the standard deviation once more for its classifiers.
        scale = [s / d for s, d in zip(scale, std, strict=True)]
        shift = [t / d for t, d in zip(shift, std, strict=True)]
    return tuple(scale), tuple(shift), assumed


def _per_channel(
    settings: Mapping[str, Any], key: str, default: tuple[float, ...], channels: int
) -> tuple[float, ...]:
    value = settings.get(key)
    if value is None:
        # One channel is luminance, so its statistics are the mean over colours.
        return default if channels == 3 else (sum(default) / 3,)
    values = [_number(item, key) for item in (value if isinstance(value, list) else [value])]
    if len(values) == 1:
        values *= channels
    if len(values) == 3 and channels == 1:
        values = [sum(values) / 3]
    if len(values) != channels:
        raise BrokenModel(f"{key} has {len(values)} values for {channels} channels")
    return tuple(values)


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BrokenModel(f"{key} holds {str(value)[:40]!r}, not a number")
    return float(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
