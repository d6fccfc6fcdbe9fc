"""Reading the objects of one model, at the ETags that were listed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from botocore.exceptions import ClientError, IncompleteReadError
from urllib3.exceptions import HTTPError

from provray.models.errors import UnavailableModel
from provray.sources.base import ModelRef, SourceFile
from provray.sources.s3_client import (
    S3_ERRORS,
    asked_wait,
    endpoint_of,
    is_passing,
    reason_of,
    s3_client,
    status_in,
)

_PIECE = 1 << 18
"""Bytes asked of a connection at once: what is lost at most when it breaks."""

_FAILURES = 5
"""In a row and without a byte between them, after which a model is given up."""

_FIRST_WAIT = 1.0
"""Seconds after the first failure; doubled after each further one."""


class S3Reader:
    """Reads the files of one model in a bucket (`base.Reader`), by ranges and only at the listed ETag.

    What fails for the moment (a lost connection, 429, 5xx) is tried again by the client, with its back-off, and then
    here, with longer waits: some two minutes in all. Raises SourceError if S3 cannot be set up.
    """

    def __init__(self, ref: ModelRef) -> None:
        self.bucket, _, self._folder = ref.location.removeprefix("s3://").partition("/")
        self._client = s3_client()

    def head(self, file: SourceFile, count: int) -> tuple[bytes, int]:
        """The first `count` bytes of a file (fewer if it is shorter), and its size. Raises UnavailableModel."""
        if file.size == 0:  # there is nothing to read, and no range that is valid
            return b"", 0
        end = count if file.size < 0 else min(count, file.size)
        answers = list(self._read(file, 0, end))
        return b"".join(piece for piece, _ in answers), answers[-1][1]

    def stream(self, file: SourceFile, begin: int, end: int) -> Iterator[bytes]:
        """Bytes `begin` to `end` in pieces; goes on where a connection broke off. Raises UnavailableModel."""
        for piece, _ in self._read(file, begin, end):
            yield piece

    def close(self) -> None:
        """Nothing: connections belong to the client, which all readers of a process share."""

    def _read(self, file: SourceFile, begin: int, end: int) -> Iterator[tuple[bytes, int]]:
        """Pieces of a range, each with the size of the whole object."""
        place, failures = begin, 0
        while place < end:
            wait = 0.0
            try:
                body, size = self._open(file, place, end)
                end = min(end, size)
                with closing(body):
                    while place < end and (piece := body.read(min(_PIECE, end - place))):
                        place += len(piece)
                        failures = 0
                        yield piece, size
                reason = "the connection was closed"
            except (*S3_ERRORS, HTTPError, OSError) as error:
                self._raise_if_lasting(file, error)
                reason, wait = reason_of(error), asked_wait(error)
            if place < end:
                failures += 1
                if failures > _FAILURES:
                    raise self._unavailable(file, f"{reason}, {failures} times in a row")
                time.sleep(max(wait, _FIRST_WAIT * 2 ** (failures - 1)))

    def _open(self, file: SourceFile, begin: int, end: int) -> tuple[Any, int]:
        wanted = {
            "Bucket": self.bucket,
            "Key": f"{self._folder}/{file.name}" if self._folder else file.name,
            "Range": f"bytes={begin}-{end - 1}",
        }
        if file.tag:
            wanted["IfMatch"] = file.tag
        answer = self._client.get_object(**wanted)
        given, _, whole = answer.get("ContentRange", "").rpartition("/")
        size = int(whole) if whole.isdecimal() and given.startswith(f"bytes {begin}-") else -1
        if size >= 0 and file.size in (-1, size):
            return answer["Body"], size
        answer["Body"].close()
        if status_in(answer) != 206:
            raise self._unavailable(file, "the server does not give byte ranges")
        if size >= 0 and not file.tag:
            raise self._changed(file)
        # The ETag held, so the answer's head was cut off: Python reads what there is of it without a word.
        raise IncompleteReadError(actual_bytes=0, expected_bytes=end - begin)

    def _raise_if_lasting(self, file: SourceFile, error: Exception) -> None:
        if isinstance(error, ClientError) and status_in(error.response) in (412, 416):
            raise self._changed(file) from None
        passing = is_passing(error) or isinstance(error, IncompleteReadError)
        if isinstance(error, S3_ERRORS) and not passing:
            raise self._unavailable(file, reason_of(error)) from None

    def _changed(self, file: SourceFile) -> UnavailableModel:
        return UnavailableModel(f"{file.name} changed since it was listed: crawl again")

    def _unavailable(self, file: SourceFile, reason: str) -> UnavailableModel:
        return UnavailableModel(
            f"{file.name} cannot be read from bucket {self.bucket} at {endpoint_of(self._client)}: {reason}"
        )
