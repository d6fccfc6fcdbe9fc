"""Models in a folder tree on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provray.models.errors import BrokenModel, ModelError
from provray.models.files import MIB
from provray.sources.base import ModelRef, SourceFile
from provray.sources.wanted import CARD, counts

CARD_KEYS = {
    "base_model": "base_model",
    "license": "license",
    "model_name": "name",
    "name": "name",
}
"""What is read of a card, by the names it has there; where two mean one thing, the first that is there counts."""


class FolderSource:
    """Every directory below `root`, at any depth, with a `config.json` and a `*.safetensors` file.

    A model's name is its path below `root`; if `root` is itself a model, its directory name. Hidden
    directories and links to directories are not followed. since: only models with a file that counts changed then or
    later, with a time zone. Raises ValueError if `root` is no directory.
    """

    def __init__(self, root: str | Path, since: datetime | None = None) -> None:
        self.root = Path(root).expanduser()
        self.since = since
        if not self.root.is_dir():
            raise ValueError(f"{root} is not a directory: name a folder that holds models")

    def models(self) -> Iterator[ModelRef]:
        """The models sorted by path. A folder that cannot be read is listed with its problem."""
        folders = sorted(self._folders(), key=lambda path: path.relative_to(self.root).parts)
        for folder in folders:
            ref = self._listed(folder)
            if ref is not None:
                yield ref

    def _listed(self, folder: Path) -> ModelRef | None:
        relative = folder.relative_to(self.root).as_posix()
        name = self.root.resolve().name if relative == "." else relative
        files: tuple[SourceFile, ...] = ()
        modified = None
        try:
            # Looked at before they are read, so that a change in between is seen by `changed_since`.
            found = {path.name: _stat(path) for path in _counted(folder)}
            if not found:
                raise BrokenModel("its files were removed while it was listed")
            files = tuple(_source_file(file, status) for file, status in found.items())
            modified = datetime.fromtimestamp(max(s.st_mtime for s in found.values()), UTC)
            if self.since is not None and modified < self.since:
                return None
            revision, problem = folder_revision(folder), None
        except ModelError as error:
            revision, problem = "", error
        location = str(folder.resolve())
        return ModelRef(name, location, revision, read_card(folder), problem, files, modified)

    def _folders(self) -> Iterator[Path]:
        for directory, folders, files in os.walk(self.root, followlinks=False):
            folders[:] = [name for name in folders if not name.startswith(".")]
            if "config.json" in files and any(name.endswith(".safetensors") for name in files):
                yield Path(directory)


def folder_revision(folder: Path) -> str:
    """SHA-256 over (file name, NUL, SHA-256 of the content) of a model's files, by name, as
    hexadecimal.

    Counted are configuration, weights, shard index, tokenizer and preprocessor files.

    Raises:
        BrokenModel: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in _counted(folder):
        _stat(path)
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise BrokenModel(f"{path.name} cannot be read: {error.strerror}") from None
        digest.update(path.name.encode("utf-8", "surrogateescape") + b"\0" + content)
    return digest.hexdigest()


def changed_since(ref: ModelRef) -> str | None:
    """Name of the first file of a local model that is no longer what was listed: changed, replaced, removed or added.

    None if all are, or if the listing says nothing of its files. A file counts as changed if its size, its
    modification time or its inode did; nothing is read.
    """
    if not ref.files:
        return None
    listed = {file.name: file for file in ref.files}
    try:
        now = {path.name: path for path in _counted(Path(ref.location))}
    except ModelError:
        return ref.files[0].name
    for name in sorted(listed.keys() | now.keys()):
        try:
            if name not in now or _source_file(name, _stat(now[name])) != listed.get(name):
                return name
        except ModelError:
            return name
    return None


def _counted(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if counts(path.name))
    except OSError as error:
        raise BrokenModel(f"the folder cannot be read: {error.strerror}") from None


def _stat(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise BrokenModel(
            f"{path.name} is not a readable file (a directory, a device or a dangling link)"
        )
    return status


def _source_file(name: str, status: os.stat_result) -> SourceFile:
    return SourceFile(name, status.st_size, f"{status.st_mtime_ns}-{status.st_ino}")


def read_card(folder: Path) -> dict[str, Any]:
    """What the model card's front matter declares: `base_model` (a list), `license`, `name`; {}
    without a card.

    Only plain top-level values and lists of a front matter within the first MiB are understood;
    anything else is left out, since nothing here counts as evidence.
    """
    path = folder / CARD
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            text = file.read(MIB).decode("utf-8", "replace")
    except OSError:
        return {}
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].strip() != "---":
        return {}
    declared: dict[str, Any] = {}
    values: list[str] | None = None
    for line in lines[1:]:
        if line.rstrip() in ("---", "..."):
            break
        item = re.fullmatch(r"\s*-\s+(.*)", line)
        if item is not None and values is not None:
            values.extend(_scalar(item[1]))
            continue
        field = re.fullmatch(r"([A-Za-z_]+):(?:\s+(.*))?", line.rstrip())
        if field is None:
            continue
        values = declared.setdefault(field[1], []) if field[1] in CARD_KEYS else None
        if values is not None and field[2]:
            values.extend(_scalars(field[2]))
    return _tidy(declared)


def _tidy(found: dict[str, list[str]]) -> dict[str, Any]:
    declared: dict[str, Any] = {}
    for key, name in CARD_KEYS.items():
        values = found.get(key)
        if values and name not in declared:
            declared[name] = values[:16] if key == "base_model" else values[0]
    return declared


def _scalars(text: str) -> list[str]:
    if text.startswith("[") and text.rstrip().endswith("]"):
        return [value for part in text.strip()[1:-1].split(",") for value in _scalar(part)]
    return _scalar(text)


def _scalar(text: str) -> list[str]:
    text = text.strip()
    if text[:1] in ("'", '"'):
        closing = text.find(text[0], 1)
        text = text[1:closing] if closing > 0 else ""
    else:
        text = text.split(" #")[0].strip()
    if not text or text[0] in "|>&*{[!#" or text in ("null", "~"):
        return []
    return [text[:256]]
