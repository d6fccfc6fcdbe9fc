"""Default sets with a digest of their own, and sets made from one's own images and texts."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from provray.fingerprints.settings import STRATA
from provray.probes import (
    DEFAULT_COUNT,
    Modality,
    ProbeSet,
    ProbeSetError,
    default_probes,
    make_probe,
    probes_from_images,
    probes_from_texts,
)

Pixels = npt.NDArray[np.uint8]


def _picture(number: int, height: int = 20, width: int = 20) -> Pixels:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _folder(root: Path, count: int, **shape: int) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(_picture(i, **shape)).save(root / f"{i:03d}.png")
    return root


def _lines(count: int) -> list[str]:
    return [f"line {i} says something of its own {'again ' * (i % 5)}" for i in range(count)]


def _file(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _contents(probes: ProbeSet, stratum: str) -> list[bytes]:
    return [p.content.tobytes() for p in probes.stratum(stratum) if not isinstance(p.content, str)]


# --- default sets


@pytest.mark.parametrize(
    ("modality", "digest"),
    [
        ("image", "49cbb016263f3c1bfa3c3ab0d8d41544a78cf1f6b43a3c49edd4eec45d0b3708"),
        ("text", "6113c693008a0fcc71b36a041ff151661fbf858183f3f597379183437d24471a"),
    ],
)
def test_default_sets_are_frozen(modality: Modality, digest: str) -> None:
    probes = default_probes(modality)
    assert probes.digest == digest
    assert probes.modality == modality
    assert [len(probes.stratum(s)) for s in STRATA] == [DEFAULT_COUNT] * 3
    assert list(dict.fromkeys(p.stratum for p in probes.probes)) == list(STRATA)


def test_default_images_are_rgb_squares_that_vary() -> None:
    for probe in default_probes("image").probes:
        assert isinstance(probe.content, np.ndarray)
        assert probe.content.dtype == np.uint8
        height, width, channels = probe.content.shape
        assert height == width
        assert channels == 3
        assert probe.content.std() > 0


def test_default_texts_are_words_apart_by_single_spaces() -> None:
    for probe in default_probes("text").probes:
        assert isinstance(probe.content, str)
        words = probe.content.split(" ")
        assert all(words)
        assert probe.content == " ".join(probe.content.split())
        assert 3 <= len(words) <= 33


def test_probe_ids_are_frozen_and_tell_stratum_and_content_apart() -> None:
    assert make_probe("noise", "red blue").id == "cafb8a71977204d2"
    assert make_probe("mixed", "red blue").id == "311526f0a435e1e1"
    pixels = np.arange(12, dtype=np.uint8)
    assert make_probe("noise", pixels.reshape(2, 2, 3)).id == "e2c6d7dd50aaa615"
    assert make_probe("noise", pixels.reshape(1, 4, 3)).id != "e2c6d7dd50aaa615"


# --- images


def test_an_image_folder_makes_three_strata(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "a", 6)
    _folder(tmp_path / "a" / "deeper" / "still", 12)  # the first six of them once more
    (folder / "notes.txt").write_text("no image")
    probes = probes_from_images(folder, "own", count=20)
    assert probes.name == "own"
    assert probes.modality == "image"
    assert [p.stratum for p in probes.probes] == ["natural"] * 12 + ["mixed"] * 20 + ["noise"] * 20
    assert set(_contents(probes, "natural")) == {_picture(i).tobytes() for i in range(12)}
    assert len(set(_contents(probes, "mixed"))) == 20
    assert not set(_contents(probes, "mixed")) & set(_contents(probes, "natural"))


def test_the_same_pictures_under_other_names_and_formats_are_the_same_set(tmp_path: Path) -> None:
    first = probes_from_images(_folder(tmp_path / "a", 10), "a", count=10)
    again = tmp_path / "b"
    again.mkdir()
    for i in range(10):
        Image.fromarray(_picture(i)).save(again / f"picture-{i:03d}.BMP")
    second = probes_from_images(again, "b", count=10)
    assert first.digest == second.digest
    one_pixel = _picture(9)
    one_pixel[3, 3, 0] ^= 1
    Image.fromarray(one_pixel).save(again / "picture-009.BMP")
    assert probes_from_images(again, "b", count=10).digest != first.digest


def test_mixtures_are_made_of_the_images_given(tmp_path: Path) -> None:
    """Black and white pictures: a blend is grey at the stated shares, a cut keeps both colours."""
    for i in range(8):
        picture = np.full((16, 16, 3), 0 if i < 4 else 240, np.uint8)
        picture[0, 0] = i  # eight different pictures
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    probes = probes_from_images(tmp_path, "own", count=16)
    values = set()
    for probe in probes.stratum("mixed"):
        assert isinstance(probe.content, np.ndarray)
        values |= set(np.unique(probe.content[1:, 1:]).tolist())
    assert values <= {0, 240, 240 * 3 // 8, 240 * 4 // 8, 240 * 5 // 8}
    assert values & {90, 120, 150}


def test_large_images_are_cropped_to_their_middle_and_reduced(tmp_path: Path) -> None:
    for i in range(8):
        picture = np.zeros((128, 300, 3), np.uint8)
        picture[:, 86:214] = 40 + i  # the central square
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    for probe in probes_from_images(tmp_path, "own", count=8).stratum("natural"):
        assert isinstance(probe.content, np.ndarray)
        assert probe.content.shape == (64, 64, 3)
        assert probe.content.min() == probe.content.max() >= 40


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(_picture(i)[:, :, 0]).save(tmp_path / f"grey{i}.png")
        Image.fromarray(_picture(i)).convert("RGBA").save(tmp_path / f"rgba{i}.png")
    for probe in probes_from_images(tmp_path, "own", count=8).stratum("natural"):
        assert isinstance(probe.content, np.ndarray)
        assert probe.content.shape == (20, 20, 3)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_images_are_an_error_that_counts_them(tmp_path: Path, count: int) -> None:
    with pytest.raises(ProbeSetError, match=rf"at least 8 different images, found {count}"):
        probes_from_images(_folder(tmp_path, count), "own")


def test_copies_of_an_image_count_once(tmp_path: Path) -> None:
    _folder(tmp_path / "a", 7)
    _folder(tmp_path / "b", 7)
    with pytest.raises(ProbeSetError, match="found 7"):
        probes_from_images(tmp_path, "own")


def test_copies_do_not_take_the_place_of_other_images(tmp_path: Path) -> None:
    """16 different images, each there twice, and 16 wanted: copies must not make the set smaller."""
    _folder(tmp_path / "a", 16)
    _folder(tmp_path / "b", 16)
    assert len(probes_from_images(tmp_path, "own", count=16).stratum("natural")) == 16


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", _file(tmp_path / "file.png", ["x"])):
        with pytest.raises(ProbeSetError, match=path.name):
            probes_from_images(path, "own")


def _bad_chunk_png() -> bytes:
    """A PNG whose second chunk has a name that no chunk can have: found only when the pixels are read."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 20, 20, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * (20 * 61))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", pixels[:5])
        + chunk(b"\x7f\xa9\x1c~", b"")
        + chunk(b"IDAT", pixels[5:])
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.png", b"this is no picture"),
        ("empty.jpg", b""),
        ("truncated.ppm", b"P6 20 20 255 \x00\x01"),
        ("numberless.ppm", b"P6 2\x955 20 255 " + b"\0" * 1500),
        ("chunk.png", _bad_chunk_png()),
    ],
    ids=["no-image", "empty", "truncated", "no-number", "bad-chunk"],
)
def test_an_unreadable_image_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (_folder(tmp_path, 8) / name).write_bytes(content)
    with pytest.raises(ProbeSetError, match=name):
        probes_from_images(tmp_path, "own")


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """A header alone: 8,000 × 8,000 pixels declared, none there."""
    (_folder(tmp_path, 8) / "bomb.ppm").write_bytes(b"P6 8000 8000 255\n")
    with pytest.raises(ProbeSetError, match=r"bomb\.ppm.*pixels"):
        probes_from_images(tmp_path, "own")


