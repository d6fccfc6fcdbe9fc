"""Listing models in a folder tree, their revisions, and what their cards declare."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from provray.models.errors import BrokenModel
from provray.sources import FolderSource, open_source
from provray.sources.folder import folder_revision, read_card


def model(folder: Path, weights: bytes = b"w", **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_listing(tmp_path: Path) -> None:
    for name in ("b/two", "b", "a/deep/er/one", "c-x", ".hidden/four", "b/.git/five"):
        model(tmp_path / name)
    (tmp_path / "no-weights").mkdir()
    (tmp_path / "no-weights" / "config.json").write_text("{}")
    (tmp_path / "no-config").mkdir()
    (tmp_path / "no-config" / "model.safetensors").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = list(open_source(str(tmp_path)).models())
    assert [ref.model for ref in found] == ["a/deep/er/one", "b", "b/two", "c-x"]
    assert all(ref.problem is None and len(ref.revision) == 64 for ref in found)
    assert found[0].location == str((tmp_path / "a/deep/er/one").resolve())


def test_the_folder_itself(tmp_path: Path) -> None:
    folder = model(tmp_path / "mine")
    (ref,) = FolderSource(folder).models()
    assert ref.model == "mine"


def test_revision_is_what_it_says(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", tokenizer__json="{}", README__md="x", notes__txt="y")
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        content = hashlib.sha256((folder / name).read_bytes()).digest()
        digest.update(name.encode() + b"\0" + content)
    assert folder_revision(folder) == digest.hexdigest()


def test_revision_follows_content_and_name_only(tmp_path: Path) -> None:
    one, two = model(tmp_path / "one"), model(tmp_path / "elsewhere" / "two")
    assert folder_revision(one) == folder_revision(two)
    before = folder_revision(one)
    os.utime(one / "config.json", (1, 1))
    (one / "README.md").write_text("changed")
    assert folder_revision(one) == before
    seen = {before}
    for name in (
        "tokenizer.json",
        "vocab.txt",
        "merges.txt",
        "spiece.model",
        "preprocessor_config.json",
        "model.safetensors.index.json",
        "more.safetensors",
        "special_tokens_map.json",
    ):
        (one / name).write_text("x")
        seen.add(folder_revision(one))
    assert len(seen) == 9
    (two / "model.safetensors").write_bytes(b"other")
    assert folder_revision(two) != before


def test_a_folder_that_cannot_be_hashed_is_listed(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "tokenizer.json").symlink_to(folder / "absent")
    (tmp_path / "pipe").mkdir()
    (tmp_path / "pipe" / "config.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe" / "model.safetensors")
    for ref, file in zip(FolderSource(tmp_path).models(), ("tokenizer", "model"), strict=True):
        assert ref.revision == ""
        assert isinstance(ref.problem, BrokenModel)
        assert ref.problem.reason.startswith(file)


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    store = tmp_path / ".blobs"
    store.mkdir()
    (store / "w").write_bytes(b"w")
    folder = model(tmp_path / "m")
    before = folder_revision(folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(store / "w")
    assert folder_revision(folder) == before


@pytest.mark.parametrize(
    ("card", "declared"),
    [
        ("", {}),
        ("# No front matter\nbase_model: x\n", {}),
        (
            "---\nbase_model: org/base\nlicense: mit\n---\n",
            {"base_model": ["org/base"], "license": "mit"},
        ),
        ("---\nbase_model:\n- a/b\n- 'c/d'\ntags:\n- x\n---\n", {"base_model": ["a/b", "c/d"]}),
        ('---\nbase_model: [a/b, "c/d"]\n---\n', {"base_model": ["a/b", "c/d"]}),
        ("---\r\nmodel_name: My Model # note\r\n---\r\n", {"name": "My Model"}),
        ("---\nname: n\nmodel_name: m\n---\n", {"name": "m"}),
        ("---\nx:\n  base_model: nested\n---\nlicense: after\n", {}),
        ("---\nlicense: &a [*a, *a]\nbase_model: !!python/object:os.system x\n---\n", {}),
        ("---\nlicense:\nbase_model: |\n  text\n---\n", {}),
    ],
)
def test_cards(tmp_path: Path, card: str, declared: dict[str, object]) -> None:
    (tmp_path / "README.md").write_bytes(card.encode())
    assert read_card(tmp_path) == declared


def test_cards_that_cannot_be_read(tmp_path: Path) -> None:
    assert read_card(tmp_path) == {}
    (tmp_path / "README.md").mkdir()
    assert read_card(tmp_path) == {}
    (tmp_path / "README.md").rmdir()
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\xfe\n" + b"- x\n" * 1_000_000)
    assert set(read_card(tmp_path)) == {"license"}


def test_sources_by_uri(tmp_path: Path) -> None:
    model(tmp_path / "m")
    assert [ref.model for ref in open_source(f"file://{tmp_path}").models()] == ["m"]
    for uri in ("hf://org/model", "s3://bucket/prefix", "https://host/x"):
        with pytest.raises(ValueError, match="not supported yet by this version"):
            open_source(uri)
    with pytest.raises(ValueError, match="is not a directory"):
        open_source(str(tmp_path / "absent"))
