"""One fingerprint worker: plain Python, made a Ray actor by the pool."""

from __future__ import annotations

import gc
import os
import re
import resource
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.sample_ranges import sample_ranges
from provray.crawl.settings import GIB, Fetching
from provray.crawl.worklist import WorkItem
from provray.index.row import Row
from provray.models.errors import ModelError
from provray.probes import Shard
from provray.sources import ModelRef
from provray.sources.fetch import Fetched, Ranges, Scratch, ScratchFull
from provray.sources.folder import changed_since

if TYPE_CHECKING:
    from provray.crawl.behaviour import BehaviourPart, Prober

_OUT_OF_MEMORY = re.compile(
    r"MemoryError|[Aa]llocate memory|bad_alloc|not enough memory|Unable to allocate"
)


class Worker:
    """Fingerprints one model at a time, and fetches the next ones meanwhile.

    shards: per modality, references of probe shards in the object store (read once, zero-copy). fetching, seconds: how
    remote models are fetched, and the time limit of one. environment: what sources are reached with (endpoints, keys),
    set before any of their clients is made.
    """

    def __init__(
        self,
        fingerprinter: Fingerprinter,
        shards: Mapping[str, Sequence[Any]],
        fetching: Fetching,
        seconds: float,
        environment: Mapping[str, str],
    ) -> None:
        os.environ.update(environment)
        self.fingerprinter = fingerprinter
        # Now, so that it costs no model its time limit; not at all in a crawl of weights alone, which asks no probes.
        self._prober = _prober(fingerprinter) if shards else None
        self._refs = shards
        self._shards: dict[str, list[Shard]] = {}
        self._fetching = fetching
        self._seconds = seconds
        self._fetched: Scratch | None = None
        self._once = threading.Lock()
        limit_memory(fingerprinter.compute.memory_bytes)

    def ready(self) -> bool:
        """Answers once the actor is up."""
        return True

    @ray.method(concurrency_group="fetch")
    def fetch(self, item: WorkItem) -> Fetched | Row:
        """Fetch a remote model ahead of its turn, or the row that says why it is not to be had."""
        started = time.perf_counter()
        try:
            return self._fetch(item)
        except Exception as error:  # as in `probe`
            return self._refused(item, error, time.perf_counter() - started)

    @ray.method(concurrency_group="fetch")
    def drop(self, ref: ModelRef) -> None:
        """Delete what was fetched of a model."""
        if self._fetched is not None:
            self._fetched.drop(ref)

    @ray.method(concurrency_group="fetch")
    def leave(self) -> None:
        """Delete all that was fetched: the pool is about to kill this worker."""
        if self._fetched is not None:
            self._fetched.close()

    def weigh(self, item: WorkItem) -> Row:
        """The weights row of a model."""
        ref = item.ref
        try:
            return replace(self.fingerprinter.weights(self._local(item)), location=ref.location)
        except Exception as error:  # as in `probe`
            return self.fingerprinter.failed_weights(ref, *self._judged(error))

    def probe(
        self, item: WorkItem, modality: str, part: int = 0, parts: int = 1
    ) -> BehaviourPart | Row:
        """What share number `part` of `parts` of the probes says of a model, or the row of its failure."""
        started = time.perf_counter()
        try:
            local = self._local(item)
            assert self._prober is not None
            made = self._prober.probe(local, self._probes(modality)[part::parts], item.behaviour)
        # A model may fail in any way; it becomes a row, the crawl goes on.
        except Exception as error:
            status, reason = self._judged(error)
            seconds = time.perf_counter() - started
            return self.fingerprinter.failed(
                item.ref, status, reason, modality, seconds, item.behaviour
            )
        made.ref = replace(local, location=item.ref.location)
        return made

    def fingerprint(self, item: WorkItem) -> list[Row]:
        """Every row that one model still lacks."""
        rows = self._fingerprint(item)
        changed = None if item.ref.remote else changed_since(item.ref)
        if changed is not None:
            reason = f"{changed} changed while it was read: crawl again"
            return [self.fingerprinter.failed_weights(item.ref, "unavailable", reason)]
        return rows

    def _fingerprint(self, item: WorkItem) -> list[Row]:
        rows = [self.weigh(item)] if "weights" in item.stages else []
        if (rows and rows[0].status != "ok") or not item.behaviour:
            return rows
        try:
            modality = self.fingerprinter.modality(self._local(item))
        except Exception as error:  # as in `probe`
            return [*rows, self._refused(item, error, 0.0)]
        if not modality:
            return [*rows, self.unsupported(item)]
        part = self.probe(item, modality)
        return [*rows, *([part] if isinstance(part, Row) else self.fingerprinter.finish(part))]

    def unsupported(self, item: WorkItem) -> Row:
        """The row that says why this model's config cannot be probed."""
        try:
            assert self._prober is not None
            self._prober.load(self._local(item))
            status, reason = "unsupported", "no probe set fits this model's inputs"
        except ModelError as error:
            status, reason = error.status, error.reason
        return self.fingerprinter.failed(item.ref, status, reason, stages=item.behaviour)

    def _local(self, item: WorkItem) -> ModelRef:
        """The model where its files can be read: as it is, or fetched now if that was not done before."""
        return self._fetch(item).ref if item.ref.remote else item.ref

    def _fetch(self, item: WorkItem) -> Fetched:
        if item.ref.problem is not None:
            raise item.ref.problem
        with self._once:
            if self._fetched is None:
                self._fetched = Scratch(
                    self._fetching.scratch,
                    self._fetching.disk_bytes,
                    self.fingerprinter.limits,
                    self._seconds,
                )
        sketching = self.fingerprinter.settings.weights
        ranges: Ranges | None = None
        if sketching.sample and not item.behaviour:
            ranges = lambda checkpoint: sample_ranges(checkpoint.tensors, sketching)  # noqa: E731
        return self._fetched.fetch(item.ref, probed=bool(item.behaviour), ranges=ranges)

    def _refused(self, item: WorkItem, error: Exception, seconds: float) -> Row:
        """The row of a model that was not fetched."""
        status, reason = self._judged(error)
        # What cannot be run is no failure of its weights: those may still be asked for alone.
        if status == "unsupported" and item.behaviour:
            return self.fingerprinter.failed(item.ref, status, reason, "", seconds, item.behaviour)
        return self.fingerprinter.failed_weights(item.ref, status, reason)

    def _judged(self, error: Exception) -> tuple[str, str]:
        """Status and reason of a failure. Raises it if it is no model's: the crawl cannot go on."""
        if isinstance(error, ScratchFull):
            raise error
        text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        limit = self.fingerprinter.compute.memory_bytes
        if _OUT_OF_MEMORY.search(text):
            allowed = (
                f"the {limit / GIB:.3g} GiB a worker may take" if limit else "this machine has"
            )
            return "too_large", f"needs more memory than {allowed}: raise --worker-memory"
        if isinstance(error, ModelError):
            return error.status, error.reason
        return "broken", f"cannot be run: {text[:300]}"

    def _probes(self, modality: str) -> list[Shard]:
        if modality not in self._shards:
            self._shards[modality] = ray.get(list(self._refs[modality]))
        return self._shards[modality]


def _prober(fingerprinter: Fingerprinter) -> Prober:
    """What runs models. Imported here: a crawl names the worker's class in its own process, and seconds of imports are
    of no use there."""
    with _imports():
        import torch

        from provray.crawl.behaviour import Prober

    torch.set_num_threads(fingerprinter.compute.threads)
    # On a GPU convolutions would round to TF32 by default, and vectors differ from a CPU's in the third digit.
    torch.backends.cudnn.allow_tf32 = False
    return Prober(fingerprinter)


@contextmanager
def _imports() -> Iterator[None]:
    """Import without looking for garbage, and never look through what was imported later: it stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def limit_memory(count: int) -> None:
    """Let this process allocate `count` bytes beyond what it has now (0: no limit). An allocation that would go beyond
    fails and is a row; without a limit the machine runs out of memory and any of its processes may be killed."""
    if not count:
        return
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held * 1024 + count, hard))
