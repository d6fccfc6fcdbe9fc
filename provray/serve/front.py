"""Front replicas: the HTTP application, with handles to the replicas behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from provray.index.row import Row
from provray.serve.api import create_app
from provray.serve.audit import AuditLog
from provray.serve.calls import call
from provray.serve.guard import Guard
from provray.serve.metrics import Metrics
from provray.serve.problems import Refused
from provray.serve.service import Service
from provray.serve.settings import ServiceSettings

_SWEEP_SECONDS = 3600.0
_GRACE_SECONDS = 60.0
"""A suspect may wait for a worker to boot, beside its own time limit."""

log = logging.getLogger("ray.serve")


class Handles:
    """The other parts of the service, by their Serve handles."""

    def __init__(
        self,
        settings: ServiceSettings,
        search: DeploymentHandle[Any],
        fingerprints: DeploymentHandle[Any] | None,
    ) -> None:
        self._settings = settings
        self._search = search
        self._fingerprints = fingerprints

    async def search(self, method: str, *arguments: Any) -> Any:
        """Call a method of a search replica. Raises Refused."""
        return await call(self._search, method, *arguments, seconds=self._settings.request_seconds)

    async def fingerprint(self, source: str) -> Sequence[Row]:
        """The rows of the model that is read from a source. Raises Refused."""
        if self._fingerprints is None:
            raise Refused("source-not-allowed", "this service answers for indexed models alone")
        seconds = self._settings.model_seconds + _GRACE_SECONDS
        found: Sequence[Row] | Refused = await call(
            self._fingerprints, "rows", source, seconds=seconds
        )
        if isinstance(found, Refused):
            raise found
        return found


class Front:
    """One replica of the HTTP application."""

    def __init__(
        self,
        settings: ServiceSettings,
        search: DeploymentHandle[Any],
        fingerprints: DeploymentHandle[Any] | None,
    ) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._service = Service(settings, Handles(settings, search, fingerprints), self._metrics)
        self._tasks: list[asyncio.Task[None]] = []

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve when the replica starts."""
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._sweep())]
        audit = AuditLog(self._settings.state_folder / "audit.jsonl")
        return create_app(self._service, Guard(self._settings), self._metrics, audit)

    async def _follow(self) -> None:
        """Learn of newer versions, so that nothing older is answered from memory."""
        while True:
            try:
                self._metrics.serve(await self._service.current())
            except Exception as error:  # replicas may be on their way up or down
                log.warning("cannot ask for the index version: %s", error)
            await asyncio.sleep(self._settings.poll_seconds)

    async def _sweep(self) -> None:
        while True:
            await asyncio.to_thread(self._service.jobs.sweep)
            await asyncio.sleep(_SWEEP_SECONDS)
