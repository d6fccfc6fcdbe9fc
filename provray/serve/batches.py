"""Questions that arrive while others are worked on are answered together, by one thread.

A search passes over the whole index, for one question or for many; and threads that compute in turns answer nothing
sooner than one thread after the other, and everything later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Batches(Generic[A, R]):
    """answer: one result for each of the things asked, in order, called in a thread; what it raises, all who asked get.
    most: asked together at once."""

    def __init__(self, answer: Callable[[Sequence[A]], Sequence[R]], most: int) -> None:
        self._answer = answer
        self._most = most
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._working: asyncio.Task[None] | None = None

    async def ask(self, asked: A) -> R:
        """The result for one thing, asked together with whatever else waits when its turn comes."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            # Who has gone away needs no answer.
            batch = [(asked, future) for asked, future in batch if not future.done()]
            if not batch:
                continue
            try:
                results = await asyncio.to_thread(self._answer, [asked for asked, _ in batch])
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
