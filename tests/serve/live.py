"""A running service for tests: where it is, how to ask it without a client, and which processes it consists of."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import provray
from provray.serve.settings import ServiceSettings


@dataclass(frozen=True)
class Live:
    """host, port: where it listens. keys: secret texts by scope. settings: as deployed. index, models: folders."""

    host: str
    port: int
    keys: Mapping[str, str] = field(repr=False)
    settings: ServiceSettings
    index: Path
    models: Path

    @property
    def url(self) -> str:
        """Of the service."""
        return f"http://{self.host}:{self.port}"

    def client(self, scope: str = "admin") -> provray.Client:
        """A client with the key of this scope."""
        return provray.Client(self.url, self.keys.get(scope))

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        scope: str | None = "admin",
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one plain request; a body that is no bytes is sent as JSON."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if scope is not None and scope in self.keys:
            sent["Authorization"] = f"Bearer {self.keys[scope]}"
        sent.update(headers or {})
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, content, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()
        finally:
            connection.close()

    def headers(self, path: str) -> list[str]:
        """The names of all headers that a GET is answered with, in order."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request("GET", path)
            return [name.lower() for name, _ in connection.getresponse().getheaders()]
        finally:
            connection.close()

    def audit(self) -> list[dict[str, Any]]:
        """The lines of the audit log."""
        text = (self.settings.state_folder / "audit.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def replicas(kind: str) -> list[int]:
    """Process ids of this process's own replicas of a kind (`front`, `search`, `fingerprints`, `watch`)."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            title = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            ours = _parent(_parent(int(entry.name))) == os.getpid()
        except (OSError, StopIteration):
            continue
        if title.startswith(f"ray::ServeReplica:provray:{kind}") and ours:
            found.append(int(entry.name))
    return sorted(found)


def _parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
