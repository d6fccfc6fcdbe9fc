"""Writing a page where someone will open it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_page(text: str, path: Path) -> None:
    """Write a page to `path` by an atomic rename, making its folder. Readable by all: a page is to be handed round."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        partial.chmod(0o644)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
