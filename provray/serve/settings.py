"""How a service is set up: one object that the command line fills and `serve deploy` reads as `args`."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

MIB = 1 << 20


class ServiceSettings(BaseModel):
    """Settings of one service.

    index: URI of the index. state: folder for jobs, metrics and the audit log, shared by all machines of a cluster.
    keys: file of `provray keys`; without one, only callers on this machine are answered. allow: sources that callers
    may name, each a folder, `hf://`, `hf://org` or `s3://bucket/prefix`. probes: probe sets instead of the index's own.
    *_replicas: of each kind. threads, gpus, device: of each fingerprint replica. queue: suspects that wait or are
    fingerprinted at once, for each front replica. request_seconds: time limit of an answer; model_seconds: of one
    suspect. body_bytes: largest request. requests_per_minute: of a key that has no limit of its own, for the service
    as a whole. poll_seconds: how often a new index version is looked for. node_labels: Ray labels of the nodes that
    replicas may be on; without any they go anywhere, to the head of a cluster too, and are lost when it restarts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    index: str
    state: str = ""
    keys: str | None = None
    allow: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    front_replicas: int = Field(default=2, ge=1)
    search_replicas: int = Field(default=2, ge=1)
    fingerprint_replicas: int = Field(default=1, ge=0)
    threads: int = Field(default=1, ge=1)
    gpus: float = Field(default=0.0, ge=0)
    device: str | None = None
    queue: int = Field(default=16, ge=1)
    request_seconds: float = Field(default=30.0, gt=0)
    model_seconds: float = Field(default=600.0, gt=0)
    body_bytes: int = Field(default=8 * MIB, ge=1024)
    requests_per_minute: int = Field(default=600, ge=1)
    poll_seconds: float = Field(default=1.0, gt=0)
    node_labels: dict[str, str] = Field(default_factory=dict)

    @property
    def state_folder(self) -> Path:
        """Where jobs, metrics and the audit log lie; by default in this user's state folder, one for each index."""
        if self.state:
            return Path(self.state).expanduser().absolute()
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        uri = self.index if "://" in self.index else str(Path(self.index).resolve())
        return base / "provray" / hashlib.sha256(uri.encode()).hexdigest()[:16]

    @property
    def index_name(self) -> str:
        """What answers call the index: the last part of its URI. Where it lies is no caller's business."""
        return self.index.rstrip("/").rsplit("/", 1)[-1]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