# --- texts


def test_a_text_file_makes_three_strata(tmp_path: Path) -> None:
    lines = [*_lines(10), "", "too short", "  line  0\tsays something of its own  ", "w " * 50]
    probes = probes_from_texts(_file(tmp_path / "t.txt", lines), "own", count=12)
    natural = [p.content for p in probes.stratum("natural")]
    # Spaces are normalised, short lines and repeated ones left out, long ones cut, order kept.
    assert natural == [*(" ".join(line.split()) for line in _lines(10)), " ".join("w" * 32)]
    assert len({p.content for p in probes.stratum("mixed")}) == 12
    assert len(probes.stratum("noise")) == 12


def test_spliced_texts_begin_like_one_and_end_like_another(tmp_path: Path) -> None:
    lines = [" ".join(f"{letter}{i}" for i in range(6)) for letter in "abcdefgh"]
    probes = probes_from_texts(_file(tmp_path / "t.txt", lines), "own", count=20)
    for probe in probes.stratum("mixed"):
        assert isinstance(probe.content, str)
        words = probe.content.split()
        assert [w[1:] for w in words] == ["0", "1", "2", "3", "4", "5"]
        assert len({w[0] for w in words[:3]}) == len({w[0] for w in words[3:]}) == 1
        assert words[0][0] != words[5][0]


def test_noise_texts_do_not_depend_on_the_file(tmp_path: Path) -> None:
    a = probes_from_texts(_file(tmp_path / "a.txt", _lines(10)), "a", count=10)
    b = probes_from_texts(_file(tmp_path / "b.txt", _lines(20)[10:]), "b", count=10)
    assert a.stratum("noise") == b.stratum("noise")
    assert a.digest != b.digest


@pytest.mark.parametrize("lines", [[], _lines(7), _lines(4) * 5, ["two words"] * 20])
def test_too_few_texts_are_an_error(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(ProbeSetError, match="at least 8 different texts"):
        probes_from_texts(_file(tmp_path / "t.txt", lines), "own")


def test_a_text_file_that_is_not_utf8_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("\n".join(f"ligne {i} très française" for i in range(9)).encode("latin-1"))
    with pytest.raises(ProbeSetError, match=r"latin\.txt.*utf-8"):
        probes_from_texts(path, "own")


def test_a_missing_text_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ProbeSetError, match=r"nowhere\.txt"):
        probes_from_texts(tmp_path / "nowhere.txt", "own")
    with pytest.raises(ProbeSetError, match=tmp_path.name):
        probes_from_texts(tmp_path, "own")
