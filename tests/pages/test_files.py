"""A page is there whole, or the old one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from provray.pages.files import write_page


def test_a_page_is_written_for_all_to_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "page.html"
    write_page("<p>ätsch</p>", path)
    assert path.read_bytes() == "<p>ätsch</p>".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    write_page("<p>again</p>", path)
    assert path.read_text() == "<p>again</p>"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_page_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page("old", path)
    with pytest.raises(UnicodeEncodeError):
        write_page("new \ud800", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_keeps_the_page_it_opened(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page("old " * 10_000, path)
    with path.open(encoding="utf-8") as reader:
        start = reader.read(4)
        write_page("new", path)
        assert start + reader.read() == "old " * 10_000
    assert path.read_text() == "new"


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(OSError, match=r"page\.html"):
        write_page("new", tmp_path / "page.html")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
