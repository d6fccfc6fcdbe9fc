"""The audit log: who asked what, and what was told. One JSON object a line, only ever appended, without secrets."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 1.0


class AuditLog:
    """Appends to one file; several processes may. A file that was moved away (rotated) is begun anew within a second.

    A line is one write of a few hundred bytes, which the operating system appends whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = 0.0
        self._file = -1
        self._inode = -1

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line, with the time. Raises OSError: what cannot be written down is not answered."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._open()
        stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **line}
        os.write(
            self._file, (json.dumps(stamped, ensure_ascii=False) + "\n").encode("utf-8", "replace")
        )

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self._looked = time.monotonic()
        try:
            if self._file >= 0 and self._path.stat().st_ino == self._inode:
                return
        except FileNotFoundError:
            pass
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._inode = os.fstat(self._file).st_ino
