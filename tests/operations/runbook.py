"""docs/operations.md as the tests use it: its commands are run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

RUNBOOK = Path(__file__).parents[2] / "docs" / "operations.md"


def shell(name: str) -> str:
    """The block of shell commands after the marker `<!-- run: name -->`."""
    text = RUNBOOK.read_text(encoding="utf-8")
    found = re.search(rf"<!-- run: {re.escape(name)} -->\n+```sh\n(.*?)```", text, re.DOTALL)
    assert found, f"docs/operations.md has no commands named {name!r}"
    return found[1]
