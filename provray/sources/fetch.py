"""Fetching remote models into a bounded folder: what is cheap and decides comes first.

Configuration, tokenizer and card are read whole. Of each weight file only the header comes at first, into a sparse
file of the full size, so that every check of `models.checkpoint` runs before the weights travel: a model that is
refused costs kilobytes. Then the weights follow, or only the ranges that a sampled sketch reads.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from provray.models.checkpoint import INDEX_SUFFIX, Checkpoint, open_checkpoint
from provray.models.config import read_config
from provray.models.errors import SlowModel, TooLargeModel, UnsafeModel
from provray.models.files import MIB, Limits, plain_name
from provray.sources import open_reader
from provray.sources.base import ModelRef, Reader, SourceFile
from provray.sources.folder import read_card
from provray.sources.wanted import CARD

HEAD_BYTES = 128 * 1024
"""Of a weight file, in the first request: the header of most models, all of a very small one."""

_GAP = MIB

Ranges = Callable[[Checkpoint], Mapping[Path, Sequence[tuple[int, int]]]]
"""The byte ranges of each weight file that will be read, of a checkpoint whose headers are there."""


class ScratchFull(RuntimeError):
    """The disk under the scratch folder is full: no fault of a model's."""


@dataclass(frozen=True)
class Fetched:
    """A model that lies on this machine. `ref`: the same model, with a local folder and what its card declares;
    `bytes`: that travelled; `seconds`: that took, waiting for room left out."""

    ref: ModelRef
    bytes: int
    seconds: float


_Key = tuple[str, str, bool]
"""Model, revision, and whether all of its weights were wanted."""


@dataclass
class _Held:
    folder: Path
    ready: threading.Event
    bytes: int = 0
    outcome: Fetched | BaseException | None = None


class Scratch:
    """The fetched models of one process: a folder each below `root`, at most `budget` bytes in all, deleted when they
    are dropped. Folders that dead processes left are removed first.

    limits: bounds of a checkpoint, `total_bytes` among them. seconds: time limit of one model's fetch. Safe to use from
    several threads. Raises OSError if nothing can be written to `root`.
    """

    def __init__(self, root: Path, budget: int, limits: Limits, seconds: float) -> None:
        self._limits = limits
        self._budget = budget
        self._seconds = seconds
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        self._folder = Path(tempfile.mkdtemp(prefix="worker-", dir=root))
        self._lock_file = _locked(self._folder)
        self._room = threading.Condition()
        self._used = 0
        self._held: dict[_Key, _Held] = {}

    def fetch(self, ref: ModelRef, *, probed: bool, ranges: Ranges | None = None) -> Fetched:
        """Fetch a model, or wait for the thread that is fetching it.

        probed: it will be run, so a kind that cannot be is refused before its weights travel. ranges: fetch only these
        of its weights. Raises ModelError if it is not to be had, ScratchFull.
        """
        key = (ref.model, ref.revision, ranges is None)
        with self._room:
            held = self._held.get(key)
            first = held is None
            if held is None:
                held = _Held(
                    self._folder / hashlib.sha256(repr(key).encode()).hexdigest()[:24],
                    threading.Event(),
                )
                self._held[key] = held
        if not first:
            held.ready.wait()
        else:
            try:
                held.outcome = self._fetch(ref, held, probed, ranges)
            except BaseException as error:
                held.outcome = error
                self._forget(key, held)
            finally:
                held.ready.set()
        if isinstance(held.outcome, Fetched):
            return held.outcome
        assert held.outcome is not None
        raise held.outcome

    def drop(self, ref: ModelRef) -> None:
        """Delete what was fetched of a model; nothing if nothing was, or if it is being fetched just now."""
        for whole in (True, False):
            key = (ref.model, ref.revision, whole)
            held = self._held.get(key)
            if held is not None and held.ready.is_set():
                self._forget(key, held)

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock_file.close()

    def _forget(self, key: _Key, held: _Held) -> None:
        shutil.rmtree(held.folder, ignore_errors=True)
        with self._room:
            if self._held.get(key) is held:
                del self._held[key]
            self._used -= held.bytes
            held.bytes = 0
            self._room.notify_all()

    def _fetch(self, ref: ModelRef, held: _Held, probed: bool, ranges: Ranges | None) -> Fetched:
        clock = _Clock(self._seconds)
        reader = open_reader(ref)
        try:
            with _disk(held.folder):
                held.folder.mkdir(exist_ok=True)
                one = _OneModel(ref, held.folder, reader, self._limits, clock)
                one.small_files()
                if probed:
                    read_config(held.folder, self._limits)
                checkpoint = one.headers()
                wanted = one.rest() if ranges is None else _joined(ranges(checkpoint))
                with clock.stopped():
                    self._take_room(
                        held, one.bytes + sum(e - b for some in wanted.values() for b, e in some)
                    )
                one.weights(wanted)
        finally:
            reader.close()
        declared = dict(ref.declared) or read_card(held.folder)
        local = replace(ref, location=str(held.folder), declared=declared, files=())
        return Fetched(local, one.bytes, clock.seconds)

    def _take_room(self, held: _Held, count: int) -> None:
        if count > self._budget:
            raise TooLargeModel(
                f"its files take {count:,} bytes of disk, a worker may hold {self._budget:,}: raise --disk"
            )
        with self._room:
            self._room.wait_for(lambda: self._used + count <= self._budget)
            self._used += count
            held.bytes = count


