"""Questions that arrive while others are worked on are answered together.

A search passes over the whole index, for one question or for many, and so does a call to another process cost the same
for both. Whoever comes alone waits for nobody; a crowd that was just answered gets a moment to ask again, or the first
of them is answered alone while all others wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")
BATCH = 32
"""Questions that are answered together at most: more would hardly cost less each, and all wait for the last."""
PAUSE = 0.5
"""How long to wait for a crowd to ask again, at most, as a share of the time that its batch took."""

_BACK = 0.75
"""Of a crowd, who is waited for: some come back to another front, or not at all."""


class Batches(Generic[A, R]):
    """answer: one result for each of the things asked, in order; what it raises, all who asked get. most: asked
    together, at most; at_once: batches that are out at the same time, at most. pause: before the next batch, until most
    who were just answered have asked again, for this share of the time that took at most."""

    def __init__(
        self,
        answer: Callable[[Sequence[A]], Awaitable[Sequence[R]]],
        most: int,
        at_once: int = 1,
        pause: float = 0.0,
    ) -> None:
        self._answer = answer
        self._most = most
        self._at_once = at_once
        self._pause = pause
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._awaited: list[tuple[int, asyncio.Event]] = []
        self._busy = 0

    async def ask(self, asked: A) -> R:
        """The result for one thing, asked together with whatever else waits when its turn comes."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        self._wake()
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
                crowd = min(len(batch) + len(self._waiting), self._most)
                if crowd > 1:
                    back = math.ceil(_BACK * crowd)
                    await self._gather(back, self._pause * (time.perf_counter() - began))
        finally:
            self._busy -= 1

    async def _gather(self, many: int, seconds: float) -> None:
        """Wait until so many ask, for so long at most."""
        back = asyncio.Event()
        self._awaited.append((many, back))
        self._wake()
        with suppress(TimeoutError):
            await asyncio.wait_for(back.wait(), seconds)
        self._awaited.remove((many, back))

    def _wake(self) -> None:
        for many, back in self._awaited:
            if len(self._waiting) >= many:
                back.set()

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
