"""A Ray cluster of the tests' own, protected by a token, as subprocesses: what jobs are submitted to."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
_PORTS = (
    "port",
    "dashboard-port",
    "ray-client-server-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)


@dataclass(frozen=True)
class Submitted:
    """What `jobs/submit.py` ended with."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)


@dataclass(frozen=True)
class Cluster:
    """address: of the dashboard. env: of whoever has the token. home: the cluster's own, in the environment of each of
    its processes and of no other."""

    address: str
    env: dict[str, str]
    home: Path

    def submit(self, *arguments: object, **changed: str) -> Submitted:
        """Run `jobs/submit.py`; changed: environment variables, empty for none."""
        env = {k: v for k, v in {**self.env, **changed}.items() if v}
        ran = subprocess.run(
            [sys.executable, ROOT / "jobs" / "submit.py", *map(str, arguments)],
            env=env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=240,
        )
        return Submitted(ran.returncode, ran.stdout, ran.stderr)

    def jobs(self) -> dict[str, str]:
        """Submission ids with their status, as the dashboard tells whoever has the token."""
        return {job["submission_id"]: job["status"] for job in self.ask("/api/jobs/")}

    def log(self, job: str) -> str:
        """Of a job, as far as it is there."""
        return str(self.ask(f"/api/jobs/{job}/logs")["logs"]).rstrip()

    def ask(self, path: str, token: str | None = None) -> Any:
        """What the dashboard answers."""
        given = self.env["RAY_AUTH_TOKEN"] if token is None else token
        request = urllib.request.Request(
            self.address + path, headers={"Authorization": f"Bearer {given}"} if given else {}
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)


def processes(home: Path) -> list[int]:
    """Every process that has this home."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and f"HOME={home}\0".encode() in (entry / "environ").read_bytes()
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _free_ports() -> list[int]:
    """As many different ports as a head needs; each is free now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in _PORTS]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def running() -> Iterator[Cluster]:
    """A head with two CPUs, that nobody else's client finds. Every process of it is gone afterwards."""
    # Ray's sockets lie below it, and their paths must be short.
    home = Path(tempfile.mkdtemp(prefix="prj-"))
    env = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "OMP_NUM_THREADS": "1",
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "TOKENIZERS_PARALLELISM": "false",
    }
    ports = dict(zip(_PORTS, _free_ports(), strict=True))
    with (home / "head.log").open("wb") as log:
        head = subprocess.Popen(
            [
                BIN / "ray",
                *("start", "--head", "--block", "--num-cpus", "2", "--disable-usage-stats"),
                *("--node-ip-address", "127.0.0.1", "--dashboard-host", "127.0.0.1"),
                *("--object-store-memory", str(100 * 2**20), "--temp-dir", str(home / "r")),
                *(word for name, port in ports.items() for word in (f"--{name}", str(port))),
            ],
            env=env,
            cwd=home,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    cluster = Cluster(address, {**env, "RAY_API_SERVER_ADDRESS": address}, home)
    try:
        _wait(cluster, head)
        yield cluster
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for pid in processes(home):
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    continue
            deadline = time.monotonic() + 3
            while (left := processes(home)) and time.monotonic() < deadline:
                time.sleep(0.2)
        head.wait()
        shutil.rmtree(home, ignore_errors=True)
        assert not left, f"processes of the tests' cluster are left: {left}"


def _wait(cluster: Cluster, head: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert head.poll() is None, (cluster.home / "head.log").read_text()
        try:
            cluster.ask("/api/jobs/")
        except (OSError, urllib.error.URLError):
            time.sleep(0.5)
        else:
            return
    raise AssertionError((cluster.home / "head.log").read_text())
