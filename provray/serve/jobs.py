"""Questions that wait for a fingerprint, as files: they outlive any process, and a person can list them with `ls`.

`ID.json` holds the question and, in the end, its outcome; `ID.lease` is touched by whoever works on it. A question
whose lease is old has lost its worker, and the next poll takes it over.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provray.serve.reply import Reply

LEASE_SECONDS = 6.0
"""A lease that was not touched for so long is lost. Touched three times as often."""
KEPT_SECONDS = 7 * 86400.0
"""Questions are deleted so long after they were asked."""
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Outcome:
    """How a question ended: the status and body that its caller gets, what the audit log keeps of it, and when."""

    status: int
    body: str
    told: dict[str, Any]
    at: float


@dataclass(frozen=True)
class Asked:
    """A question about a model that must be fingerprinted. `source`: checked, where it is read from. `version`: of the
    index, on which it began and will be answered. `key`: of its first caller."""

    id: str
    model: str
    source: str
    top_k: int
    fdr: float
    version: int
    models: int
    submitted: str
    key: str = ""
    outcome: Outcome | None = None


def question_id(source: str, top_k: int, fdr: float, version: int) -> str:
    """The same question has the same id, so asking it twice costs one fingerprint."""
    text = json.dumps([source, top_k, fdr, version])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def new_question(
    model: str, source: str, top_k: int, fdr: float, version: int, models: int, key: str = ""
) -> Asked:
    """A question asked now."""
    made = question_id(source, top_k, fdr, version)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Asked(made, model, source, top_k, fdr, version, models, now, key)


class JobStore:
    """The questions in one folder, shared by all processes of the service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, job_id: str) -> Asked | None:
        """The question of this id; None if there is none, or if it is no id at all."""
        if not _ID.fullmatch(job_id):
            return None
        try:
            plain: dict[str, Any] = json.loads(self._path(job_id).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        outcome = plain.pop("outcome")
        return Asked(**plain, outcome=None if outcome is None else Outcome(**outcome))

    def save(self, asked: Asked) -> None:
        """Write a question, replacing what was there."""
        partial = self._folder / f".{asked.id}.{uuid.uuid4().hex}"
        partial.write_text(json.dumps(asdict(asked)), encoding="utf-8")
        partial.replace(self._path(asked.id))

    def finish(self, asked: Asked, reply: Reply) -> Asked:
        """Write how a question ended."""
        outcome = Outcome(reply.status, reply.body.decode(), dict(reply.told), time.time())
        done = replace(asked, outcome=outcome)
        self.save(done)
        self._lease(asked.id).unlink(missing_ok=True)
        return done

    def touch(self, job_id: str) -> None:
        """Say that someone works on it."""
        self._lease(job_id).touch()

    def taken(self, job_id: str) -> bool:
        """Whether someone worked on it lately."""
        try:
            return time.time() - self._lease(job_id).stat().st_mtime < LEASE_SECONDS
        except OSError:
            return False

    def working(self) -> int:
        """How many questions are worked on now, by all processes."""
        return sum(self.taken(path.stem) for path in self._folder.glob("*.lease"))

    def sweep(self) -> None:
        """Delete what is old."""
        for path in self._folder.iterdir():
            try:
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()
            except OSError:
                continue  # another process was faster

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.json"

    def _lease(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.lease"
