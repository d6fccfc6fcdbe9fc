"""Reading the files of one model on the Hub, over plain HTTP with range requests. Nothing is cached."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx2
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

from provray.models.errors import UnavailableModel
from provray.sources import hub_http
from provray.sources.base import ModelRef, SourceFile

_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class _Running:
    """What is known of a file: its size, the SHA-256 it must have, and that of its first `position` bytes."""

    size: int
    sha256: str
    position: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)


class HubReader:
    """Reads the files of a model at its commit (see `base.Reader`). `ref.location`: `hf://org/name@commit`.

    A file that is read in order from its first byte to its last, in however many calls, is checked against the SHA-256
    that the listing or the Hub's answer names, before its last piece is given out.
    """

    def __init__(self, ref: ModelRef) -> None:
        self._model, _, self._commit = ref.location.removeprefix("hf://").partition("@")
        self._hub = hub_http.current_hub()
        self._running: dict[str, _Running] = {}

    def head(self, file: SourceFile, count: int) -> tuple[bytes, int]:
        """The first `count` (at least 1) bytes of a file, and its whole size. Raises UnavailableModel."""
        start = b"".join(self._pieces(file, 0, count))
        return start, self._running[file.name].size

    def stream(self, file: SourceFile, begin: int, end: int) -> Iterator[bytes]:
        """Bytes `begin` to `end` as they arrive. After a cut connection it goes on at the byte that is missing.

        Raises UnavailableModel: refused, changed, another digest, or no progress in `hub_http.TRIES` tries in a row.
        """
        yield from self._pieces(file, begin, end)
        if begin < end and self._running[file.name].size < end:
            raise UnavailableModel(
                f"{file.name} has {self._running[file.name].size:,} bytes, fewer than the {end:,} that should be read"
            )

    def close(self) -> None:
        """Nothing: connections are shared by all readers of a process, and idle ones are closed after seconds."""

    def _pieces(self, file: SourceFile, begin: int, end: int) -> Iterator[bytes]:
        """Bytes `begin` to `end`, or to the end of the file if that comes first."""
        url = hf_hub_url(self._model, file.name, revision=self._commit, endpoint=self._hub.endpoint)
        patience = hub_http.Patience()
        position = begin
        while position < end:
            try:
                with self._hub.one_try(url, byte_range=f"bytes={position}-{end - 1}") as response:
                    running = self._checked(file, response)
                    end = min(end, running.size)
                    if response.status_code == 416 and position < end:
                        raise UnavailableModel(
                            f"{file.name} refuses its bytes {position:,} to {end:,}"
                        )
                    for piece in _body(response, position, end):
                        self._digest(file, running, position, piece)
                        position += len(piece)
                        patience.progress()
                        yield piece
                    if position < end:
                        raise hub_http.Interruption("ends a file too early")
            except hub_http.Interruption as interruption:
                self._wait(file, patience, interruption)
            except HfHubHTTPError as error:
                raise self._refused(error) from None

    def _wait(
        self, file: SourceFile, patience: hub_http.Patience, interruption: hub_http.Interruption
    ) -> None:
        try:
            patience.wait(interruption)
        except hub_http.OutOfReach as error:
            raise UnavailableModel(
                f"{file.name} cannot be read: {self._hub.endpoint} {error}; crawl it again later"
            ) from None

    def _refused(self, error: HfHubHTTPError) -> UnavailableModel:
        reason = hub_http.refusal(error, self._commit)
        if reason is not None:
            return UnavailableModel(reason)
        if hub_http.is_bad_token(error):
            reason = "the token is refused: set HF_TOKEN to a valid one, or unset it"
        else:
            reason = f"HTTP {error.response.status_code}"
        return UnavailableModel(f"the model cannot be read from {self._hub.endpoint}: {reason}")

    def _checked(self, file: SourceFile, response: httpx2.Response) -> _Running:
        """The file as this answer describes it: the commit, the size, and what an earlier answer said must agree."""
        # Large files are redirected to a store; what the Hub says of them stands in the redirect.
        answers = (*response.history, response)
        for answer in answers:
            commit = answer.headers.get(constants.HUGGINGFACE_HEADER_X_REPO_COMMIT)
            if commit is not None and commit != self._commit:
                raise UnavailableModel(
                    f"{file.name} is served at commit {commit[:40]}, asked was {self._commit}: crawl it again"
                )
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise UnavailableModel(
                f"{file.name} arrives compressed ({encoding[:20]}), though plain bytes were asked"
            )
        size = _whole_size(response)
        known = self._running.get(file.name)
        for expected in (file.size, known.size if known else -1):
            if size < 0:
                size = expected
            if expected >= 0 and size != expected:
                raise UnavailableModel(
                    f"{file.name} has {size:,} bytes, listed were {expected:,}: it has changed, crawl it again"
                )
        if size < 0:
            raise UnavailableModel(f"{file.name}: the server does not say how long it is")
        if known is None:
            sha256 = file.tag.removeprefix("sha256:")
            for answer in answers:
                sha256 = sha256 or answer.headers.get("x-linked-etag", "").strip('"')
            known = _Running(size, sha256 if _SHA256.fullmatch(sha256) else "")
            self._running[file.name] = known
        return known

    def _digest(self, file: SourceFile, running: _Running, position: int, piece: bytes) -> None:
        if position == 0:
            running.position, running.digest = 0, hashlib.sha256()
        if position != running.position or not running.sha256:
            return
        running.digest.update(piece)
        running.position += len(piece)
        if running.position == running.size and running.digest.hexdigest() != running.sha256:
            raise UnavailableModel(
                f"{file.name} arrived with SHA-256 {running.digest.hexdigest()}, the Hub names {running.sha256}: "
                "crawl it again"
            )


def _body(response: httpx2.Response, begin: int, end: int) -> Iterator[bytes]:
    """The wanted bytes of an answer, which may hold the whole file: not every server knows ranges."""
    if begin >= end:
        return
    position = begin if response.status_code == 206 else 0
    for piece in response.iter_raw():
        wanted = piece[max(0, begin - position) : max(0, end - position)]
        position += len(piece)
        if wanted:
            yield wanted
        if position >= end:
            return


def _whole_size(response: httpx2.Response) -> int:
    """The size of the whole file as an answer gives it, -1 if it does not."""
    found = _RANGE.fullmatch(response.headers.get("content-range", ""))
    size = found[2] if found else "*"
    if response.status_code == 200:
        size = response.headers.get("content-length", "*")
    return int(size) if size.isascii() and size.isdigit() else -1
