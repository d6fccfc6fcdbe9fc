"""Where models are listed and read from."""

from __future__ import annotations

from provray.sources.base import ModelRef, Source
from provray.sources.folder import FolderSource

__all__ = ["FolderSource", "ModelRef", "Source", "open_source"]


def open_source(uri: str) -> Source:
    """The source behind a URI or a folder path.

    Raises:
        ValueError: a scheme that is not read, or a path that is no directory.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "file":
        return FolderSource(rest)
    if separator:
        raise ValueError(
            f"{scheme}:// sources are not supported yet by this version: "
            "copy the models to a folder and name the folder"
        )
    return FolderSource(uri)
