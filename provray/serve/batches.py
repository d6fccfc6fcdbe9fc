"""Questions that arrive while others are worked on are answered together.

A search passes over the whole index, for one question or for many, and so does a call to another process cost the same
for both. Whoever comes alone waits for nobody; between two batches, those who were just answered get a moment to ask
again, or a steady crowd falls into two halves that are never asked together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")
BATCH = 32
"""Questions that are answered together at most: more would hardly cost less each, and all wait for the last."""
PAUSE = 0.1
"""Between two batches, as a share of the time that the one before took."""


class Batches(Generic[A, R]):
    """answer: one result for each of the things asked, in order; what it raises, all who asked get. most: asked
    together, at most; at_once: batches that are out at the same time, at most."""

    def __init__(
        self,
        answer: Callable[[Sequence[A]], Awaitable[Sequence[R]]],
        most: int,
        at_once: int = 1,
    ) -> None:
        self._answer = answer
        self._most = most
        self._at_once = at_once
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._busy = 0

    async def ask(self, asked: A) -> R:
        """The result for one thing, asked together with whatever else waits when its turn comes."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._busy < self._at_once:
            self._busy += 1
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                began = time.perf_counter()
                await self._together(batch)
                if self._waiting:
                    await asyncio.sleep(PAUSE * (time.perf_counter() - began))
        finally:
            self._busy -= 1

    async def _together(self, batch: Sequence[tuple[A, asyncio.Future[R]]]) -> None:
        # Who has gone away needs no answer.
        batch = [(asked, future) for asked, future in batch if not future.done()]
        if not batch:
            return
        try:
            results = await self._answer([asked for asked, _ in batch])
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
