"""Questions about models that must be fingerprinted first: taken, worked on, and found again by their id.

The state is in the files of `JobStore`; a front replica only works on some of them. One that dies takes nothing along:
the next poll, at any replica, finds a lease that is no longer touched and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from provray.index.row import Row
from provray.serve.jobs import LEASE_SECONDS, Asked, JobStore, Outcome
from provray.serve.problems import Refused
from provray.serve.reply import Reply, refusal, to_bytes
from provray.serve.schemas import IndexRef, Job

REUSED_SECONDS = 300.0
"""An answer about a suspect is given again for so long; then it is read anew, since a folder or a branch may change."""
_PAUSE = 1.0
_LOOK = 0.1

Fingerprint = Callable[[str], Awaitable[Sequence[Row]]]
Judge = Callable[[Sequence[Row], Asked], Awaitable[Reply]]

log = logging.getLogger("ray.serve")


class Desk:
    """fingerprint: the rows of a source. judge: the reply for these rows. queue: how many questions are worked on at
    once, waiting ones among them. finished: told the status that each ends with."""

    def __init__(
        self,
        store: JobStore,
        fingerprint: Fingerprint,
        judge: Judge,
        queue: int,
        index: str,
        finished: Callable[[int], None],
    ) -> None:
        self._store = store
        self._fingerprint = fingerprint
        self._judge = judge
        self._queue = queue
        self._index = index
        self._finished = finished
        self._working: dict[str, asyncio.Task[None]] = {}

    async def submit(self, asked: Asked, wait: float) -> Reply:
        """Take a question. The reply is its outcome if that is known within `wait` seconds, else 202.

        Raises Refused `busy` if too many are being worked on.
        """
        known = self._store.find(asked.id)
        if known is not None and _reusable(known.outcome):
            return self._reply(known)
        if known is None or known.outcome is not None:
            self._require_room()
            self._store.save(asked)
            known = asked
        self._work_on(known)
        return await self._wait(known, wait)

    async def find(self, job_id: str, wait: float) -> Reply:
        """The outcome of a question, or 202. Raises Refused `unknown-job`."""
        known = self._store.find(job_id)
        if known is None:
            raise Refused(
                "unknown-job", f"no question has the id {job_id[:64]!r}; they are kept for a week"
            )
        if known.outcome is None:
            with contextlib.suppress(Refused):  # no room here now: the next poll tries again
                self._work_on(known)
        return await self._wait(known, wait)

    def _require_room(self) -> None:
        if len(self._working) >= self._queue:
            raise Refused(
                "busy",
                f"{self._queue} models are already waiting for their fingerprint; ask again",
                10,
            )

    def _work_on(self, asked: Asked) -> None:
        if asked.id in self._working or self._store.taken(asked.id):
            return
        self._require_room()
        self._store.touch(asked.id)
        task = asyncio.create_task(self._work(asked))
        self._working[asked.id] = task
        task.add_done_callback(lambda _: self._working.pop(asked.id, None))

    async def _work(self, asked: Asked) -> None:
        touching = asyncio.create_task(self._touch(asked.id))
        try:
            reply = await self._outcome(asked)
        except Refused as refused:
            reply = refusal(refused)
        except Exception:
            log.exception("the question %s failed", asked.id)
            reply = refusal(Refused("failed", "the model could not be judged; the log says why"))
        finally:
            touching.cancel()
        self._store.finish(asked, reply)
        self._finished(reply.status)

    async def _outcome(self, asked: Asked) -> Reply:
        while True:
            try:
                rows = await self._fingerprint(asked.source)
                return await self._judge(rows, asked)
            except Refused as refused:
                if refused.status != 503:
                    raise
                await asyncio.sleep(_PAUSE)  # it was accepted: now it waits its turn

    async def _touch(self, job_id: str) -> None:
        while True:
            self._store.touch(job_id)
            await asyncio.sleep(LEASE_SECONDS / 3)

    async def _wait(self, asked: Asked, seconds: float) -> Reply:
        """Look for the outcome, whoever writes it, for so long."""
        until = time.monotonic() + seconds
        while asked.outcome is None and time.monotonic() < until:
            await asyncio.sleep(_LOOK)
            asked = self._store.find(asked.id) or asked
        return self._reply(asked)

    def _reply(self, asked: Asked) -> Reply:
        if asked.outcome is not None:
            found = asked.outcome
            return Reply(found.status, found.body.encode(), asked.version, found.told)
        job = Job(
            id=asked.id,
            state="running" if self._store.taken(asked.id) else "queued",
            model=asked.model,
            index=IndexRef(name=self._index, version=asked.version, models=asked.models),
            fdr=asked.fdr,
            submitted=datetime.fromisoformat(asked.submitted),
            poll_after_seconds=1,
        )
        return Reply(
            202,
            to_bytes(job.model_dump(mode="json")),
            asked.version,
            {"job": asked.id},
            {"Location": f"/v1/ancestry/{asked.id}", "Retry-After": "1"},
        )


def _reusable(outcome: Outcome | None) -> bool:
    if outcome is None or outcome.status >= 500:
        return False
    return time.time() - outcome.at < REUSED_SECONDS
