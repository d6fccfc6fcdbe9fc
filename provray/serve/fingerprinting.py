"""Fingerprint replicas: each reads and probes one suspect at a time, in a worker of the crawl's own pool.

So a suspect meets the same limits and quarantine as in a crawl: one that kills or stalls its worker takes neither this
replica nor the next suspect along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from provray.crawl.ask import BadSuspect, only_model
from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.pool import WorkerPool
from provray.crawl.reading import choose_probes
from provray.crawl.settings import STAGES, Compute, PoolSettings
from provray.crawl.shards import put_shards
from provray.crawl.worklist import Items, WorkItem
from provray.index.row import Row
from provray.index.settings import index_settings
from provray.index.table import FingerprintTable
from provray.probes import read_probes
from provray.serve.problems import Refused
from provray.serve.settings import ServiceSettings
from provray.sources.access import environment


class Fingerprints:
    """Holds one worker and the probe sets of the index; no part of the index itself."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        given = [read_probes(Path(path)) for path in settings.probes]
        table = FingerprintTable.open(settings.index)
        chosen = choose_probes(table, given, keep=False)
        compute = Compute(
            device=settings.device or ("cuda" if settings.gpus else "cpu"), threads=settings.threads
        )
        self._fingerprinter = Fingerprinter(
            index_settings(table), {m: p.digest for m, p in chosen.items()}, compute
        )
        self._shards = put_shards(chosen)
        self._pool: WorkerPool | None = self._start()

    async def rows(self, source: str) -> Sequence[Row] | Refused:
        """The rows of the one model at this source, or why there are none. One call at a time."""
        return await asyncio.to_thread(self._rows, source)

    def _rows(self, source: str) -> Sequence[Row] | Refused:
        try:
            ref = only_model(source)
        except BadSuspect as error:
            return Refused("bad-suspect", str(error))
        if self._pool is None:
            self._pool = self._start()
        try:
            return next(iter(list(self._pool.fingerprint(Items([WorkItem(ref, STAGES)])))))
        except BaseException:
            # What a pool in pieces would do next nobody knows: the next suspect gets a new one.
            self.close()
            raise

    def close(self) -> None:
        """End the worker. The next suspect starts another."""
        if self._pool is not None:
            self._pool.__exit__()
            self._pool = None

    def _start(self) -> WorkerPool:
        pool = PoolSettings(
            1, self._settings.threads, self._settings.gpus, self._settings.model_seconds
        )
        return WorkerPool(self._fingerprinter, self._shards, pool, environment=environment())
