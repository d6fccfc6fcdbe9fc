"""Listing models in a folder tree, their revisions, and what their cards declare."""

from __future__ import annotations

import hashlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provray.models.errors import BrokenModel
from provray.sources import FolderSource, ModelRef, open_source
from provray.sources.folder import changed_since, folder_revision, read_card


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


def test_modified_is_the_newest_change_of_a_file_that_counts(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", README__md="x")
    os.utime(folder / "config.json", (1_000_000, 1_000_000))
    os.utime(folder / "model.safetensors", (2_000_000, 2_000_000))
    (ref,) = FolderSource(tmp_path).models()
    assert ref.modified == datetime.fromtimestamp(2_000_000, UTC)
    assert [(file.name, file.size) for file in ref.files] == [
        ("config.json", 2),
        ("model.safetensors", 1),
    ]


def test_since_leaves_out_what_did_not_change_from_then_on(tmp_path: Path) -> None:
    for name, seconds in (("old", 1_000_000), ("edge", 2_000_000), ("new", 3_000_000)):
        for file in model(tmp_path / name).iterdir():
            os.utime(file, (seconds, seconds))
    since = datetime.fromtimestamp(2_000_000, UTC)
    found = [ref.model for ref in open_source(str(tmp_path), since=since).models()]
    assert found == ["edge", "new"]


def listed(folder: Path) -> ModelRef:
    (ref,) = FolderSource(folder).models()
    return ref


def test_a_model_that_stayed_as_listed_has_not_changed(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", README__md="x")
    ref = listed(folder)
    (folder / "README.md").write_text("another card")
    (folder / "notes.txt").write_text("not of the model")
    assert changed_since(ref) is None


def test_a_file_that_is_not_what_was_listed_is_named(tmp_path: Path) -> None:
    def rewritten(folder: Path) -> None:
        weights = folder / "model.safetensors"
        weights.write_bytes(b"x")
        os.utime(weights, ns=(1, weights.stat().st_mtime_ns + 1))

    def replaced(folder: Path) -> None:
        weights = folder / "model.safetensors"
        before = weights.stat()
        (folder / "new").write_bytes(b"x")
        os.utime(folder / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        (folder / "new").replace(weights)

    def removed(folder: Path) -> None:
        (folder / "model.safetensors").unlink()

    def made_a_directory(folder: Path) -> None:
        removed(folder)
        (folder / "model.safetensors").mkdir()

    def added(folder: Path) -> None:
        (folder / "model-2.safetensors").write_bytes(b"w")

    changes = [rewritten, replaced, removed, made_a_directory, added]
    names = []
    for number, change in enumerate(changes):
        folder = model(tmp_path / str(number))
        ref = listed(folder)
        change(folder)
        names.append(changed_since(ref))
    assert names == ["model.safetensors"] * 4 + ["model-2.safetensors"]


def test_a_model_whose_folder_is_gone_has_changed(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    ref = listed(folder)
    shutil.rmtree(folder)
    assert changed_since(ref) == "config.json"


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
    with pytest.raises(ValueError, match="https:// is not read"):
        open_source("https://host/x")
    with pytest.raises(ValueError, match="is not a directory"):
        open_source(str(tmp_path / "absent"))
