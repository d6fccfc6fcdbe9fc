"""Where models may be read from: nothing but what the operator allowed, whatever a caller writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from provray.serve.problems import Refused

_HUB = re.compile(r"hf://([\w.-]{1,96})/([\w.-]{1,96})(?:@([\w./-]{1,128}))?", re.ASCII)
_BUCKET = re.compile(r"s3://([a-z0-9.-]{3,63})/([\w./=+ -]{1,400})", re.ASCII)


class AllowList:
    """Folders (everything below), `hf://` (all), `hf://org`, and `s3://bucket/prefix`.

    Raises ValueError for a root that is none of these, or a folder that does not exist.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        self.roots = tuple(roots)
        self._folders: list[Path] = []
        self._orgs: set[str] = set()
        self._buckets: list[str] = []
        for root in roots:
            if match := re.fullmatch(r"hf://([\w.-]*)/?", root, re.ASCII):
                self._orgs.add(match[1])
            elif re.fullmatch(r"s3://[a-z0-9.-]{3,63}(/.*)?", root):
                self._buckets.append(root.rstrip("/") + "/")
            elif "://" in root.removeprefix("file://"):
                raise ValueError(
                    f"cannot allow {root!r}: name a folder, hf://org or s3://bucket/prefix"
                )
            else:
                folder = Path(root.removeprefix("file://")).expanduser()
                if not folder.is_dir():
                    raise ValueError(f"cannot allow {root!r}: it is not a directory")
                self._folders.append(folder.resolve())

    def told(self) -> list[str]:
        """The roots as callers are told of them: of folders the name only."""
        return [r if "://" in r else Path(r).name for r in self.roots]

    def check(self, reference: str) -> str:
        """The source to open for what a caller named; a folder with all links resolved.

        Raises Refused `source-not-allowed`. It says the same whether or not something is there.
        """
        found = None
        if reference.startswith("hf://"):
            found = self._hub(reference)
        elif reference.startswith("s3://"):
            found = self._bucket(reference)
        elif "://" not in reference.removeprefix("file://"):
            found = self._folder(reference.removeprefix("file://"))
        if found is None:
            allowed = ", ".join(self.told()) or "nowhere: only indexed models and fingerprints"
            raise Refused(
                "source-not-allowed",
                f"this service may not read a model from there; it may read from: {allowed}",
            )
        return found

    def _hub(self, reference: str) -> str | None:
        match = _HUB.fullmatch(reference)
        if match is None or ".." in reference or not self._orgs & {"", match[1]}:
            return None
        return reference

    def _bucket(self, reference: str) -> str | None:
        match = _BUCKET.fullmatch(reference)
        if match is None or any(
            part in ("..", ".", "") for part in match[2].rstrip("/").split("/")
        ):
            return None
        inside = f"{reference.rstrip('/')}/"
        return reference if any(inside.startswith(root) for root in self._buckets) else None

    def _folder(self, path: str) -> str | None:
        if not path.startswith("/") or "\0" in path:
            return None
        try:
            folder = Path(path).resolve()
            inside = self._within(folder) and folder.is_dir()
            # A link inside the folder may lead out of it, too.
            inside = inside and all(self._within(file.resolve()) for file in folder.iterdir())
        except (OSError, RuntimeError, ValueError):
            return None
        return str(folder) if inside else None

    def _within(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._folders)


def is_reference(text: str) -> bool:
    """Whether a caller's text names a place to read from, and not an indexed model."""
    return "://" in text or text.startswith(("/", "."))


def without_secrets(text: str) -> str:
    """A reference as it may be written down: credentials that someone put into a URI are left out."""
    return re.sub(r"(://)[^/@\s]*@", r"\1…@", text)
