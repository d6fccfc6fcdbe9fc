"""A fixed pool of Ray actors that fingerprint models, and survives the models that kill or stall them.

Ray's own restarts are off: an actor that dies takes its model's attempt with it, a fresh actor takes its place,
and the model is tried once more when nothing else runs. A model that kills twice becomes a row `crashed`,
one that outlasts the time limit a row `timeout`. Models are never shipped: workers get paths.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayActorError

from provray.crawl.fingerprinter import BehaviourPart, Fingerprinter
from provray.crawl.settings import PoolSettings
from provray.crawl.worklist import WorkItem
from provray.index.row import Row
from provray.models.errors import ModelError
from provray.probes import Shard
from provray.sources import ModelRef

_ATTEMPTS = 2
_BOOT_ATTEMPTS = 3
_ModelKey = tuple[str, str]


class Worker:
    """One fingerprint worker: plain Python, made a Ray actor by the pool. `shards`: per modality, references of
    probe shards in the object store (read once, zero-copy)."""

    def __init__(self, fingerprinter: Fingerprinter, shards: Mapping[str, Sequence[Any]]) -> None:
        torch.set_num_threads(fingerprinter.compute.threads)
        # On a GPU convolutions would round to TF32 by default, and vectors differ from a CPU's in the third digit.
        torch.backends.cudnn.allow_tf32 = False
        self.fingerprinter = fingerprinter
        self._refs = shards
        self._shards: dict[str, list[Shard]] = {}

    def ready(self) -> bool:
        """Answers once the actor is up."""
        return True

    def weigh(self, ref: ModelRef) -> Row:
        """The weights row of a model."""
        try:
            return self.fingerprinter.weights(ref)
        except Exception as error:  # as in `probe`
            return self.fingerprinter.failed_weights(ref, "broken", _reason(error))

    def probe(
        self, ref: ModelRef, modality: str, part: int = 0, parts: int = 1
    ) -> BehaviourPart | Row:
        """What share number `part` of `parts` of the probes says of a model, or the row of its failure."""
        started = time.perf_counter()
        try:
            return self.fingerprinter.behaviour(ref, self._probes(modality)[part::parts])
        except ModelError as error:
            status, reason = error.status, error.reason
        except (
            Exception
        ) as error:  # a model may fail in any way; it becomes a row, the crawl goes on
            status, reason = "broken", _reason(error)
        return self.fingerprinter.failed(
            ref, status, reason, modality, time.perf_counter() - started
        )

    def fingerprint(self, item: WorkItem) -> list[Row]:
        """Every row that one model still lacks."""
        rows = [] if item.weights_known else [self.weigh(item.ref)]
        if rows and rows[0].status != "ok":
            return rows
        modality = self.fingerprinter.modality(item.ref)
        if not modality:
            return [*rows, self.unsupported(item.ref)]
        part = self.probe(item.ref, modality)
        return [*rows, *([part] if isinstance(part, Row) else self.fingerprinter.finish(part))]

    def unsupported(self, ref: ModelRef) -> Row:
        """The row that says why this model's config cannot be probed."""
        try:
            self.fingerprinter.load(ref)
        except ModelError as error:
            return self.fingerprinter.failed(ref, error.status, error.reason)
        return self.fingerprinter.failed(
            ref, "unsupported", "no probe set fits this model's inputs"
        )

    def _probes(self, modality: str) -> list[Shard]:
        if modality not in self._shards:
            self._shards[modality] = ray.get(list(self._refs[modality]))
        return self._shards[modality]


@dataclass(frozen=True)
class _Failure:
    """A call that gave no rows. `retry`: worth one more attempt, since another model may have been the cause."""

    status: str
    reason: str
    retry: bool = False


@dataclass
class _Task:
    """One call of a worker. `failure`: why the model could not be probed, if this call only fetches its weights row."""

    item: WorkItem
    method: str
    arguments: tuple[Any, ...]
    attempt: int = 1
    deadline: float = 0.0
    failure: _Failure | None = None


@dataclass
class _Spread:
    """A model whose probes are on several workers."""

    waiting: int
    rows: list[Row] = field(default_factory=list)
    part: BehaviourPart | None = None


