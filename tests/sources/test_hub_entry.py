"""Entries of a hub's listing as no hub should send them: each is a ref, a problem or nothing, never an exception."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from provray.models.errors import UnavailableModel
from provray.sources.base import ModelRef, SourceFile
from provray.sources.hub_entry import read_entry

SHA = "0123456789abcdef0123456789abcdef01234567"
WHOLE: dict[str, Any] = {
    "id": "org/model",
    "sha": SHA,
    "lastModified": "2026-01-02T03:04:05.000Z",
    "siblings": [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}],
}


def _read(**changed: Any) -> ModelRef:
    ref = read_entry({**WHOLE, **changed}, False)
    assert ref is not None
    return ref


def test_a_whole_entry_is_read() -> None:
    ref = _read()
    assert (ref.model, ref.location, ref.problem) == ("org/model", f"hf://org/model@{SHA}", None)
    assert [file.name for file in ref.files] == ["config.json", "model.safetensors"]
    assert ref.modified == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("entry", [None, [], "org/model", 7, {}])
def test_what_is_no_entry_is_nothing(entry: Any) -> None:
    assert read_entry(entry, False) is None


@pytest.mark.parametrize("name", [None, 7, "", "../etc", "a/b/c", "org/mo del", "-x", ["org/m"]])
def test_without_a_usable_name_there_is_nothing(name: Any) -> None:
    assert read_entry({**WHOLE, "id": name}, False) is None


@pytest.mark.parametrize("commit", [None, 7, "", "main", SHA[:-1], SHA.upper(), f"{SHA}/.."])
def test_without_a_commit_there_is_nothing_to_read(commit: Any) -> None:
    ref = _read(sha=commit)
    assert (ref.location, ref.revision, ref.files) == ("hf://org/model", "", ())
    assert isinstance(ref.problem, UnavailableModel)
    assert "no commit" in ref.problem.reason


@pytest.mark.parametrize(
    "siblings", [None, 7, "config.json", {}, [], [None, 7, {}], [{"rfilename": 7}]]
)
def test_files_that_are_none_are_left_out(siblings: Any) -> None:
    ref = _read(siblings=siblings)
    assert ref.files == ()
    assert ref.problem is not None


@pytest.mark.parametrize(
    "name", ["../config.json", "/etc/passwd", "a\\b.safetensors", "run.py", ""]
)
def test_a_file_under_a_name_that_is_not_wanted_is_left_out(name: str) -> None:
    ref = _read(siblings=[*WHOLE["siblings"], {"rfilename": name}])
    assert [file.name for file in ref.files] == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("size", [None, -1, 1.5, "12", True, []])
def test_a_size_that_is_none_is_not_known(size: Any) -> None:
    ref = _read(
        siblings=[{"rfilename": "config.json"}, {"rfilename": "model.safetensors", "size": size}]
    )
    assert ref.files[1] == SourceFile("model.safetensors", -1, "")


def test_size_and_digest_of_a_large_file_count_before_others() -> None:
    large = {"size": 12, "sha256": "a" * 64}
    found = []
    for lfs in (large, {**large, "sha256": "a"}, {**large, "sha256": 7}, "large"):
        sibling = {"rfilename": "model.safetensors", "size": 3, "lfs": lfs}
        found.append(_read(siblings=[{"rfilename": "config.json"}, sibling]).files[1])
    assert [(file.size, file.tag) for file in found] == [
        (12, f"sha256:{'a' * 64}"),
        (12, ""),
        (12, ""),
        (3, ""),
    ]


@pytest.mark.parametrize("moment", [None, 7, "", "yesterday", [], "2026-13-01T00:00:00Z"])
def test_a_moment_that_is_none_is_not_known(moment: Any) -> None:
    assert _read(lastModified=moment).modified is None


@pytest.mark.parametrize(
    "card", [None, 7, "text", [], {"base_model": 7}, {"base_model": [7, None, ""]}]
)
def test_a_card_that_says_nothing_declares_nothing(card: Any) -> None:
    assert _read(cardData=card).declared == {}


def test_what_a_card_declares_is_bounded() -> None:
    declared = _read(cardData={"base_model": ["b" * 1000] * 100}).declared
    (names,) = declared.values()
    assert (len(names), {len(name) for name in names}) == (16, {256})
