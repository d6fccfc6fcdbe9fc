"""Models that `huggingface_hub` downloaded to this machine before: its cache, read where it lies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from huggingface_hub import constants

from provray.sources.base import ModelRef
from provray.sources.folder import FolderSource


class HubCacheSource:
    """Every model in a cache of `huggingface_hub`, at the revision that `main` names there, else the newest one.

    uri: `hf-cache://`, the cache that the environment names (`HF_HUB_CACHE`, `HF_HOME`), or `hf-cache:///path`. A
    model is called `org/name` as on the Hub, and its revision is the commit, so one that was crawled from the Hub is
    not crawled again. Repositories without a checkpoint are left out. since: only models whose files were fetched or
    changed then or later.

    Raises ValueError if there is no such cache.
    """

    def __init__(self, uri: str, since: datetime | None = None) -> None:
        path = uri.partition("://")[2] or constants.HF_HUB_CACHE
        self.root = Path(path).expanduser()
        self.since = since
        if not self.root.is_dir():
            raise ValueError(
                f"{self.root} is no cache of huggingface_hub: name one, hf-cache:///path/to/hub, or set HF_HUB_CACHE"
            )

    def models(self) -> Iterator[ModelRef]:
        """The models by name. One whose files are not all there is listed with its problem."""
        # Not `scan_cache_dir`: it leaves a repository out of which one file is missing.
        for repository in sorted(self.root.glob("models--*")):
            snapshot = _snapshot(repository)
            if snapshot is None:
                continue
            name = repository.name.removeprefix("models--").replace("--", "/")
            for ref in FolderSource(snapshot).models():
                # A crawl of the Hub reads the top of a repository alone.
                if ref.location == str(snapshot.resolve()) and not self._older(ref):
                    yield replace(ref, model=name, revision=snapshot.name)

    def _older(self, ref: ModelRef) -> bool:
        return bool(self.since and ref.modified and ref.modified < self.since)


def _snapshot(repository: Path) -> Path | None:
    """The folder of the commit that `main` names, else of the one that was fetched last; None if there is none."""
    try:
        commit = (repository / "refs" / "main").read_text().strip()
        if re.fullmatch("[0-9a-f]{40}", commit) and (repository / "snapshots" / commit).is_dir():
            return repository / "snapshots" / commit
    except (OSError, ValueError):
        pass  # only commits or tags were fetched
    found = [path for path in repository.glob("snapshots/*") if path.is_dir()]
    return max(found, key=lambda path: (path.stat().st_mtime, path.name), default=None)
