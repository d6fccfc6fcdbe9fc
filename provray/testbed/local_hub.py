"""A model hub on this machine: serves model folders with the HTTP API of the Hugging Face Hub, as its Python client and
provray speak it, and fails on request.

For tests and benchmarks: faults are real ones (an answer with that status, a closed connection, a slow link), and every
request is logged.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

from huggingface_hub.repocard import metadata_load

from provray.testbed.local_hub_api import HubHandler


@dataclass(frozen=True)
class File:
    """A file of a commit: where it lies, its bytes, and the SHA-256 it had when it was pushed."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Commit:
    """A folder as it was pushed. card: front matter of its README.md."""

    sha: str
    files: Mapping[str, File]
    card: Mapping[str, Any]
    moment: datetime


@dataclass
class Repository:
    """A model's commits by sha, its branches and tags, and who may read it: all may be changed while the hub runs.

    gated and private: only tokens of `LocalHub.tokens` that name the model may read it.
    """

    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    disabled: bool = False
    downloads: int = 0

    def commit(self, revision: str) -> Commit | None:
        """The commit of a branch, a tag or a sha."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(sha)


@dataclass
class Fault:
    """What happens to the next `times` requests whose path matches `path`: an answer of `status` with `headers`, or a
    connection that is closed after `cut` bytes of the body."""

    path: str
    times: int
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = -1


@dataclass
class Request:
    """One request: its path and question, the `Range` it had, the status and the body bytes it was answered with.

    authorized: it carried a token.
    """

    method: str
    path: str
    query: str
    range: str
    authorized: bool
    status: int = 0
    sent: int = 0


class LocalHub:
    """A hub on a free port of 127.0.0.1 while its context lasts. Repositories and faults may change at any time.

    latency: seconds before every answer. bandwidth: bytes per second of all connections together, None for no bound.
    page: models of one page of a listing. ranges: whether `Range` is honoured. stale: every revision is answered with
    the main branch, as a broken mirror does. store: endpoint that weight files are redirected to, as large files are.
    tokens: the models each token opens; any other token is refused.
    """

    def __init__(self, latency: float = 0.0, bandwidth: float | None = None) -> None:
        self.latency = latency
        self.bandwidth = bandwidth
        self.page = 1000
        self.ranges = True
        self.stale = False
        self.store: str | None = None
        self.tokens: dict[str, set[str]] = {}
        self.repositories: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.requests: list[Request] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._link_free = 0.0
        self._last_push = datetime(2025, 1, 1, tzinfo=UTC)
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> Self:
        handler = type("Handler", (HubHandler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        # Kept-alive connections would go on being served by their threads.
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def push(
        self, model: str, folder: Path, branch: str = "main", moment: datetime | None = None
    ) -> str:
        """Commit a folder's files (subfolders too) to a branch of `org/name`, and return the commit's sha.

        The files are served from where they lie. moment: of the commit; by default a minute after the latest one.
        """
        files = {
            path.relative_to(folder).as_posix(): _file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        with self._lock:
            repository = self.repositories.setdefault(model, Repository())
            moment = moment or self._last_push + timedelta(minutes=1)
            self._last_push = max(self._last_push, moment)
            content = "\n".join(f"{name} {file.sha256}" for name, file in files.items())
            parent = repository.branches.get(branch, "")
            sha = hashlib.sha256(f"{model}\n{parent}\n{content}".encode()).hexdigest()[:40]
            card = metadata_load(folder / "README.md") if "README.md" in files else None
            repository.commits[sha] = Commit(sha, files, card or {}, moment)
            repository.branches[branch] = sha
        return sha

    def rename(self, old: str, new: str) -> None:
        """Move a model to another name; the old one redirects."""
        with self._lock:
            self.repositories[new] = self.repositories.pop(old)
            self.renamed[old] = new

    def fail(self, path: str, status: int, times: int = 1, **headers: str) -> None:
        """Answer the next requests whose path matches with a status; `retry_after="2"` adds `Retry-After: 2`."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        self._faults.append(Fault(path, times, status, named))

    def cut(self, path: str, after: int, times: int = 1) -> None:
        """Close the connection after so many body bytes of the next requests whose path matches a pattern."""
        self._faults.append(Fault(path, times, cut=after))

    def heal(self) -> None:
        """No more faults."""
        self._faults.clear()

    def asked(self, path: str) -> list[Request]:
        """The requests so far whose path matches a pattern, in the order of their arrival."""
        return [request for request in list(self.requests) if re.search(path, request.path)]

    def take_fault(self, path: str) -> Fault | None:
        """The fault that strikes a request now, if any; it is one time nearer to its end."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def wait_for_link(self, count: int) -> None:
        """Wait until so many bytes have gone over the link that all connections share."""
        if self.bandwidth is None:
            return
        with self._lock:
            begin = max(self._link_free, monotonic())
            self._link_free = begin + count / self.bandwidth
            wait = self._link_free - monotonic()
        sleep(max(0.0, wait))

    def watch(self, connection: socket.socket, *, open: bool) -> None:
        """Remember a connection as long as it is open."""
        with self._lock:
            (self._connections.add if open else self._connections.discard)(connection)


def _file(path: Path) -> File:
    with path.open("rb") as file:
        return File(path, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
