"""A model as the Hub's API describes it, turned into a ref.

The fields are a stranger's words: none is trusted to be of the type it should be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from huggingface_hub.utils import parse_datetime, validate_repo_id

from provray.models.checkpoint import INDEX_SUFFIX
from provray.models.errors import ModelError, UnavailableModel, UnsupportedModel
from provray.models.files import plain_name
from provray.sources import hub_http
from provray.sources.base import ModelRef, SourceFile
from provray.sources.folder import CARD_KEYS
from provray.sources.wanted import is_wanted

_SHA = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WEIGHTS = ".safetensors"


def read_entry(entry: Any, signed_in: bool) -> ModelRef | None:
    """The ref of one entry of `/api/models`, or of `/api/models/{id}`; None if it has no usable name.

    signed_in: a token was sent. Whether it opens a gated model is seen when that is read; without one it is closed.
    """
    if not isinstance(entry, dict):
        return None
    model, commit = entry.get("id"), entry.get("sha")
    try:
        validate_repo_id(model)
    except ValueError:
        return None
    if not isinstance(model, str):
        return None
    modified = _moment(entry.get("lastModified"))
    declared = _declared(entry.get("cardData"))
    if not isinstance(commit, str) or not _SHA.fullmatch(commit):
        problem: ModelError = UnavailableModel(
            "the repository has no commit: there is nothing to read"
        )
        return ModelRef(model, f"hf://{model}", "", declared, problem, modified=modified)
    siblings = entry.get("siblings")
    siblings = siblings if isinstance(siblings, list) else []
    files = _needed([file for sibling in siblings if (file := _file(sibling)) is not None])
    return ModelRef(
        model,
        f"hf://{model}@{commit}",
        commit,
        declared,
        _problem(entry, files, signed_in),
        files,
        modified,
    )


def _problem(
    entry: Mapping[str, Any], files: Sequence[SourceFile], signed_in: bool
) -> ModelError | None:
    if entry.get("disabled"):
        return UnavailableModel(hub_http.DISABLED)
    if entry.get("gated") and not signed_in:
        return UnavailableModel(hub_http.GATED)
    if not any(file.name == "config.json" for file in files):
        return UnsupportedModel(
            "the repository has no config.json at its top: nothing says what kind of model it is"
        )
    if not any(file.name.endswith(_WEIGHTS) for file in files):
        return UnsupportedModel(
            "the repository holds no *.safetensors file at its top: other formats are not read"
        )
    return None


def _needed(files: Sequence[SourceFile]) -> tuple[SourceFile, ...]:
    """Without second copies of the weights: `model.safetensors` before shards, an index's shards before other files."""
    names = {file.name for file in files}
    indexes = [name for name in names if name.endswith(INDEX_SUFFIX)]
    weights = {name for name in names if name.endswith(_WEIGHTS)}
    if "model.safetensors" in names:
        names -= {*indexes, *(weights - {"model.safetensors"})}
    elif len(indexes) == 1:
        stem = re.escape(indexes[0].removesuffix(INDEX_SUFFIX))
        shards = {
            name for name in weights if re.fullmatch(rf"{stem}-\d+-of-\d+\.safetensors", name)
        }
        # Shards under other names are looked for among all weight files.
        names -= weights - shards if shards else set()
    return tuple(sorted((file for file in files if file.name in names), key=lambda file: file.name))


def _file(sibling: Any) -> SourceFile | None:
    if not isinstance(sibling, dict):
        return None
    name, lfs = sibling.get("rfilename"), sibling.get("lfs")
    if not isinstance(name, str) or not plain_name(name) or not is_wanted(name):
        return None
    lfs = lfs if isinstance(lfs, dict) else {}
    size, digest = lfs.get("size", sibling.get("size")), lfs.get("sha256")
    size = size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else -1
    tag = f"sha256:{digest}" if isinstance(digest, str) and _SHA256.fullmatch(digest) else ""
    return SourceFile(name, size, tag)


def _declared(card: Any) -> dict[str, Any]:
    declared: dict[str, Any] = {}
    if not isinstance(card, dict):
        return declared
    for key, name in CARD_KEYS.items():
        value = card.get(key)
        listed = value if isinstance(value, list) else [value]
        values = [text[:256] for text in listed if isinstance(text, str) and text]
        if values and name not in declared:
            declared[name] = values[:16] if key == "base_model" else values[0]
    return declared


def _moment(text: Any) -> datetime | None:
    try:
        moment = parse_datetime(text)
    except (TypeError, ValueError, AttributeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
