"""`provray demo`: the main job on a small family of real models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo_command(
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for models, index and report.")
    ] = Path("demo-out"),
) -> None:
    """Build a zoo of models with known lineage, crawl it, query held-out children and strangers, write a report."""
