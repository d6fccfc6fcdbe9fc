"""The import rules of pyproject.toml hold, and do not hold where one is broken on purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BROKEN = [
    ("fingerprints/sketch.py", "import provray.models.errors", "Each folder knows only"),
    ("index/row.py", "from provray.ancestry import verdict", "Each folder knows only"),
    ("ancestry/scores.py", "import provray.crawl.progress", "Each folder knows only"),
    ("serve/held.py", "from provray.cli import app", "Each folder knows only"),
    ("ancestry/null.py", "import ray", "Ray stays at the edge"),
    ("index/search.py", "def later():\n    import ray", "Ray stays at the edge"),
    ("serve/questions.py", "import torch", "What a client needs"),
    ("serve/held.py", "import provray.crawl.behaviour", "Whatever runs no model"),
    ("crawl/pool.py", "import torch", "Whatever runs no model"),
]


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The package's modules and the rules, to be broken."""
    ignored = shutil.ignore_patterns("__pycache__", "page", "data", "material")
    shutil.copytree(ROOT / "provray", tmp_path / "provray", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_rules_hold(tree: Path) -> None:
    done = _lint(tree)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("module", "line", "rule"), BROKEN)
def test_a_broken_rule_is_named(tree: Path, module: str, line: str, rule: str) -> None:
    file = tree / "provray" / module
    file.write_text(f"{file.read_text()}\n\n{line}\n")
    done = _lint(tree)
    assert done.returncode != 0
    kept = [text for text in done.stdout.splitlines() if text.startswith(rule)]
    assert any("BROKEN" in text for text in kept), done.stdout


def test_modules_are_small() -> None:
    """A page or a template is no module."""
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in [*ROOT.glob("provray/**/*.py"), *ROOT.glob("tests/**/*.py")]
        if (lines := path.read_text().count("\n")) > 420
    }
    assert long == {}