class _OneModel:
    """The files of one model on their way into `folder`; counts the bytes that travelled."""

    def __init__(
        self, ref: ModelRef, folder: Path, reader: Reader, limits: Limits, clock: _Clock
    ) -> None:
        self.ref, self.folder, self.reader, self.limits, self.clock = (
            ref,
            folder,
            reader,
            limits,
            clock,
        )
        self.bytes = 0
        self._heads: dict[str, tuple[SourceFile, int]] = {}
        for file in ref.files:
            if not plain_name(file.name):
                raise UnsafeModel(
                    f"a file is named {file.name[:80]!r}: only plain names are fetched"
                )

    def small_files(self) -> None:
        """Everything but the weights."""
        for file in self.ref.files:
            if file.name.endswith(".safetensors"):
                continue
            limit = self._bound(file.name)
            start, size = self.reader.head(file, min(limit, MIB))
            self.bytes += len(start)
            # Of a card, what is declared stands at the top.
            if size > limit and file.name != CARD:
                raise UnsafeModel(
                    f"{file.name} has {size:,} bytes, more than the limit of {limit:,}"
                )
            with (self.folder / file.name).open("wb") as out:
                out.write(start)
                if file.name != CARD:
                    for piece in self._pieces(file, len(start), size):
                        out.write(piece)

    def headers(self) -> Checkpoint:
        """Sparse weight files with their headers alone, checked. Raises ModelError."""
        for file in self.ref.files:
            if file.name.endswith(".safetensors"):
                self._header(file)
        return open_checkpoint(self.folder, self.limits)

    def rest(self) -> Mapping[Path, Sequence[tuple[int, int]]]:
        """What is still missing of each weight file."""
        return {
            self.folder / name: [(begin, file.size)] for name, (file, begin) in self._heads.items()
        }

    def weights(self, wanted: Mapping[Path, Sequence[tuple[int, int]]]) -> None:
        """Fetch ranges into the sparse files."""
        for path, ranges in wanted.items():
            file, begin = self._heads[path.name]
            with path.open("r+b") as out:
                for first, end in ranges:
                    place = max(first, begin)
                    out.seek(place)
                    for piece in self._pieces(file, place, end):
                        out.write(piece)

    def _header(self, file: SourceFile) -> None:
        start, size = self.reader.head(file, HEAD_BYTES)
        self.bytes += len(start)
        with (self.folder / file.name).open("wb") as out:
            out.write(start)
            place = len(start)
            length = struct.unpack("<Q", start[:8])[0] if place >= 8 else 0
            # A header that breaks a bound is not worth fetching: the checks refuse it by its length alone.
            if length <= min(self.limits.header_bytes, size - 8) and 8 + length > place:
                for piece in self._pieces(file, place, 8 + length):
                    out.write(piece)
                place = 8 + length
            out.truncate(size)
        self._heads[file.name] = replace(file, size=size), place

    def _pieces(self, file: SourceFile, begin: int, end: int) -> Iterator[bytes]:
        if begin >= end:
            return
        for piece in self.reader.stream(file, begin, end):
            self.clock.check()
            self.bytes += len(piece)
            yield piece

    def _bound(self, name: str) -> int:
        if name.endswith(INDEX_SUFFIX):
            return self.limits.header_bytes
        if name == CARD or "config" in name or name == "special_tokens_map.json":
            return self.limits.config_bytes
        return self.limits.tokenizer_bytes


def _joined(
    ranges: Mapping[Path, Iterable[tuple[int, int]]],
) -> Mapping[Path, Sequence[tuple[int, int]]]:
    """The same ranges, those with a small gap between them as one: a request costs more than the bytes of the gap."""
    joined: dict[Path, list[tuple[int, int]]] = {}
    for path, some in ranges.items():
        found = joined.setdefault(path, [])
        for begin, end in some:
            if found and begin - found[-1][1] <= _GAP:
                found[-1] = (found[-1][0], end)
            else:
                found.append((begin, end))
    return joined


class _Clock:
    """Time spent on one model's fetch, against its limit."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def check(self) -> None:
        """Raises SlowModel when the time is up."""
        if self.seconds > self._limit:
            raise SlowModel(f"could not be fetched within the time limit of {self._limit:g} s")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Time in here does not count."""
        before = time.monotonic()
        yield
        self._began += time.monotonic() - before


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            raise
        raise ScratchFull(
            f"cannot write fetched files to {folder.parent}: {error.strerror}; free space, lower --disk, or name "
            "another place with --scratch"
        ) from error


def _locked(folder: Path) -> IO[bytes]:
    """A file that stays locked as long as this process lives, however it ends."""
    unlocked = folder / ".unlocked"
    file = unlocked.open("wb")
    fcntl.flock(file, fcntl.LOCK_EX)
    # Only under its final name is it looked at by others.
    unlocked.replace(folder / ".lock")
    return file


def _sweep(root: Path) -> None:
    """Remove the folders of processes that are gone."""
    for folder in root.glob("worker-*"):
        with suppress(OSError), (folder / ".lock").open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def default_scratch() -> Path:
    """Where fetched models lie unless a place is named: one folder a user."""
    return Path(tempfile.gettempdir()) / f"provray-scratch-{os.getuid()}"
