"""Looks for newer index versions, and prepares each once for all search replicas."""

from __future__ import annotations

import asyncio
import logging

from provray.index.table import FingerprintTable
from provray.serve.held import open_held
from provray.serve.settings import ServiceSettings
from provray.serve.version_gauges import SeenVersion

log = logging.getLogger("ray.serve")


class Watch:
    """Opening a version writes its search indexes to the cache, from which the replicas then read them: what is slow
    happens here, where nobody waits for an answer."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._ready = open_held(settings).version
        self._seen = SeenVersion()
        self._looking: asyncio.Task[None] | None = None

    async def latest(self) -> int:
        """The newest version that is prepared."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return self._ready

    async def _look(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._prepare)
            except Exception as error:  # the index may be out of reach for a while
                log.warning("cannot look for a newer index version: %s", error)
            self._seen.show()
            await asyncio.sleep(self._settings.poll_seconds)

    def _prepare(self) -> None:
        table = FingerprintTable.open(self._settings.index)
        newest = table.version
        self._seen.saw(table)
        if newest > self._ready:
            open_held(self._settings, newest)
            self._ready = newest
