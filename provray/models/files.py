"""Bounded reading of files that nobody has checked yet."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provray.models.errors import BrokenModel, UnsafeModel

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds a checkpoint must keep. Bytes unless said otherwise.

    `tensors` counts over all shards, `rank` is the most dimensions of one tensor, `config_bytes`
    holds for every JSON file but the tokenizer's, `total_bytes` is the sum of the weight files
    (None: no bound).
    """

    header_bytes: int = 16 * MIB
    tensors: int = 100_000
    rank: int = 8
    config_bytes: int = MIB
    tokenizer_bytes: int = 64 * MIB
    total_bytes: int | None = None


DEFAULT_LIMITS = Limits()


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        BrokenModel: the file is missing, unreadable or not a regular file.
        UnsafeModel: the file is larger than `limit`.
    """
    size = regular_size(path)
    if size > limit:
        raise UnsafeModel(f"{path.name} has {size:,} bytes, more than the limit of {limit:,}")
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BrokenModel(f"{path.name} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise UnsafeModel(f"{path.name} has more than the limit of {limit:,} bytes")
    return data


def read_json_object(path: Path, limit: int) -> dict[str, Any]:
    """Read a JSON object from a file of at most `limit` bytes; for the errors see `read_bounded`.

    Raises:
        BrokenModel: not a JSON object in UTF-8, or nested too deeply to parse.
    """
    return parse_object(read_bounded(path, limit), path.name)


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object; `what` names its place in errors, which are those of `read_json_object`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise BrokenModel(f"{what} names the key {show(twice)} twice in one object")
        return made

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no JSON number")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise UnsafeModel(f"{what} nests JSON too deeply to be parsed") from None
    except ValueError as error:
        raise BrokenModel(f"{what} is not valid JSON: {str(error)[:120]}") from None
    if not isinstance(value, dict):
        raise BrokenModel(f"{what} must hold a JSON object, not a {type(value).__name__}")
    return value


def regular_size(path: Path) -> int:
    """Bytes of a regular file; for the errors see `read_bounded`."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise BrokenModel(f"{path.name} cannot be read: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeModel(f"{path.name} is not a regular file")
    return status.st_size


def plain_name(name: str) -> bool:
    """Whether a file name that a stranger wrote stays inside its folder: no separator, no leading dot."""
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\:\0")


def show(value: Any) -> str:
    """A value from a file, shortened for a message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
