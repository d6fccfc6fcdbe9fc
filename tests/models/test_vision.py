"""Pixels in, attributions out: preprocessing and the common grid of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from provray.models.adapter import require_finite
from provray.models.checkpoint import Limits, open_checkpoint
from provray.models.errors import BrokenModel, ModelError, UnsupportedModel
from provray.models.load import load_model
from provray.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, read_pixel_settings
from provray.models.vision import ImageInputs, VisionModel
from provray.probes.probe import make_probe
from tests.models import tiny


def settings(
    folder: Path, content: dict[str, Any] | None, config: Any = None, fixed: bool = False
) -> Any:
    if content is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return read_pixel_settings(folder, config or {}, fixed_size=fixed, limits=Limits())


@pytest.mark.parametrize(
    ("content", "size"),
    [
        ({"size": 96}, (96, 96)),
        ({"size": [64, 96]}, (64, 96)),
        ({"size": {"height": 64, "width": 96}}, (64, 96)),
        ({"size": {"shortest_edge": 96}}, (96, 96)),
        ({"size": {"shortest_edge": 128}, "crop_size": 112}, (112, 112)),
        ({"size": {"shortest_edge": 128}, "crop_size": {"height": 112, "width": 96}}, (112, 96)),
        ({"size": 96, "crop_size": 64, "do_center_crop": False}, (96, 96)),
    ],
)
def test_input_sizes(tmp_path: Path, content: dict[str, Any], size: tuple[int, int]) -> None:
    content |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    found, warnings = settings(tmp_path, content)
    assert (found.height, found.width) == size
    assert warnings == []


def test_defaults_and_warnings(tmp_path: Path) -> None:
    found, warnings = settings(tmp_path, None)
    assert (found.height, found.width, found.channels) == (224, 224, 3)
    assert warnings == [
        "no preprocessor_config.json: size 224×224 assumed",
        "no image_mean/image_std in preprocessor_config.json: ImageNet values assumed",
    ]
    white = torch.tensor(found.scale) * 255 + torch.tensor(found.shift)
    expected = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    torch.testing.assert_close(white, expected)
    found, warnings = settings(tmp_path, {"size": 96}, {"image_size": 32}, fixed=True)
    assert found.height == 32
    assert "asks for 96×96, the model takes 32×32" in warnings[0]
    found, _ = settings(tmp_path, {"do_normalize": False, "size": 32})
    assert found.scale == (1 / 255,) * 3
    found, _ = settings(tmp_path, {"do_normalize": False, "do_rescale": False, "size": 32})
    assert found.scale == (1.0,) * 3
    found, _ = settings(
        tmp_path, {"do_normalize": False, "rescale_factor": 1 / 127.5, "rescale_offset": True}
    )
    assert found.shift == (-1.0,) * 3


@pytest.mark.parametrize(
    ("content", "config", "kind"),
    [
        ({"size": 4}, {}, UnsupportedModel),
        ({"size": 10**9}, {}, UnsupportedModel),
        ({"size": -5}, {}, UnsupportedModel),
        ({"size": 32, "image_mean": [0.5] * 4, "image_std": [0.5] * 3}, {}, BrokenModel),
        ({"size": 32, "image_mean": [0.5] * 3, "image_std": [0.0] * 3}, {}, BrokenModel),
        ({"size": 32, "image_mean": ["x"] * 3, "image_std": [0.5] * 3}, {}, BrokenModel),
        ({"size": 32, "rescale_factor": "x"}, {}, BrokenModel),
        ({"size": 32}, {"num_channels": 7}, UnsupportedModel),
    ],
)
def test_settings_that_cannot_be(
    tmp_path: Path, content: dict[str, Any], config: dict[str, Any], kind: type[ModelError]
) -> None:
    with pytest.raises(kind):
        settings(tmp_path, content, config)


def test_pixels_match_pillow(tmp_path: Path) -> None:
    found, _ = settings(tmp_path, {"size": 40, "do_normalize": False})
    image = np.asarray(
        Image.fromarray(
            np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        ).resize((128, 128), Image.Resampling.BICUBIC)
    )
    batch = found.apply([image, image[:64, :64], image], "cpu")
    assert batch.shape == (3, 3, 40, 40)
    assert torch.equal(batch[0], batch[2])
    expected = np.asarray(Image.fromarray(image).resize((40, 40), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(batch[0].permute(1, 2, 0) * 255, expected, atol=1.01)


def test_one_channel_gets_luminance(tmp_path: Path) -> None:
    content = {"size": 8, "do_normalize": False, "do_rescale": False}
    found, _ = settings(tmp_path, content, {"num_channels": 1})
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    batch = found.apply([red], "cpu")
    assert batch.shape == (1, 1, 8, 8)
    torch.testing.assert_close(batch.unique(), torch.tensor([200 * 0.299]))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VisionModel:
    folder = tiny.save(
        tmp_path_factory.mktemp("m"), tiny.build("resnet", "ResNetForImageClassification")
    )
    loaded = load_model(open_checkpoint(folder))
    assert isinstance(loaded, VisionModel)
    return loaded


@pytest.mark.parametrize("size", [(224, 224), (32, 32), (16, 16), (28, 28), (9, 11), (50, 70)])
def test_attributions_keep_their_sum_and_place(model: VisionModel, size: tuple[int, int]) -> None:
    g = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    inputs = ImageInputs(torch.zeros(2, 3, *size))
    grid = model.attribute(g, inputs)
    assert grid.shape == (2, 256)
    torch.testing.assert_close(grid.sum(1), g.sum(dim=(1, 2, 3)), rtol=1e-4, atol=1e-3)
    even = model.attribute(torch.ones_like(g), inputs)
    torch.testing.assert_close(even, torch.full_like(even, 3 * size[0] * size[1] / 256))
    corner = torch.zeros_like(g)
    corner[:, 0, 0, 0] = 1
    placed = model.attribute(corner, inputs).reshape(2, 16, 16)
    reach = [-(-16 // side) for side in size]
    assert float(placed[:, : reach[0], : reach[1]].sum()) == pytest.approx(2)


def test_labels_of_one_logit_and_one_channel(tmp_path: Path) -> None:
    built = tiny.build("vit", "ViTForImageClassification", num_labels=1, num_channels=1)
    folder = tiny.save(
        tmp_path, built, preprocessor={"size": 24, "image_mean": [0.5], "image_std": [0.5]}
    )
    model = load_model(open_checkpoint(folder))
    image = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    inputs = model.prepare([make_probe("noise", image)])
    probabilities = model.readouts(inputs).probabilities
    assert probabilities is not None
    assert probabilities.shape == (1, 2)
    assert float(probabilities.sum()) == pytest.approx(1)


def test_only_values_that_are_not_finite_are_broken() -> None:
    large = torch.full((2, 3), 3e38)  # so large that their sum is infinite
    require_finite([large, large], None)
    with pytest.raises(BrokenModel, match="hidden state 1"):
        require_finite([large, torch.tensor([[1.0], [torch.inf]])], large)
    with pytest.raises(BrokenModel, match="probabilities"):
        require_finite([large], torch.tensor([[0.0], [torch.nan]]))


def test_wrong_probes(model: VisionModel) -> None:
    with pytest.raises(ValueError, match="image probes"):
        model.prepare([make_probe("natural", "a text")])
    with pytest.raises(ValueError, match="image probes"):
        model.prepare([])
    with pytest.raises(ValueError, match="uint8"):
        model.prepare([make_probe("noise", np.zeros((8, 8, 4), np.uint8))])
    inputs = model.prepare([make_probe("noise", np.zeros((8, 8, 3), np.uint8))] * 2)
    with pytest.raises(ValueError, match="do not divide"):
        model.scalars(torch.zeros(3, 3, 32, 32), inputs, None)
