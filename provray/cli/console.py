"""Where people's output goes: tables on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from rich.console import Console

# In a pipe or a log there is no width to fit: names must not be cut there.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)

STATUS_STYLES = {
    "ok": "green",
    "copy": "bold magenta",
    "ancestor": "bold green",
    "related": "yellow",
}


def style_of(word: str) -> str:
    """Colour of a status or verdict."""
    return STATUS_STYLES.get(word, "dim" if word == "none" else "red")


def print_json(value: Any) -> None:
    """One JSON object on standard output, for machines."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=False) + "\n")


def fail(message: str, code: int) -> NoReturn:
    """Print an error and end the process."""
    err.print("[bold red]error[/]:", message, markup=True, soft_wrap=True)
    raise SystemExit(code)
