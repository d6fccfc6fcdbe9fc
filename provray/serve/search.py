"""Search replicas: each holds the current index version in memory, and moves to a newer one between two requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ray.serve.handle import DeploymentHandle

from provray.index.row import Row
from provray.serve.batches import BATCH, Batches
from provray.serve.calls import call
from provray.serve.family import Way
from provray.serve.held import Held, open_held
from provray.serve.problems import Refused
from provray.serve.questions import Question
from provray.serve.reply import Reply, refusal
from provray.serve.settings import ServiceSettings
from provray.serve.version_gauges import ServedVersion
from provray.serve.versions import Versions

log = logging.getLogger("ray.serve")


class Search:
    """Questions on the current version are answered in batches, everything else in threads of its own: FAISS and Arrow
    let others work meanwhile. What is refused comes back as a reply."""

    def __init__(self, settings: ServiceSettings, watch: DeploymentHandle[Any]) -> None:
        self._settings = settings
        self._watch = watch
        self._versions = Versions(partial(open_held, settings))
        self._batches = Batches(self._answers, BATCH)
        self._following: asyncio.Task[None] | None = None
        self._served = ServedVersion()

    async def version(self) -> int:
        """The version that is served."""
        self._follow()
        return self._versions.current.version

    async def answer(self, question: Question) -> Reply:
        """The answer, or a 404 whose `told` says `not indexed` and how many models are."""
        self._follow()
        current = self._versions.current
        if question.as_of not in (None, current.version):
            return await self._from(question.as_of, lambda held: held.answers([question])[0])
        return current.known(question) or await self._batches.ask(question)

    async def answers(self, questions: Sequence[Question]) -> list[Reply]:
        """The `answer` to each."""
        return await asyncio.gather(*(self.answer(question) for question in questions))

    async def answer_rows(self, as_of: int, rows: Sequence[Row], top_k: int, fdr: float) -> Reply:
        """The answer for a suspect that was fingerprinted now."""
        return await self._from(as_of, lambda held: held.answer_rows(rows, top_k, fdr))

    async def models(
        self, as_of: int | None, words: str, status: str, after: str, limit: int
    ) -> Reply:
        """See `Held.models`."""
        return await self._from(as_of, lambda held: held.models(words, status, after, limit))

    async def model(self, as_of: int | None, name: str) -> Reply:
        """See `Held.model`."""
        return await self._from(as_of, lambda held: held.model(name))

    async def lineage(
        self, as_of: int | None, name: str, fdr: float, way: Way, depth: int
    ) -> Reply:
        """See `Held.lineage`."""
        return await self._from(as_of, lambda held: held.lineage(name, fdr, way, depth))

    async def facts(self, as_of: int | None) -> Reply:
        """See `Held.facts`."""
        return await self._from(as_of, lambda held: held.facts())

    async def _answers(self, questions: Sequence[Question]) -> list[Reply]:
        # One thread: threads that compute in turns answer nothing sooner, and everything later.
        return await asyncio.to_thread(lambda: self._versions.current.answers(questions))

    async def _from(self, as_of: int | None, ask: Callable[[Held], Reply]) -> Reply:
        self._follow()

        def run() -> Reply:
            try:
                return ask(self._versions.at(as_of))
            except Refused as refused:
                return refusal(refused, version=self._versions.current.version)

        return await asyncio.to_thread(run)

    def _follow(self) -> None:
        """Begin to look for newer versions; in here, since a constructor has no event loop."""
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._move_on())

    async def _move_on(self) -> None:
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            self._served.show(self._versions.current.version)
            try:
                newest = await call(self._watch, "latest", seconds=10.0)
                if newest > self._versions.current.version:
                    await asyncio.to_thread(self._versions.move_to, newest)
                    log.info("serving index version %d", newest)
            except Exception as error:  # the version that is held goes on being served
                log.warning("cannot move to a newer index version: %s", error)
