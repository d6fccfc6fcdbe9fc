"""Sealed cache folders: whatever does not match its seal is as good as missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from provray.index import cache

CONTENTS = {"a.faiss": bytes(range(256)) * 20, "listing.json": b"{}", "empty": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "cache" / "v1"
    cache.save(made, CONTENTS)
    return made


def _seal(folder: Path, entries: object) -> None:
    (folder / "seal.json").write_text(json.dumps(entries))


def test_what_was_sealed_is_loaded(folder: Path) -> None:
    assert cache.load(folder) == CONTENTS
    assert [p.name for p in folder.parent.iterdir()] == ["v1"]  # nothing partial is left


def test_saving_again_replaces_all_of_it(folder: Path) -> None:
    cache.save(folder, {"other": b"x"})
    assert cache.load(folder) == {"other": b"x"}
    assert {p.name for p in folder.iterdir()} == {"other", "seal.json"}


def test_a_missing_folder_is_none(tmp_path: Path) -> None:
    assert cache.load(tmp_path / "nowhere") is None


@pytest.mark.parametrize("at", [0, 2500, 5119])
def test_one_damaged_byte_is_none(folder: Path, at: int) -> None:
    damaged = bytearray(CONTENTS["a.faiss"])
    damaged[at] ^= 1
    (folder / "a.faiss").write_bytes(bytes(damaged))
    assert cache.load(folder) is None
    cache.save(folder, CONTENTS)
    assert cache.load(folder) == CONTENTS


def _longer(folder: Path) -> None:
    (folder / "empty").write_bytes(b"x")


def _shorter(folder: Path) -> None:
    (folder / "a.faiss").write_bytes(CONTENTS["a.faiss"][:-1])


def _missing(folder: Path) -> None:
    (folder / "listing.json").unlink()


def _unsealed(folder: Path) -> None:
    (folder / "seal.json").unlink()


def _folder_instead(folder: Path) -> None:
    (folder / "empty").unlink()
    (folder / "empty").mkdir()


def _swapped(folder: Path) -> None:
    (folder / "a.faiss").rename(folder / "x")
    (folder / "listing.json").rename(folder / "a.faiss")
    (folder / "x").rename(folder / "listing.json")


@pytest.mark.parametrize(
    "damage", [_longer, _shorter, _missing, _unsealed, _folder_instead, _swapped]
)
def test_a_damaged_folder_is_none(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    assert cache.load(folder) is None


@pytest.mark.parametrize("name", ["../secret", "deeper/secret", "/etc/hostname", "..", ".", ""])
def test_a_seal_that_names_a_path_is_none_although_the_digest_fits(folder: Path, name: str) -> None:
    for path in (folder.parent / "secret", folder / "deeper" / "secret"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"secret")
    readable = folder / name
    content = readable.read_bytes() if readable.is_file() else b""
    _seal(folder, {name: hashlib.sha256(content).hexdigest()})
    assert cache.load(folder) is None


@pytest.mark.parametrize(
    "seal",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b'"a.faiss"', b'{"a.faiss": null}', b'{"a.faiss": 3}'],
)
def test_a_damaged_seal_is_none(folder: Path, seal: bytes) -> None:
    (folder / "seal.json").write_bytes(seal)
    assert cache.load(folder) is None


def test_a_seal_nested_too_deep_to_parse_is_none(folder: Path) -> None:
    (folder / "seal.json").write_bytes(b"[" * 200_000)
    assert cache.load(folder) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache.save(tmp_path / "file" / "v1", CONTENTS)
    assert cache.load(tmp_path / "file" / "v1") is None
