"""Text files that list sources: lines, relative folders, and errors that name file and line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from provray.sources import SourceError, open_source
from tests.sources.test_folder import model


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_the_sources_of_a_list_are_read_in_its_order(tmp_path: Path) -> None:
    model(tmp_path / "b" / "two")
    model(tmp_path / "a one" / "one")
    model(tmp_path / "c#3" / "three")
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    text = f"""\ufeff# what we crawl

        ../b   # relative to this file
    #../absent
    {tmp_path / "a one"}
    file://{tmp_path}/c#3
    """
    source = open_source(written(elsewhere / "models.txt", text))
    assert [ref.model for ref in source.models()] == ["two", "one", "three"]


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    model(tmp_path / "m" / "one")
    path = tmp_path / "models.txt"
    path.write_bytes(b"# models\r\n\r\nm\r\n")
    assert [ref.model for ref in open_source(str(path)).models()] == ["one"]


def test_since_holds_for_every_source_of_a_list(tmp_path: Path) -> None:
    model(tmp_path / "m" / "one")
    path = written(tmp_path / "models.txt", "m\n")
    later = datetime.now(UTC).replace(year=2200)
    assert list(open_source(path, since=later).models()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n# c\nabsent\n", r"models\.txt, line 3: .*absent is not a directory"),
        ("m\nhttps://host/x\n", r"models\.txt, line 2: https:// is not read"),
        ("s3://\n", r"models\.txt, line 1: .*names no bucket"),
        ("models.txt\n", r"models\.txt, line 1: a list in a list"),
        ("file://other.txt\n", r"models\.txt, line 1: a list in a list"),
        ("\n  # nothing\n", r"models\.txt names no source"),
        ("", r"models\.txt names no source"),
    ],
)
def test_an_error_names_file_and_line(tmp_path: Path, text: str, reason: str) -> None:
    model(tmp_path / "m")
    with pytest.raises(ValueError, match=reason):
        open_source(written(tmp_path / "models.txt", text))


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models.txt").write_bytes(b"\xff\xfe\x00m")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        open_source(str(tmp_path / "models.txt"))


def test_a_folder_may_be_named_like_a_list(tmp_path: Path) -> None:
    model(tmp_path / "models.txt" / "one")
    path = written(tmp_path / "outer.txt", "models.txt\n")
    assert [ref.model for ref in open_source(str(tmp_path / "models.txt")).models()] == ["one"]
    assert [ref.model for ref in open_source(path).models()] == ["one"]


def test_a_bucket_that_cannot_be_listed_is_named_with_its_line(
    tmp_path: Path, s3_bucket: str
) -> None:
    model(tmp_path / "m" / "one")
    path = written(tmp_path / "models.txt", f"m\ns3://{s3_bucket}-absent/x\n")
    refs = open_source(path).models()
    assert next(refs).model == "one"
    with pytest.raises(SourceError, match=r"models\.txt, line 2: cannot list bucket .*-absent"):
        next(refs)
