"""An index on disk, made older than it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

_TIMES = ("timestamp", "modificationTime", "deletionTimestamp")


def age(root: Path, days: float) -> None:
    """Put everything that was done to the index at `root` so many days further back: its log and its files.

    Checkpoints, which hold times too, are deleted: the log is complete without them.
    """
    for path in (root / "table" / "_delta_log").glob("*checkpoint*"):
        path.unlink()
    for path in (root / "table").rglob("*"):
        if path.suffix == ".json" and path.parent.name == "_delta_log":
            actions = [json.loads(line) for line in path.read_text().splitlines()]
            for action in actions:
                for content in action.values():
                    for name in set(_TIMES) & set(content):
                        content[name] -= int(days * 86_400_000)
            path.write_text("".join(json.dumps(action) + "\n" for action in actions))
        if path.is_file():
            before = path.stat().st_mtime - days * 86_400
            os.utime(path, (before, before))
