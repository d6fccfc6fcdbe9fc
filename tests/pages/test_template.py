"""What every page relies on: nothing hostile gets through, and a script runs only as it was written."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from provray.pages.template import all_visible, breakable, environment, script, visible


def test_everything_is_escaped() -> None:
    page = environment().from_string("{{ name }}|{{ name | breakable }}|{{ value | number }}")
    text = page.render(name='<b onload="x">/&', value=-0.5)
    assert text == (
        "&lt;b onload=&#34;x&#34;&gt;/&amp;|&lt;b onload=&#34;x&#34;&gt;/<wbr>&amp;|−0.50"
    )
    assert breakable("a/b") == "a/<wbr>b"


def test_a_missing_name_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        environment().from_string("{{ nothing }}").render()


def test_what_does_not_print_is_written_out() -> None:
    assert visible("a\u202eb\nc") == "a\\u202eb\\u000ac"
    assert all_visible({"k\n": ["\t", (1, None, 0.5, True)]}) == {
        "k\\u000a": ["\\u0009", [1, None, 0.5, True]]
    }


def test_a_script_is_known_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "page.js"
    path.write_text("'use strict';\n", encoding="utf-8")
    text, source = script(path)
    digest = hashlib.sha256(text.encode()).digest()
    assert source == f"sha256-{base64.b64encode(digest).decode()}"
    assert environment().from_string("{{ text }}").render(text=text) == str(text)
