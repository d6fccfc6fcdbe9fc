"""Cached files of one table version, sealed with their SHA-256: missing, damaged or foreign means rebuilt.

FAISS and other parsers trust what they read, so nothing reaches them that does not match the seal.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

_SEAL = "seal.json"


Content = bytes | memoryview


def load(folder: Path) -> dict[str, Content] | None:
    """Contents of a sealed folder by file name, or None if it is missing or any file does not match.

    They are mapped, not read: processes share them, and what nobody looks at takes no memory. Files are only ever
    replaced as a whole folder, so what is mapped stays.
    """
    try:
        sealed = json.loads((folder / _SEAL).read_text())
        if not isinstance(sealed, dict) or any("/" in name for name in sealed):
            return None
        contents = {name: _mapped(folder / name) for name in sealed}
    except (OSError, ValueError, RecursionError):
        return None
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != sealed[name]:
            return None
    return contents


def _mapped(path: Path) -> Content:
    with path.open("rb") as file:
        if not path.stat().st_size:  # there is nothing to map
            return b""
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def save(folder: Path, contents: Mapping[str, Content]) -> None:
    """Seal these files in `folder`, replacing what is there. A cache that cannot be written is no error: the next
    reader builds it again."""
    sealed = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError:
        return
    try:
        for name, content in contents.items():
            (partial / name).write_bytes(content)
        (partial / _SEAL).write_text(json.dumps(sealed))
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except OSError:
        pass  # another reader sealed the same version first, or the disk is full
    finally:
        shutil.rmtree(partial, ignore_errors=True)
