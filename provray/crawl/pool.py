"""A fixed pool of Ray actors that fingerprint models, and survives the models that kill or stall them.

Ray's own restarts are off: an actor that dies takes its model's attempt with it, a fresh actor takes its place,
and the model is tried once more when nothing else runs. A model that kills twice becomes a row `crashed`,
one that outlasts the time limit a row `timeout`. Models are never shipped: workers get paths, and fetch remote models
themselves, a few ahead of the one they compute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from provray.crawl.actors import Actors, Ended, Lost, Slot
from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.progress import Progress
from provray.crawl.settings import Fetching, PoolSettings
from provray.crawl.worker import Worker
from provray.crawl.worklist import Work, WorkItem
from provray.index.row import Row
from provray.sources import ModelRef
from provray.sources.fetch import Fetched, default_scratch

if TYPE_CHECKING:
    from provray.crawl.behaviour import BehaviourPart

_ATTEMPTS = 2
_PATIENCE = 0.05
"""Seconds between looks at a worklist that is still being listed."""
_ModelKey = tuple[str, str]


@dataclass(frozen=True)
class _Failure:
    """Why a call gave no rows."""

    status: str
    reason: str


@dataclass(eq=False)
class _Task:
    """One call of a worker. `attempt`: at this model. `failure`: why the model could not be probed, if this call only
    makes its weights row. `fetched`: whether its files are on the worker."""

    item: WorkItem
    method: str = "fingerprint"
    more: tuple[Any, ...] = ()
    attempt: int = 1
    failure: _Failure | None = None
    fetched: bool = False


@dataclass
class _Spread:
    """A model whose probes are on several workers."""

    waiting: int
    rows: list[Row] = field(default_factory=list)
    part: BehaviourPart | None = None


class WorkerPool:
    """The actors. Use as a context manager: leaving it kills them.

    environment: what workers reach sources with (`sources.access.environment`).
    """

    def __init__(
        self,
        fingerprinter: Fingerprinter,
        shards: Mapping[str, Sequence[Any]],
        settings: PoolSettings,
        fetching: Fetching | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.fingerprinter = fingerprinter
        fetching = fetching or Fetching(default_scratch())
        options: dict[str, Any] = {
            "num_cpus": settings.threads,
            "num_gpus": settings.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {"fetch": fetching.ahead},
            "scheduling_strategy": "SPREAD",
        }
        actor: Any = ray.remote(**options)(Worker)
        arguments = (
            fingerprinter,
            shards,
            fetching,
            settings.seconds_per_model,
            dict(environment or {}),
        )
        self._ahead_of_each = fetching.ahead
        self._actors = Actors(lambda: actor.remote(*arguments), settings.workers)
        self._ahead: dict[Slot, list[_Task]] = {}
        self._local: deque[_Task] = deque()
        self._calls: deque[_Task] = deque()
        self._again: deque[_Task] = deque()
        self._spread: dict[_ModelKey, _Spread] = {}
        self._remote = False
        self._watch = Progress()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._actors.close("leave")

    @property
    def waiting(self) -> int:
        """Models taken from the work and not yet begun."""
        return len(self._local) + sum(len(tasks) for tasks in self._ahead.values())

    def fingerprint(
        self,
        work: Work,
        watch: Progress | None = None,
        keep: Callable[[list[Row]], object] = lambda rows: None,
    ) -> Iterator[list[Row]]:
        """Rows of each model as it is finished, in no particular order; `watch` is told what is begun and fetched.

        A model is given to `keep` before its worker goes on, so that no more models than workers can be lost at once,
        and to the caller after that, who may take longer. Raises ScratchFull, RuntimeError if no worker is left, and
        what `work` and `keep` raise.
        """
        self._watch = watch or Progress()
        finished: list[list[Row]] = []
        while True:
            # What was finished reaches the caller even if a listing fails now.
            try:
                self._take(work)
                self._begin(work)
            finally:
                yield from finished
            finished = []
            if work.exhausted and not (self._actors.under_way or self._queued()):
                return
            # With nothing to wait for but the listing, look at it soon.
            starved = not work.exhausted and any(not slot.busy for slot in self._actors.slots)
            for event in self._actors.wait(_PATIENCE if starved else 60.0):
                for rows in self._finished(event):
                    keep(rows)
                    finished.append(rows)

    def _finished(self, event: Ended | Lost) -> Iterator[list[Row]]:
        """The models that an event finishes."""
        if isinstance(event, Lost):
            return self._lost(event)
        if event.call.kind == "fetch":
            return self._fetched(event)
        event.call.slot.busy = False
        return self._settle(event.call.about, event.outcome)

    def _queued(self) -> bool:
        return bool(self._local or self._calls or self._again or any(self._ahead.values()))

    def _take(self, work: Work) -> None:
        """Take as much work as workers can begin or fetch now, and no more: other crawls share the rest."""
        while not work.exhausted:
            idle = sum(not slot.busy for slot in self._actors.slots) - len(self._calls)
            room = self._remote and not self._local and self._roomiest() is not None
            if len(self._local) >= idle and not room:
                return
            item = work.take()
            if item is None:
                return
            self._remote = item.ref.remote and item.ref.problem is None
            if self._remote:
                self._fetch_ahead(_Task(item))
            else:
                self._local.append(_Task(item))

    def _roomiest(self) -> Slot | None:
        """The worker with fewest models ahead, if it may have another."""
        slots = self._actors.slots
        if not slots:
            return None
        slot = min(slots, key=lambda s: len(self._ahead.get(s, ())))
        return slot if len(self._ahead.get(slot, ())) < self._ahead_of_each else None

    def _fetch_ahead(self, task: _Task, slot: Slot | None = None) -> None:
        slot = slot or self._roomiest()
        if slot is None:
            # Without a worker that could fetch it, it is fetched when it is begun.
            self._local.append(task)
            return
        self._ahead.setdefault(slot, []).append(task)
        # The worker keeps the time limit of a fetch itself: killing it would stop what it computes.
        self._actors.call(slot, "fetch", (task.item,), task, float("inf"))

    def _begin(self, work: Work) -> None:
        for slot in [s for s in self._actors.slots if not s.busy]:
            task = self._next(slot, work)
            if task is not None:
                slot.busy = True
                self._actors.call(
                    slot,
                    task.method,
                    (task.item, *task.more),
                    task,
                    self.settings.seconds_per_model,
                )

    def _next(self, slot: Slot, work: Work) -> _Task | None:
        """What this worker does next."""
        if self._calls:
            return self._calls.popleft()
        own = self._ahead.get(slot, [])
        ready = next((task for task in own if task.fetched), None)
        if ready is not None:
            own.remove(ready)
            return self._first_call(ready)
        if self._local:
            return self._first_call(self._local.popleft())
        if work.exhausted and not own:
            self._steal(slot)
        alone = not (self._actors.under_way or any(self._ahead.values()))
        if work.exhausted and self._again and alone:
            # Alone: nothing else of ours runs while a suspected killer is tried again.
            return self._again.popleft()
        return None

    def _steal(self, slot: Slot) -> None:
        """Near the end, take a model that waits for a worker with more to do."""
        others = [
            (s, tasks) for s, tasks in self._ahead.items() if s is not slot and len(tasks) > 1
        ]
        if others:
            other, tasks = max(others, key=lambda pair: len(pair[1]))
            task = tasks.pop()
            self._actors.tell(other, "drop", task.item.ref)
            self._fetch_ahead(replace(task, fetched=False), slot)

    def _first_call(self, task: _Task) -> _Task | None:
        """What to do first with a model: all of it in one call, or, of a large one, its weights and then its parts."""
        item = task.item
        self._watch.started(item.ref)
        if self.settings.workers == 1 or _weights_bytes(item.ref) <= self.settings.spread_bytes:
            return task
        if "weights" in item.stages:
            return replace(task, method="weigh")
        modality = "" if item.ref.remote else self.fingerprinter.modality(item.ref)
        if not modality:
            return task
        self._spread_out(item, modality, [])
        return self._calls.popleft()

    def _spread_out(self, item: WorkItem, modality: str, rows: list[Row]) -> None:
        """One call per worker, each with its share of the probes."""
        count = self.settings.workers
        self._spread[(item.ref.model, item.ref.revision)] = _Spread(count, rows)
        self._calls.extend(
            _Task(item, "probe", (modality, number, count)) for number in range(count)
        )

    def _fetched(self, event: Ended) -> Iterator[list[Row]]:
        """A fetch ended: its model can be computed, or is a row already."""
        task: _Task = event.call.about
        own = self._ahead.get(event.call.slot, [])
        if isinstance(event.outcome, Fetched):
            self._watch.fetched(event.outcome)  # it travelled, whoever computes it
        if task not in own:  # another worker took it over meanwhile
            self._actors.tell(event.call.slot, "drop", task.item.ref)
        elif isinstance(event.outcome, Fetched):
            task.fetched = True
        else:
            own.remove(task)
            yield [event.outcome]

    def _lost(self, event: Lost) -> Iterator[list[Row]]:
        """An actor died or was killed. What it computed is tried again or given up; what waited goes elsewhere."""
        self._watch.worker_lost(event.late is not None)
        waiting = self._ahead.pop(event.slot, [])
        computing = next((call for call in event.calls if call.kind != "fetch"), None)
        for task in waiting:
            if computing is None:  # nothing ran: what it fetched is under suspicion
                yield from self._failed_attempt(task)
            else:
                self._fetch_ahead(replace(task, fetched=False))
        if computing is not None and computing is event.late:
            limit = self.settings.seconds_per_model
            failure = _Failure("timeout", f"took longer than the time limit of {limit:g} s")
            yield from self._settle(computing.about, failure)
        elif computing is not None:
            yield from self._failed_attempt(computing.about)

    def _failed_attempt(self, task: _Task) -> Iterator[list[Row]]:
        if task.attempt < _ATTEMPTS:
            self._again.append(replace(task, attempt=task.attempt + 1, fetched=False))
            return
        limit = self.fingerprinter.compute.memory_bytes
        allowed = f" (it may take {limit / 2**30:.3g} GiB of memory)" if limit else ""
        reason = f"the worker process died while probing it, twice{allowed}"
        yield from self._settle(task, _Failure("crashed", reason))

    def _settle(self, task: _Task, outcome: Any) -> Iterator[list[Row]]:
        """Turn what a call gave into a finished model's rows, or into the calls that it still needs."""
        ref = task.item.ref
        finished: Iterator[list[Row]]
        if task.method == "fingerprint" and isinstance(outcome, _Failure):
            if "weights" in task.item.stages:
                # Its weights are worth a row, and only a call of their own can tell if they are safe to read.
                self._calls.append(_Task(task.item, "weigh", failure=outcome))
                return
            failed = self.fingerprinter.failed(
                ref, outcome.status, outcome.reason, stages=task.item.behaviour
            )
            finished = iter([[failed]])
        elif task.method == "fingerprint":
            finished = iter([outcome])
        elif task.method == "weigh":
            finished = self._weighed(task, outcome)
        else:
            finished = self._probed(task, outcome)
        for rows in finished:
            if ref.remote:
                for slot in self._actors.slots:
                    self._actors.tell(slot, "drop", ref)
            yield rows

    def _weighed(self, task: _Task, outcome: Any) -> Iterator[list[Row]]:
        """After the weights of a model that is spread over workers, or of one whose probing failed."""
        item, ref = task.item, task.item.ref
        if isinstance(outcome, _Failure):
            outcome = self.fingerprinter.failed_weights(ref, outcome.status, outcome.reason)
        behaviour = replace(item, stages=item.behaviour)
        if outcome.status != "ok" or not item.behaviour:
            yield [outcome]
        elif task.failure is not None:
            yield [
                outcome,
                self.fingerprinter.failed(
                    ref,
                    task.failure.status,
                    task.failure.reason,
                    outcome.modality,
                    stages=item.behaviour,
                ),
            ]
        elif not outcome.modality:
            # It cannot be probed; the rest of `fingerprint` says why.
            self._spread[(ref.model, ref.revision)] = _Spread(1, [outcome])
            self._calls.append(_Task(behaviour, "unsupported"))
        else:
            self._spread_out(behaviour, outcome.modality, [outcome])

    def _probed(self, task: _Task, outcome: Any) -> Iterator[list[Row]]:
        """Add one part of a spread model; yields its rows when it was the last."""
        ref = task.item.ref
        if isinstance(outcome, _Failure):
            modality = task.more[0] if task.more else ""
            outcome = self.fingerprinter.failed(
                ref, outcome.status, outcome.reason, modality, stages=task.item.behaviour
            )
        key = (ref.model, ref.revision)
        model = self._spread[key]
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
        del self._spread[key]
        failed = any(row.status != "ok" for row in model.rows)
        if model.part is not None and not failed:
            model.rows.extend(self.fingerprinter.finish(model.part))
        yield model.rows


def _weights_bytes(ref: ModelRef) -> int:
    if ref.remote:
        return sum(max(f.size, 0) for f in ref.files if f.name.endswith(".safetensors"))
    return sum(p.stat().st_size for p in Path(ref.location).glob("*.safetensors"))
