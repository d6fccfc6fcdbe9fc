"""Models in an S3 bucket: listed by one series of pages, read by ranges at the listed ETag."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ParamValidationError

from provray.models.errors import ModelError, UnsafeModel
from provray.models.files import plain_name, show
from provray.sources.base import ModelRef, SourceError, SourceFile
from provray.sources.s3_client import S3_ERRORS, endpoint_of, reason_of, s3_client
from provray.sources.s3_reader import S3Reader
from provray.sources.wanted import counts, is_wanted

__all__ = [
    "ListedDirectory",
    "ListedObject",
    "S3Reader",
    "S3Source",
    "listed_revision",
    "models_among",
]

_PAGE_KEYS = 1000
_MOST_FILES = 10_000
"""Of one model. A directory with more is listed as unsafe, and its further files are not kept."""


@dataclass(frozen=True)
class ListedObject:
    """One object of a listing. `key`: below the source's prefix, without a leading slash."""

    key: str
    size: int
    tag: str
    modified: datetime


class S3Source:
    """Every directory of a bucket below a prefix, at any depth, with a `config.json` and a `*.safetensors` object.

    uri: `s3://bucket` or `s3://bucket/prefix`. A model's name is its path below the prefix; if the prefix is itself a
    model, the prefix's last part. What has a leading dot is left out. A revision says which objects were
    listed (`listed_revision`), so an unchanged model is known by the listing alone. since: only models with an object
    that counts written then or later, with a time zone.

    Endpoint, region and credentials are taken from where every AWS client takes them, `AWS_ENDPOINT_URL` included.
    Raises ValueError if no bucket is named.
    """

    def __init__(self, uri: str, since: datetime | None = None) -> None:
        scheme, _, rest = uri.partition("://")
        self.bucket, _, prefix = rest.partition("/")
        self.prefix = prefix.strip("/")
        self.since = since
        if scheme != "s3" or not self.bucket:
            raise ValueError(f"{uri!r} names no bucket: write s3://bucket or s3://bucket/prefix")

    @property
    def uri(self) -> str:
        """Bucket and prefix, without a slash at the end."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def models(self) -> Iterator[ModelRef]:
        """The models in the bucket's own order, what is inside a model before the model itself.

        Held in memory are one page of the listing and the directories around one key.

        Raises:
            SourceError: the bucket is not there, refuses, or is out of reach.
        """
        own_name = self.uri.rpartition("/")[2]
        for path, directory in models_among(self._objects()):
            modified = directory.modified
            if self.since is not None and (modified is None or modified < self.since):
                continue
            yield ModelRef(
                _printable(path) or own_name,
                f"{self.uri}/{path}" if path else self.uri,
                listed_revision(directory.files),
                {},
                directory.problem,
                tuple(directory.files),
                modified,
            )

    def _objects(self) -> Iterator[ListedObject]:
        client = s3_client()
        below = f"{self.prefix}/" if self.prefix else ""
        try:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=below, PaginationConfig={"PageSize": _PAGE_KEYS}
            )
            for page in pages:
                if "IsTruncated" not in page:  # some page of the web, read as an empty listing
                    raise SourceError(f"{endpoint_of(client)} does not answer as S3 does")
                for found in page.get("Contents", ()):
                    yield _object(found, len(below))
        except ParamValidationError:
            raise SourceError(f"{self.bucket!r} cannot be the name of a bucket") from None
        except S3_ERRORS as error:
            raise SourceError(
                f"cannot list bucket {self.bucket} at {endpoint_of(client)}: {reason_of(error)}"
            ) from None


@dataclass
class ListedDirectory:
    """What was seen so far of one directory: its wanted files, when one that counts was last written, and why it may
    not be read."""

    files: list[SourceFile] = field(default_factory=list)
    modified: datetime | None = None
    problem: ModelError | None = None

    def add(self, name: str, found: ListedObject) -> None:
        """Take up one more file."""
        if len(self.files) >= _MOST_FILES:
            self.problem = UnsafeModel(f"holds more than {_MOST_FILES:,} files of a model")
            return
        self.files.append(SourceFile(name, found.size, found.tag))
        if counts(name) and (self.modified is None or found.modified > self.modified):
            self.modified = found.modified

    def is_model(self) -> bool:
        """Whether it has a configuration and weights."""
        names = {file.name for file in self.files}
        return "config.json" in names and any(name.endswith(".safetensors") for name in names)


def models_among(objects: Iterable[ListedObject]) -> Iterator[tuple[str, ListedDirectory]]:
    """The directories that are models, by path ("" is the prefix itself), each as soon as its last key went by.

    All keys of a directory must come together, those of its subdirectories among them: so they do in any listing that
    is sorted, by whole keys as in S3 or by directories as in SeaweedFS.
    """
    open_ones: list[tuple[str, ListedDirectory]] = []
    for found in objects:
        folder, slash, name = found.key.rpartition("/")
        within = folder + slash  # with the slash at its end, or empty
        while open_ones and not found.key.startswith(open_ones[-1][0]):
            yield from _finished(*open_ones.pop())
        if not is_wanted(name) or any(_is_hidden(part) for part in found.key.split("/")):
            continue
        if not open_ones or open_ones[-1][0] != within:
            open_ones.append((within, ListedDirectory()))
        open_ones[-1][1].add(name, found)
    while open_ones:
        yield from _finished(*open_ones.pop())


def listed_revision(files: Iterable[SourceFile]) -> str:
    """SHA-256 over (name, NUL, size, NUL, ETag, newline) of the files that count, by name, as hexadecimal."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        if counts(file.name):
            digest.update(
                f"{file.name}\0{file.size}\0{file.tag}\n".encode("utf-8", "surrogatepass")
            )
    return digest.hexdigest()


def _finished(within: str, directory: ListedDirectory) -> Iterator[tuple[str, ListedDirectory]]:
    if directory.is_model():
        path = within.removesuffix("/")
        directory.problem = directory.problem or _hostile(path, directory.files)
        yield path, directory


def _printable(path: str) -> str:
    return path if path.isprintable() else repr(path)[1:-1]


def _is_hidden(part: str) -> bool:
    return part.startswith(".") and part not in (".", "..")


def _hostile(path: str, files: list[SourceFile]) -> ModelError | None:
    """Why names that a stranger wrote may not be used; None if they may."""
    for part in path.split("/") if path else ():
        if part in ("", ".", "..") or "\\" in part or not part.isprintable():
            return UnsafeModel(f"its path {show(path)} has the part {show(part)}")
    for file in files:
        if (
            not plain_name(file.name)
            or not file.name.isprintable()
            or len(file.name.encode()) > 255
        ):
            return UnsafeModel(f"the name {show(file.name)} is none that a file can have here")
    return None


def _object(found: dict[str, Any], cut: int) -> ListedObject:
    modified = found["LastModified"].astimezone(UTC)
    return ListedObject(found["Key"][cut:], found["Size"], found.get("ETag", ""), modified)