class WorkerPool:
    """The actors. Use as a context manager: leaving it kills them."""

    def __init__(
        self,
        fingerprinter: Fingerprinter,
        shards: Mapping[str, Sequence[Any]],
        settings: PoolSettings,
    ) -> None:
        self.settings = settings
        self.fingerprinter = fingerprinter
        self._shards = shards
        self._actor: Any = ray.remote(
            num_cpus=settings.threads, num_gpus=settings.gpus, max_restarts=0, max_task_retries=0
        )(Worker)
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, _Task]] = {}
        self._booting: dict[Any, Any] = {}
        self._failed_boots = 0
        for _ in range(settings.workers):
            self._boot()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        working = [actor for actor, _ in self._running.values()]
        for actor in [*self._idle, *working, *self._booting.values()]:
            ray.kill(actor)
        self._idle, self._running, self._booting = [], {}, {}

    def fingerprint(
        self, items: Iterable[WorkItem], started: Callable[[ModelRef], None] = lambda _: None
    ) -> Iterator[list[Row]]:
        """Rows of each model as it is finished, in no particular order. `started` is told of every model begun."""
        queue = iter(items)
        again: deque[_Task] = deque()
        spread: dict[_ModelKey, _Spread] = {}
        calls: deque[_Task] = deque()
        exhausted = False
        while True:
            while self._idle and not exhausted and not calls:
                item = next(queue, None)
                if item is None:
                    exhausted = True
                    break
                started(item.ref)
                calls.extend(self._first_call(item, spread))
                while self._idle and calls:
                    self._begin(calls.popleft())
            while self._idle and calls:
                self._begin(calls.popleft())
            if exhausted and again and self._idle and not self._running:
                # Alone: nothing else of ours runs while a suspected killer is tried again.
                self._begin(again.popleft())
            if exhausted and not (self._running or again or calls):
                return
            for task, outcome in self._finished():
                if isinstance(outcome, _Failure) and outcome.retry and task.attempt < _ATTEMPTS:
                    again.append(replace(task, attempt=task.attempt + 1))
                    continue
                yield from self._settle(task, outcome, spread, calls)

    def _first_call(self, item: WorkItem, spread: dict[_ModelKey, _Spread]) -> list[_Task]:
        """What to do first with a model: all of it in one call, or, of a large one, its weights and then its parts."""
        large = _weights_bytes(item.ref) > self.settings.spread_bytes
        if self.settings.workers == 1 or not large:
            return [_Task(item, "fingerprint", (item,))]
        if not item.weights_known:
            return [_Task(item, "weigh", (item.ref,))]
        modality = self.fingerprinter.modality(item.ref)
        if not modality:
            return [_Task(item, "fingerprint", (item,))]
        return self._spread_out(item, modality, [], spread)

    def _spread_out(
        self, item: WorkItem, modality: str, rows: list[Row], spread: dict[_ModelKey, _Spread]
    ) -> list[_Task]:
        """One call per worker, each with its share of the probes."""
        count = self.settings.workers
        spread[(item.ref.model, item.ref.revision)] = _Spread(count, rows)
        return [
            _Task(item, "probe", (item.ref, modality, number, count)) for number in range(count)
        ]

    def _settle(
        self, task: _Task, outcome: Any, spread: dict[_ModelKey, _Spread], calls: deque[_Task]
    ) -> Iterator[list[Row]]:
        """Turn what a call gave into a finished model's rows, or into the calls that it still needs."""
        ref = task.item.ref
        if task.method == "fingerprint" and isinstance(outcome, _Failure):
            # Its weights are worth a row of their own, and only a call of their own can tell if they are safe to read.
            calls.append(_Task(task.item, "weigh", (ref,), failure=outcome))
        elif task.method == "fingerprint":
            yield outcome
        elif task.method == "weigh":
            yield from self._weighed(task, outcome, spread, calls)
        else:
            if isinstance(outcome, _Failure):
                modality = task.arguments[1]
                outcome = self.fingerprinter.failed(ref, outcome.status, outcome.reason, modality)
            yield from self._join(spread, (ref.model, ref.revision), outcome)

    def _weighed(
        self, task: _Task, outcome: Any, spread: dict[_ModelKey, _Spread], calls: deque[_Task]
    ) -> Iterator[list[Row]]:
        """After the weights of a model that is spread over workers, or of one whose probing failed."""
        ref = task.item.ref
        if isinstance(outcome, _Failure):
            outcome = self.fingerprinter.failed_weights(ref, outcome.status, outcome.reason)
        rows = [] if task.item.weights_known else [outcome]
        if outcome.status != "ok":
            yield rows
        elif task.failure is not None:
            failure = task.failure
            yield [
                *rows,
                self.fingerprinter.failed(ref, failure.status, failure.reason, outcome.modality),
            ]
        elif not outcome.modality:
            calls.append(_Task(task.item, "fingerprint", (task.item,)))
        else:
            calls.extend(self._spread_out(task.item, outcome.modality, rows, spread))

    def _join(
        self, spread: dict[_ModelKey, _Spread], key: _ModelKey, outcome: Any
    ) -> Iterator[list[Row]]:
        """Add one part of a spread model; yields its rows when it was the last."""
        model = spread[key]
        model.waiting -= 1
        if isinstance(outcome, Row):
            if all(row.kind == "weights" for row in model.rows):
                model.rows.append(outcome)
        elif model.part is None:
            model.part = outcome
        else:
            model.part.merge(outcome)
        if model.waiting:
            return
        del spread[key]
        failed = any(row.status != "ok" for row in model.rows)
        if model.part is not None and not failed:
            model.rows.extend(self.fingerprinter.finish(model.part))
        yield model.rows

    def _boot(self) -> None:
        """Start an actor; it takes calls once it answers, so that its imports cost no model its time limit."""
        actor = self._actor.remote(self.fingerprinter, self._shards)
        self._booting[actor.ready.remote()] = actor

    def _begin(self, task: _Task) -> None:
        actor = self._idle.pop()
        task.deadline = time.monotonic() + self.settings.seconds_per_model
        reference = getattr(actor, task.method).remote(*task.arguments)
        self._running[reference] = (actor, task)

    def _finished(self) -> Iterator[tuple[_Task, Any]]:
        """Calls that ended or ran out of time; dead actors are replaced, new ones welcomed."""
        nearest = min(
            (t.deadline for _, t in self._running.values()), default=time.monotonic() + 60
        )
        done, _ = ray.wait(
            [*self._running, *self._booting],
            num_returns=1,
            timeout=max(nearest - time.monotonic(), 0.05),
        )
        for reference in done:
            if reference in self._booting:
                self._welcome(reference)
                continue
            actor, task = self._running.pop(reference)
            outcome, alive = _outcome(reference)
            if alive:
                self._idle.append(actor)
            else:
                self._boot()
            yield task, outcome
        now = time.monotonic()
        for reference in [r for r, (_, t) in self._running.items() if t.deadline < now]:
            actor, task = self._running.pop(reference)
            ray.kill(actor)
            self._boot()
            limit = self.settings.seconds_per_model
            yield task, _Failure("timeout", f"took longer than the time limit of {limit:g} s")

    def _welcome(self, reference: Any) -> None:
        """Put an actor that finished booting to work. Raises RuntimeError if actors keep dying before they answer."""
        actor = self._booting.pop(reference)
        try:
            ray.get(reference)
        except RayActorError as error:
            self._failed_boots += 1
            if self._failed_boots >= _BOOT_ATTEMPTS * self.settings.workers:
                raise RuntimeError(f"fingerprint workers die before they start: {error}") from error
            self._boot()
        else:
            self._failed_boots = 0
            self._idle.append(actor)


def _outcome(reference: Any) -> tuple[Any, bool]:
    """What a finished call gave, and whether its actor is still alive."""
    try:
        return ray.get(reference), True
    except RayActorError:
        return _Failure(
            "crashed", "the worker process died while probing it, twice", retry=True
        ), False


def _reason(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return f"cannot be run: {text[:300]}"


def _weights_bytes(ref: ModelRef) -> int:
    return sum(p.stat().st_size for p in Path(ref.location).glob("*.safetensors"))
