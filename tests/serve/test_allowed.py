"""The allow-list: what is in it is opened, and nothing else, however it is spelt."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provray.serve.allowed import AllowList, is_reference, without_secrets
from provray.serve.problems import Refused

REMOTE = AllowList(["hf://lab", "s3://bucket/public"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("models/good", "models/deep/good", "models-not/bad"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    return tmp_path


def test_what_lies_below_an_allowed_folder_is_opened_with_its_links_resolved(root: Path) -> None:
    allowed = AllowList([str(root / "models")])
    assert allowed.check(f"{root}/models/good") == str((root / "models/good").resolve())
    assert allowed.check(f"file://{root}/models/deep/good").endswith("deep/good")
    assert allowed.check(f"{root}/models/deep/../good").endswith("models/good")
    (root / "models/alias").symlink_to(root / "models/good")
    assert allowed.check(f"{root}/models/alias") == str((root / "models/good").resolve())
    assert allowed.told() == ["models"]


def test_what_leads_out_of_it_is_refused_in_the_same_words_as_what_is_not_there(root: Path) -> None:
    allowed = AllowList([str(root / "models")])
    (root / "models/way-out").symlink_to(root / "models-not/bad")
    (root / "models/good/model.safetensors").symlink_to("/etc/passwd")
    said = set()
    for reference in (
        f"{root}/models/way-out",
        f"{root}/models/good",
        f"{root}/models-not/bad",
        f"{root}/models/../models-not/bad",
        f"{root}/models/nothing",
        f"{root}/models/deep/good/config.json",
        "models/good",
        "~/models",
        f"{root}/models/good\0",
        "/proc/self/root/etc",
    ):
        with pytest.raises(Refused) as caught:
            allowed.check(reference)
        assert caught.value.name == "source-not-allowed"
        said.add(caught.value.detail)
    assert len(said) == 1


def test_hub_and_bucket_references_are_matched_whole() -> None:
    for good in (
        "hf://lab/model",
        "hf://lab/model@main",
        "hf://lab/model@refs/pr/1",
        "s3://bucket/public/model",
        "s3://bucket/public",
    ):
        assert REMOTE.check(good) == good
    assert AllowList(["hf://"]).check("hf://anyone/model") == "hf://anyone/model"
    for bad in (
        "hf://lab",
        "hf://lab/model?limit=9",
        "hf://labs/model",
        "hf://lab/a/b",
        "hf://other/model",
        "hf://lab/..",
        "hf://lab/model@../../x",
        "s3://bucket/publicity/model",
        "s3://bucket/public/../private",
        "s3://bucket/public//x",
        "s3://other/public/model",
        "s3://key:secret@bucket/public/x",
        "http://bucket/public",
        "/etc",
    ):
        with pytest.raises(Refused):
            REMOTE.check(bad)


@given(st.text(max_size=60))
def test_no_text_is_opened_that_is_not_below_what_is_allowed(text: str) -> None:
    for reference in (text, f"hf://{text}", f"s3://{text}", f"/{text}", f"file://{text}"):
        try:
            opened = REMOTE.check(reference)
        except Refused:
            continue
        assert opened.startswith(("hf://lab/", "s3://bucket/public"))


def test_what_cannot_be_allowed_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a directory"):
        AllowList([str(tmp_path / "missing")])
    with pytest.raises(ValueError, match="cannot allow 'http://host'"):
        AllowList(["http://host"])


def test_references_are_told_from_names_and_written_down_without_credentials() -> None:
    assert [is_reference(t) for t in ("lab/base", "hf://lab/base", "/m", "./m")] == [
        False,
        True,
        True,
        True,
    ]
    assert without_secrets("s3://key:secret@bucket/x") == "s3://…@bucket/x"
    assert without_secrets("hf://lab/model@main") == "hf://lab/model@main"
