"""What is left to do: models of the sources that the index does not know yet, found while others are fingerprinted."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.settings import BEHAVIOUR, STAGES, Stage
from provray.fingerprints.space import weights_space
from provray.index.row import Key
from provray.probes import MODALITIES
from provray.sources import ModelRef, Source

_Filter = Callable[[Iterable[ModelRef]], Iterator["WorkItem | None"]]

_AHEAD = 1000
"""Models that are listed before the first of them is taken: a bound on memory, not on a crawl."""


@dataclass(frozen=True)
class WorkItem:
    """One model to fingerprint, and the stages that it still lacks."""

    ref: ModelRef
    stages: tuple[Stage, ...]

    @property
    def behaviour(self) -> tuple[Stage, ...]:
        """The stages that run the model."""
        return tuple(stage for stage in self.stages if stage in BEHAVIOUR)


class Work(Protocol):
    """Where models to fingerprint come from."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing will come any more."""

    def take(self, wait: float = 0.0) -> WorkItem | None:
        """The next model, or None if there is none just now or none any more."""


class Items:
    """Work that is all known beforehand."""

    def __init__(self, items: Sequence[WorkItem]) -> None:
        self._items = deque(items)

    @property
    def exhausted(self) -> bool:
        """Whether all were taken."""
        return not self._items

    def take(self, wait: float = 0.0) -> WorkItem | None:
        """The next one, or None."""
        return self._items.popleft() if self._items else None


def missing(
    ref: ModelRef,
    known: Mapping[Key, str],
    fingerprinter: Fingerprinter,
    stages: Sequence[Stage] = STAGES,
    retry_failed: bool = False,
) -> tuple[Stage, ...]:
    """The stages of a model that are not in the index.

    A model that failed is done: its reason is in the index. With `retry_failed` what failed is missing again.
    """
    statuses: dict[Stage, str | None] = {
        stage: _status(stage, ref, known, fingerprinter) for stage in STAGES
    }
    failed = [stage for stage, status in statuses.items() if status not in (None, "ok")]
    if failed and retry_failed:
        return tuple(stage for stage in stages if statuses[stage] != "ok")
    if "weights" in failed:
        return ()
    if failed:
        # It cannot be run, and a remote one's weights were then not fetched: they are, where they alone are asked for.
        only = tuple(stages) == ("weights",) and statuses["weights"] is None
        return ("weights",) if only else ()
    return tuple(stage for stage in stages if statuses[stage] is None)


def remaining(
    refs: Iterable[ModelRef],
    known: Mapping[Key, str],
    fingerprinter: Fingerprinter,
    stages: Sequence[Stage] = STAGES,
    retry_failed: bool = False,
) -> Iterator[WorkItem | None]:
    """For each model of `refs` what it lacks, or None if it lacks nothing or was listed before."""
    listed: set[tuple[str, str]] = set()
    for ref in refs:
        wanted = missing(ref, known, fingerprinter, stages, retry_failed)
        if (ref.model, ref.revision) in listed:
            wanted = ()
        listed.add((ref.model, ref.revision))
        yield WorkItem(ref, wanted) if wanted else None


def _status(
    stage: Stage, ref: ModelRef, known: Mapping[Key, str], fingerprinter: Fingerprinter
) -> str | None:
    """Of the stage's row: in the space of any modality, or in none for a model whose modality was not known."""
    if stage == "weights":
        return known.get((ref.model, ref.revision, weights_space(fingerprinter.settings).id))
    found = [
        known.get((ref.model, ref.revision, fingerprinter.behaviour_id(stage, modality)))
        for modality in (*MODALITIES, "")
    ]
    statuses = [status for status in found if status is not None]
    if "ok" in statuses:
        return "ok"
    return statuses[0] if statuses else None


class Worklist:
    """Lists sources in a thread of its own, so that a slow listing (paging a hub, hashing files) holds up no worker.

    `listed`, `skipped`: so far. Use it as a context manager: leaving it ends the listing.
    """

    def __init__(self, sources: Iterable[Source], items: _Filter) -> None:
        self.listed = 0
        self.skipped = 0
        self._queue: queue.Queue[WorkItem | None] = queue.Queue(_AHEAD)
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._ended = False
        self._first: WorkItem | None = None
        self._thread = threading.Thread(
            target=self._list, args=(list(sources), items), name="listing", daemon=True
        )

    def __enter__(self) -> Worklist:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    @property
    def waiting(self) -> int:
        """Models listed and not yet taken."""
        return self._queue.qsize()

    @property
    def exhausted(self) -> bool:
        """Whether nothing will come any more."""
        return self._ended

    def anything(self) -> bool:
        """Whether there is anything to do; waits for the listing to find out. Raises what `take` raises."""
        while self._first is None and not self._ended:
            self._first = self.take(wait=1.0)
        return self._first is not None

    def take(self, wait: float = 0.0) -> WorkItem | None:
        """The next model, or None if there is none within `wait` seconds, or none any more.

        Raises what the listing raised, once everything listed before was taken.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._ended:
            return None
        try:
            item = self._queue.get(timeout=wait) if wait else self._queue.get_nowait()
        except queue.Empty:
            return None
        if item is None:
            self._ended = True
            if self._error is not None:
                raise self._error
        return item

    def _list(self, sources: Sequence[Source], items: _Filter) -> None:
        try:
            for item in items(self._models(sources)):
                self.listed += 1
                if item is None:
                    self.skipped += 1
                elif not self._put(item):
                    return
        except BaseException as error:
            self._error = error
        self._put(None)

    def _models(self, sources: Sequence[Source]) -> Iterator[ModelRef]:
        for source in sources:
            for ref in source.models():
                if self._stop.is_set():
                    return
                yield ref

    def _put(self, item: WorkItem | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False
