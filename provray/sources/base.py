"""What a source of models is, and how the files of a remote model are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from provray.models.errors import ModelError


class SourceError(ValueError):
    """A source that cannot be listed: out of reach, refused, or not there."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a model at the revision that was listed.

    size: bytes, or -1 where the listing does not say. tag: what must still hold when it is read (an S3 ETag; of a local
    file its modification time and inode), empty where the revision alone pins the content.
    """

    name: str
    size: int = -1
    tag: str = ""


@dataclass(frozen=True)
class ModelRef:
    """One model at one revision.

    model: its name in the index. location: local directory with its files, or the URI that `open_reader` reads.
    revision: commit or content digest. declared: what its card says (`base_model`, `license`, `name`): shown, never
    used as evidence. problem: why it cannot be read at all; revision may then be empty. files: what is fetched of a
    remote model, what counts of a local one. modified: when it last changed, if the source says so.
    """

    model: str
    location: str
    revision: str
    declared: Mapping[str, Any]
    problem: ModelError | None = None
    files: tuple[SourceFile, ...] = ()
    modified: datetime | None = None

    @property
    def remote(self) -> bool:
        """Whether its files must be fetched before they can be read."""
        return "://" in self.location


class Source(Protocol):
    """A place that lists models, always in the same order."""

    def models(self) -> Iterator[ModelRef]:
        """The models found, each with its revision."""


class Reader(Protocol):
    """Reads the files of one remote model at the revision of its ref.

    Short failures (a lost connection, 429, 5xx) are waited out inside, honouring `Retry-After`. What remains is raised
    as `UnavailableModel`; a file that is no longer the one that was listed, too.
    """

    def head(self, file: SourceFile, count: int) -> tuple[bytes, int]:
        """The first `count` bytes of a file (fewer if it is shorter), and its whole size; one request."""

    def stream(self, file: SourceFile, begin: int, end: int) -> Iterator[bytes]:
        """Bytes `begin` to `end` in pieces of at most a MiB; goes on where a connection broke off."""

    def close(self) -> None:
        """Give up connections."""
