"""What running crawls have begun and finished but not yet committed, kept beside the table under `work/`.

A crawl commits its rows in batches; a row that is computed must not be lost with its process until then. So each
finished model's rows are stored here first, and whoever crawls next commits what a dead crawl left. A model is claimed
before it is begun, by creating an object that must not exist yet: two crawls of one index share the work.

    work/<writer>/alive           who that is; written again every few seconds while it lives
    work/<writer>/<digest>.rows   rows of a finished model (an Arrow stream)
    work/claims/<digest>          the writer that works on a model

All of it can be deleted when no crawl runs; only models in flight would be computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import obstore
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError

from provray.index.location import IndexLocation
from provray.index.row import Row, rows_from_table, rows_to_table

HEARTBEAT_SECONDS = 10.0
DEAD_SECONDS = 90.0
"""A writer on another machine that was silent for so long is taken for dead."""

_WORK = "work"
_CLAIMS = f"{_WORK}/claims"


@dataclass(frozen=True)
class _Writer:
    """A process that crawls. `machine`: what tells whether its process id means anything here."""

    name: str
    machine: str
    process: int
    started: str

    def gone(self) -> bool:
        """Whether it ran on this machine and does so no more."""
        return self.machine == _machine() and _started(self.process) != self.started


class Journal:
    """This process's place among the writers of an index. Use it as a context manager: it beats while it is open."""

    def __init__(self, location: IndexLocation) -> None:
        self._location = location
        self._store = location.store
        process = os.getpid()
        self._me = _Writer(uuid.uuid4().hex, _machine(), process, _started(process))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="journal", daemon=True)
        self._claimed: set[str] = set()

    def __enter__(self) -> Journal:
        self._write_alive()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave; what was not committed stays for the next crawl."""
        self._stop.set()
        self._thread.join()
        kept = list(self._names(f"{_WORK}/{self._me.name}", ".rows"))
        finished = {path.rpartition("/")[2].removesuffix(".rows") for path in kept}
        self._delete([f"{_CLAIMS}/{digest}" for digest in self._claimed - finished])
        if not kept:
            self._leave_nothing(self._me.name)

    def claim(self, model: str, revision: str) -> bool:
        """Take a model for this writer. False if another living writer has it."""
        digest = _digest(model, revision)
        path = f"{_CLAIMS}/{digest}"
        for _ in range(2):
            try:
                obstore.put(self._store, path, self._me.name.encode(), mode="create")
                self._claimed.add(digest)
                return True
            except AlreadyExistsError:
                owner = self._read(path)
            if owner == self._me.name.encode():
                return True
            if owner is not None and not self._dead(owner.decode(errors="replace")):
                return False
            # Deleted first, then created: of several takers one succeeds.
            self._delete([path])
        return False

    def keep(self, rows: Sequence[Row]) -> None:
        """Store the rows of one finished model until they are committed."""
        table = rows_to_table(list(rows))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        name = _digest(rows[0].model, rows[0].revision)
        obstore.put(
            self._store, f"{_WORK}/{self._me.name}/{name}.rows", sink.getvalue().to_pybytes()
        )

    def release(self, models: Iterable[tuple[str, str]]) -> None:
        """Forget models whose rows are in the table, or that were not begun after all."""
        digests = [_digest(model, revision) for model, revision in models]
        self._claimed.difference_update(digests)
        self._delete([f"{_WORK}/{self._me.name}/{d}.rows" for d in digests])
        self._delete([f"{_CLAIMS}/{d}" for d in digests])

    def left_behind(self) -> Iterator[tuple[str, list[Row]]]:
        """Every dead writer with the rows it did not commit. Commit them, then `bury` it.

        A writer that another living one is already looking after is left out. A file that cannot be read is passed
        over: its model is computed again.
        """
        for name in self._writers():
            if name != self._me.name and self._dead(name) and self.claim("writer", name):
                rows: list[Row] = []
                for path in self._names(f"{_WORK}/{name}", ".rows"):
                    rows.extend(self._rows(path))
                yield name, rows

    def bury(self, writer: str) -> None:
        """Remove all traces of a dead writer."""
        claims = [p for p in self._names(_CLAIMS, "") if self._read(p) == writer.encode()]
        self._delete([*claims, *self._names(f"{_WORK}/{writer}", ".rows")])
        self._leave_nothing(writer)
        self.release([("writer", writer)])

    def _leave_nothing(self, writer: str) -> None:
        """Remove a writer that has no rows any more. On a disk, a write that was cut off has left a file that is no
        object; `alive` goes last, since a writer without it is not found any more."""
        alive = f"{_WORK}/{writer}/alive"
        folder = Path(self._location.uri, _WORK, writer)
        if not self._location.remote:
            for cut_off in folder.glob("*#*"):
                cut_off.unlink(missing_ok=True)
        self._delete([alive])
        if not self._location.remote:
            with suppress(OSError):
                folder.rmdir()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS / 2):
            # A missed beat is no reason to stop: others wait for several before they give a writer up.
            with suppress(Exception):
                self._write_alive()

    def _write_alive(self) -> None:
        me = self._me
        text = json.dumps({"machine": me.machine, "process": me.process, "started": me.started})
        obstore.put(self._store, f"{_WORK}/{me.name}/alive", text.encode())

    def _writers(self) -> list[str]:
        paths = self._names(_WORK, "/alive")
        return sorted(path.split("/")[-2] for path in paths)

    def _dead(self, name: str) -> bool:
        path = f"{_WORK}/{name}/alive"
        raw = self._read(path)
        if raw is None:
            return True
        try:
            told = json.loads(raw)
            writer = _Writer(name, str(told["machine"]), int(told["process"]), str(told["started"]))
        except (ValueError, KeyError, TypeError):
            return True
        return writer.gone() or self._age(path) > DEAD_SECONDS

    def _age(self, path: str) -> float:
        """Seconds between an object's last writing and our own last beat, both by the store's clock."""
        mine, other = self._modified(f"{_WORK}/{self._me.name}/alive"), self._modified(path)
        return (mine - other).total_seconds() if mine and other else 0.0

    def _modified(self, path: str) -> datetime | None:
        try:
            return obstore.head(self._store, path)["last_modified"]
        except FileNotFoundError:
            return None

    def _rows(self, path: str) -> list[Row]:
        raw = self._read(path)
        if raw is None:
            return []
        try:
            with pa.ipc.open_stream(raw) as stream:
                return rows_from_table(stream.read_all())
        except (pa.ArrowInvalid, ValueError, TypeError, KeyError):
            return []

    def _names(self, prefix: str, ending: str) -> Iterator[str]:
        for batch in obstore.list(self._store, prefix=prefix):
            for found in batch:
                if found["path"].endswith(ending):
                    yield found["path"]

    def _read(self, path: str) -> bytes | None:
        try:
            return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError:
            return None

    def _delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            with suppress(FileNotFoundError):
                obstore.delete(self._store, path)


def _digest(model: str, revision: str) -> str:
    return hashlib.sha256(f"{model}\n{revision}".encode("utf-8", "surrogateescape")).hexdigest()[
        :32
    ]


@cache
def _machine() -> str:
    """Names this machine since it was started, and the process ids that this process sees of it."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _started(process: int) -> str:
    """When a process started, in the kernel's ticks; empty if there is none. An id alone may be another's by now."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    ended = not fields or fields[0] in "ZX"  # killed, and its parent has not asked yet
    return "" if ended else fields[19]
