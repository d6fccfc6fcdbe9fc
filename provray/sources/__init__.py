"""Where models are listed and read from: folders, the Hub and its cache, S3, and text files that list any of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from provray.sources.base import ModelRef, Reader, Source, SourceError, SourceFile
from provray.sources.folder import FolderSource

__all__ = [
    "FolderSource",
    "ModelRef",
    "Reader",
    "Source",
    "SourceError",
    "SourceFile",
    "open_reader",
    "open_source",
]


def open_source(uri: str, since: datetime | None = None) -> Source:
    """The source behind a URI, a folder path, or a text file that lists sources.

    since: only models that changed then or later. What a source needs is imported when it is opened.

    Raises:
        ValueError: a scheme that is not read, or a path that is not there.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "hf":
        from provray.sources.hub import HubSource

        return HubSource(uri, since=since)
    if separator and scheme == "hf-cache":
        from provray.sources.hub_cache import HubCacheSource

        return HubCacheSource(uri, since=since)
    if separator and scheme == "s3":
        from provray.sources.s3 import S3Source

        return S3Source(uri, since=since)
    if separator and scheme != "file":
        raise ValueError(
            f"{scheme}:// is not read: name a folder, hf://…, hf-cache://…, s3://… or a .txt list of them"
        )
    path = Path(rest if separator else uri)
    if path.suffix == ".txt" and path.is_file():
        from provray.sources.listing import ListSource

        return ListSource(path, since=since)
    return FolderSource(path, since=since)


def open_reader(ref: ModelRef) -> Reader:
    """The reader of a remote model's files. Raises ValueError for a location that is not remote."""
    scheme = ref.location.partition("://")[0]
    if scheme == "hf":
        from provray.sources.hub import HubReader

        return HubReader(ref)
    if scheme == "s3":
        from provray.sources.s3 import S3Reader

        return S3Reader(ref)
    raise ValueError(f"{ref.location} is no remote model")
