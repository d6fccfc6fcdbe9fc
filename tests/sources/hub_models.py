"""Model folders for the local hub: small, and different by name."""

from __future__ import annotations

import hashlib
from pathlib import Path


def folder(root: Path, name: str, card: str = "", size: int = 1000, **files: bytes) -> Path:
    """A folder with a config, `size` bytes of weights, a card's front matter and more files (`a__b` is `a.b`)."""
    made = root / name
    made.mkdir(parents=True, exist_ok=True)
    (made / "config.json").write_text(f'{{"name": "{name}"}}')
    (made / "model.safetensors").write_bytes(content(name, size))
    (made / "README.md").write_text(f"---\n{card}\n---\n# {name}\n")
    for file, data in files.items():
        (made / file.replace("__", ".")).write_bytes(data)
    return made


def content(name: str, size: int) -> bytes:
    """The same bytes for the same name, without a pattern that a shifted read could hide in."""
    return hashlib.shake_128(name.encode()).digest(size)
