"""Where people's output goes: tables on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

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


class Updates(Protocol):
    """What says how far something is."""

    def update(self, status: str, /) -> None:
        """Say it."""


class Lines:
    """Where nothing can be drawn over: a line each time, but not more than one in some seconds."""

    seconds = 10.0

    def __init__(self) -> None:
        self._last = -self.seconds

    def update(self, status: str, /) -> None:
        """Say it, if it is time."""
        if time.monotonic() - self._last >= self.seconds:
            self._last = time.monotonic()
            err.print(status, markup=False, soft_wrap=True)


@contextmanager
def status(text: str) -> Iterator[Updates]:
    """Say what is being done: a line that changes on a terminal, lines now and then in a log."""
    if err.is_terminal:
        with err.status(text) as drawn:
            yield drawn
    else:
        lines = Lines()
        lines.update(text)
        yield lines


def print_json(value: Any) -> None:
    """One JSON object on standard output, for machines."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=False) + "\n")


def fail(message: str, code: int) -> NoReturn:
    """Print an error and end the process."""
    err.print("[bold red]error[/]:", message, markup=True, soft_wrap=True)
    raise SystemExit(code)
