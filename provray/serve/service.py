"""What the front does with a request: ask the search replicas, remember answers, and send suspects to the desk."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Protocol

from provray.index.row import Row
from provray.serve.allowed import AllowList, is_reference
from provray.serve.batches import BATCH, PAUSE, Batches
from provray.serve.desk import Desk
from provray.serve.jobs import Asked, JobStore, new_question
from provray.serve.metrics import Metrics
from provray.serve.problems import Refused
from provray.serve.questions import Batch, Question
from provray.serve.remembered import Remembered
from provray.serve.reply import Reply, refusal
from provray.serve.settings import MIB, ServiceSettings

_REMEMBERED_BYTES = 32 * MIB
_AT_ONCE = 8
"""Questions of a batch that are asked at the same time."""


class Replicas(Protocol):
    """The other parts of the service, wherever they run."""

    async def search(self, method: str, *arguments: Any) -> Any:
        """Call a method of a search replica. Raises Refused."""

    async def fingerprint(self, source: str) -> Sequence[Row]:
        """The rows of the model that is read from a source. Raises Refused."""


class Service:
    """One front replica's work, HTTP left aside. Everything raises Refused for what it does not answer."""

    def __init__(self, settings: ServiceSettings, replicas: Replicas, metrics: Metrics) -> None:
        self.settings = settings
        self.version = -1
        self._replicas = replicas
        self._allowed = AllowList(settings.allow)
        self._remembered: Remembered[tuple[str, int, float]] = Remembered(_REMEMBERED_BYTES)
        self._together: Batches[Question, Reply] = Batches(
            self._answers,
            BATCH,
            math.ceil(settings.search_replicas / settings.front_replicas),
            PAUSE,
        )
        self.jobs = JobStore(settings.state_folder / "jobs")
        self._desk = Desk(
            self.jobs,
            replicas.fingerprint,
            self._judge,
            settings.queue,
            settings.index_name,
            metrics.count_suspect,
        )

    async def ask(self, question: Question, caller: str, wait: float = 0.0) -> Reply:
        """The reply to a question: an `Answer`, or a `Job` if it takes longer than `wait` seconds."""
        if question.model is None or question.as_of is not None:
            return await self._ask(question, caller, wait)
        key = (question.model, question.top_k, question.fdr)
        reply = self._remembered.find(key)
        if reply is not None and reply.version == self.version:
            return reply
        reply = await self._ask(question, caller, wait)
        if reply.status == 200 and not is_reference(question.model):
            self.seen(reply.version)
            self._remembered.keep(key, reply)
        return reply

    async def job(self, job_id: str, wait: float = 0.0) -> Reply:
        """The outcome of a question, or 202."""
        return await self._desk.find(job_id, wait)

    async def batch(self, batch: Batch, caller: str) -> Reply:
        """`BatchAnswers`: each question's own outcome."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(question: Question) -> Reply:
            async with room:
                try:
                    return await self.ask(question, caller)
                except Refused as refused:
                    return refusal(refused)

        replies = await asyncio.gather(*(one(question) for question in batch.questions))
        items = [
            b'{"status":%d,"%s":%s}' % (reply.status, _kind(reply).encode(), reply.body)
            for reply in replies
        ]
        body = b'{"results":[' + b",".join(items) + b"]}"
        return Reply(200, body, self.version, {"answers": [dict(reply.told) for reply in replies]})

    async def look(self, method: str, *arguments: Any, as_of: int | None = None) -> Reply:
        """What a search replica says of models, a lineage or the index."""
        reply: Reply = await self._replicas.search(method, as_of, *arguments)
        return reply

    async def suspects(self) -> int:
        """How many are being fingerprinted, or wait for it, at all front replicas."""
        return await asyncio.to_thread(self.jobs.working)

    async def current(self) -> int:
        """The version that a search replica serves now."""
        self.seen(await self._replicas.search("version"))
        return self.version

    def seen(self, version: int) -> None:
        """A replica serves this version: what was remembered of an older one is forgotten."""
        if version > self.version:
            self.version = version
            self._remembered.clear()

    async def _ask(self, question: Question, caller: str, wait: float) -> Reply:
        # An older version may have to be opened first: nobody else should wait for that.
        reply: Reply = await (
            self._together.ask(question)
            if question.as_of is None
            else self._replicas.search("answer", question)
        )
        if "not indexed" not in reply.told:
            return reply
        assert question.model is not None
        if not is_reference(question.model):
            raise Refused(
                "unknown-model",
                f"no indexed model is called {question.model!r} at version {reply.version}; search with "
                "GET /v1/models?q=, or say where to read it from: a folder, hf://org/name, s3://bucket/prefix",
            )
        if not self.settings.fingerprint_replicas:
            raise Refused("source-not-allowed", "this service answers for indexed models alone")
        source = await asyncio.to_thread(self._allowed.check, question.model)
        asked = new_question(
            question.model,
            source,
            question.top_k,
            question.fdr,
            reply.version,
            reply.told["not indexed"],
            caller,
        )
        return await self._desk.submit(asked, wait)

    async def _answers(self, questions: Sequence[Question]) -> Sequence[Reply]:
        replies: Sequence[Reply] = await self._replicas.search("answers", questions)
        return replies

    async def _judge(self, rows: Sequence[Row], asked: Asked) -> Reply:
        reply: Reply = await self._replicas.search(
            "answer_rows", asked.version, list(rows), asked.top_k, asked.fdr
        )
        return reply


def _kind(reply: Reply) -> str:
    return {200: "answer", 202: "job"}.get(reply.status, "problem")
