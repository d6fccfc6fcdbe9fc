"""A text file that lists sources, as one source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from provray.sources.base import ModelRef, Source, SourceError


class ListSource:
    """The sources that a text file names, one per line, in its order.

    A line is a folder (relative to the file), `hf://…` or `s3://…`, and no list itself. Blank lines and what follows a
    `#` at the start of a line or after a space are left out. since: as for every source.

    Raises:
        ValueError: the file cannot be read, names no source, or has a line that is none; with file and line.
    """

    def __init__(self, path: str | Path, since: datetime | None = None) -> None:
        self.path = Path(path).expanduser()
        self._sources = [
            (number, self._opened(number, entry, since)) for number, entry in self._entries()
        ]
        if not self._sources:
            raise ValueError(f"{path} names no source: write a folder, hf://… or s3://… per line")

    def models(self) -> Iterator[ModelRef]:
        """The models of one source after the other. Raises SourceError with file and line."""
        for number, source in self._sources:
            try:
                yield from source.models()
            except SourceError as error:
                raise SourceError(f"{self._place(number)}: {error}") from None

    def _entries(self) -> Iterator[tuple[int, str]]:
        try:
            text = self.path.read_text("utf-8-sig")
        except OSError as error:
            raise ValueError(f"{self.path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{self.path} is not UTF-8 text: write one source per line") from None
        for number, line in enumerate(text.split("\n"), 1):
            entry = re.sub(r"(^|\s)#.*", "", line).strip()
            if entry:
                yield number, entry

    def _opened(self, number: int, entry: str, since: datetime | None) -> Source:
        from provray.sources import open_source  # which opens lists, too

        entry = entry.removeprefix("file://")
        if "://" not in entry:
            folder = self.path.parent / Path(entry).expanduser()
            if folder.suffix == ".txt" and not folder.is_dir():
                raise ValueError(
                    f"{self._place(number)}: a list in a list is not read: name its sources here"
                )
            entry = str(folder)
        try:
            return open_source(entry, since=since)
        except ValueError as error:
            raise ValueError(f"{self._place(number)}: {error}") from None

    def _place(self, number: int) -> str:
        return f"{self.path}, line {number}"
