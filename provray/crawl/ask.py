"""Asking an index about a model: fingerprint the suspect with the crawl's own workers, then judge it.

What is cheap comes first: an indexed revision is read from the table, a bit-identical copy is found by its weights'
digest, and only then are workers started to probe the suspect.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import ray

from provray.ancestry.answer_json import answer_to_json
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.ancestry.verdict import FDR, Answer, copies, judge
from provray.crawl.cluster import join_ray, require_resources
from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.pool import WorkerPool
from provray.crawl.reading import choose_probes, compared_spaces
from provray.crawl.settings import BEHAVIOUR, Compute, PoolSettings
from provray.crawl.shards import put_shards
from provray.crawl.worklist import Items, WorkItem
from provray.fingerprints.settings import FingerprintSettings
from provray.index.location import IndexLocation
from provray.index.row import Row
from provray.index.settings import index_settings
from provray.index.table import FingerprintTable, Place
from provray.models.errors import ModelError
from provray.probes import ProbeSet
from provray.sources import ModelRef, open_source
from provray.sources.access import environment
from provray.sources.fetch import Scratch, default_scratch


class BadSuspect(ValueError):
    """The model that was asked about cannot be read or fingerprinted."""


@dataclass(frozen=True)
class Reply:
    """A question and its answer. `spaces`: where the suspect was compared; `version`, `models`: of the index."""

    model: str
    revision: str
    spaces: tuple[str, ...]
    index: str
    version: int
    models: int
    answer: Answer


class Asker:
    """Answers questions against one version of an index; workers start when first needed and stay until `close`."""

    def __init__(
        self,
        place: Place,
        *,
        probes: Sequence[ProbeSet] = (),
        settings: FingerprintSettings | None = None,
        compute: Compute | None = None,
        pool: PoolSettings | None = None,
        address: str | None = None,
        version: int | None = None,
    ) -> None:
        self.location = IndexLocation.of(place)
        self._pool_settings = replace(pool or PoolSettings(), spread_bytes=0)
        self._compute = compute or Compute(threads=self._pool_settings.threads)
        self._address = address
        table = FingerprintTable.open(self.location, version)
        self._probes = choose_probes(table, probes, keep=False)
        self._fingerprinter = Fingerprinter(
            settings or index_settings(table),
            {m: p.digest for m, p in self._probes.items()},
            self._compute,
        )
        self.snapshot: Snapshot = open_snapshot(
            self.location,
            compared_spaces(self._fingerprinter.settings, self._fingerprinter.probes),
            version,
        )
        self._workers: WorkerPool | None = None
        self._started_ray = False
        self._fetched: Scratch | None = None

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, and Ray if it was started for them; delete what was fetched."""
        if self._fetched is not None:
            self._fetched.close()
            self._fetched = None
        if self._workers is not None:
            self._workers.__exit__()
            self._workers = None
        if self._started_ray:
            ray.shutdown()
            self._started_ray = False

    def ask(self, model: str, top_k: int = 10, fdr: float = FDR) -> Reply:
        """The answer for the model at `model` (a folder, hf:// or s3://), at this false discovery rate.

        Raises BadSuspect if it cannot be read or probed.
        """
        ref = only_model(model)
        local = self._local(ref)
        weights = replace(self._fingerprinter.weights(local), location=ref.location)
        if weights.status != "ok":
            raise BadSuspect(f"{model} is {weights.status}: {weights.reason}")
        itself = self._itself(ref)
        suspect = Fingerprint(ref.model, ref.revision, weights)
        if twins := self.snapshot.twins(suspect, itself)[:top_k]:
            return self._reply(ref, (weights.space,), copies(suspect, self.snapshot, twins, fdr))
        rows = [weights, *self._behaviour(ref if self._address else local, weights, itself)]
        kinds = {row.kind: row for row in rows if row.status == "ok"}
        suspect = Fingerprint(
            ref.model, ref.revision, kinds.get("weights"), kinds.get("dna"), kinds.get("gif")
        )
        answer = judge(suspect, self.snapshot, top_k=top_k, leave_out=itself, fdr=fdr)
        failed = [
            f"behaviour not measured: {r.status}: {r.reason}" for r in rows if r.status != "ok"
        ]
        answer = replace(answer, warnings=(*failed, *answer.warnings))
        return self._reply(ref, suspect.spaces, answer)

    def _behaviour(self, ref: ModelRef, weights: Row, itself: set[str]) -> list[Row]:
        """DNA and GiF rows: the indexed ones of this very model, or measured now."""
        for fingerprint in self.snapshot.profiles(itself):
            if fingerprint.dna is not None and fingerprint.revision == ref.revision:
                return [row for row in (fingerprint.dna, fingerprint.gif) if row is not None]
        if self._workers is None:
            self._started_ray = join_ray(self._address) or self._started_ray
            require_resources(self._pool_settings)
            self._workers = WorkerPool(
                self._fingerprinter,
                put_shards(self._probes),
                self._pool_settings,
                environment=environment(),
            )
        item = WorkItem(ref, BEHAVIOUR)
        return next(iter(list(self._workers.fingerprint(Items([item])))))

    def _local(self, ref: ModelRef) -> ModelRef:
        """The suspect with its files on this machine. Raises BadSuspect."""
        if not ref.remote:
            return ref
        if self._fetched is None:
            self._fetched = Scratch(
                default_scratch(),
                2 * self._compute.max_bytes,
                self._fingerprinter.limits,
                self._pool_settings.seconds_per_model,
            )
        try:
            return self._fetched.fetch(ref, probed=False).ref
        except ModelError as error:
            raise BadSuspect(f"{ref.location} is {error.status}: {error.reason}") from error

    def _itself(self, ref: ModelRef) -> set[str]:
        """Names under which this very model is indexed at this revision: a model is not its own ancestor."""
        here = ref.location if ref.remote else Path(ref.location).resolve()
        return {
            row.model
            for row in self.snapshot.table.facts()
            if row.revision == ref.revision
            and row.location
            and here == (row.location if ref.remote else Path(row.location).resolve())
        }

    def _reply(self, ref: ModelRef, spaces: tuple[str, ...], answer: Answer) -> Reply:
        snapshot = self.snapshot
        return Reply(
            ref.model,
            ref.revision,
            spaces,
            str(self.location),
            snapshot.version,
            snapshot.models,
            answer,
        )


def only_model(place: str) -> ModelRef:
    """The one model at `place`. Raises BadSuspect if there is none, or more than one."""
    try:
        refs = list(itertools.islice(open_source(place).models(), 2))
    except (ModelError, ValueError, OSError) as error:
        raise BadSuspect(str(error)) from error
    if len(refs) != 1:
        found = "more than one model" if refs else "no model"
        raise BadSuspect(
            f"{place} holds {found}; name one folder or repository with a config.json and *.safetensors files"
        )
    if refs[0].problem is not None:
        raise BadSuspect(f"{place} is {refs[0].problem.status}: {refs[0].problem.reason}")
    return refs[0]


def reply_to_json(reply: Reply) -> dict[str, Any]:
    """The object that `provray query --json` prints."""
    return {
        "query": {"model": reply.model, "revision": reply.revision, "spaces": list(reply.spaces)},
        "index": {"uri": reply.index, "version": reply.version, "models": reply.models},
        **answer_to_json(reply.answer),
    }
