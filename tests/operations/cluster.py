"""A Ray cluster as KubeRay makes it: a head and a worker, each one `ray start --block` that ends when a process of it
does, and is started again by whoever watches over it; the control store's data in a Redis with a password.

Both nodes are on this machine, in folders and with ports and a token of their own. Serve's proxies listen on one port
(SO_REUSEPORT), so connections go to whichever lives, as they do behind a Kubernetes service.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.operations.debian import environment, program
from tests.serve.live import free_port

PATIENCE = 240.0
"""Seconds until something that does not happen fails a test; nothing is measured by it."""
_MARK = "PROVRAY_TESTS_NODE"
"""In the environment of a node, and so of every process of it."""
REPLICAS = {"group": "replicas"}
"""Labels of the worker alone: replicas that ask for them are not on the head."""


def until(true: Callable[[], bool], what: str, pause: float = 0.1) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"it never came true: {what}"
        time.sleep(pause)


@dataclass
class Redis:
    """One Redis with a password, which keeps nothing on disk: it is what outlives the head here."""

    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = self.folder / "redis.conf"
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\nsave ''\nappendonly no\n"
            f"dir {self.folder}\n"
        )
        settings.chmod(0o600)
        with (self.folder / "redis.log").open("wb") as log:
            self._process = subprocess.Popen(
                [program("redis-server"), str(settings)], stdout=log, stderr=log, env=environment()
            )
        until(lambda: self.ask("PING") == "PONG", "Redis answers")

    def ask(self, *command: str, password: str | None = None) -> str:
        """What redis-cli says to a command."""
        answer = subprocess.run(
            [program("redis-cli"), "-p", str(self.port), *command],
            env={**environment(), "REDISCLI_AUTH": self.password if password is None else password},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        return answer.stdout.strip()

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)


class Node:
    """One `ray start --block`, with everything that it starts. `disk`: its own; sockets lie in it, so a short path."""

    def __init__(self, command: list[str], variables: Mapping[str, str], disk: Path) -> None:
        self._agent = free_port()
        self._command = [
            *command,
            f"--dashboard-agent-listen-port={self._agent}",
            f"--temp-dir={disk}",
        ]
        self._disk = disk
        self._log = disk.with_suffix(".log")
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self._variables = {**os.environ, **variables, "RAY_TMPDIR": str(disk), name: value}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on an empty disk as a new container has it."""
        shutil.rmtree(self._disk, ignore_errors=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._variables, start_new_session=True
            )

    def keep(self) -> int:
        """Start it until it serves, as a kubelet does: again whenever it ended. Returns how often it was started.

        On a busy machine a node may end while it starts: its raylet waits 15 s for a port of its agent, which is fixed
        in Ray (ray-project/ray#65983), and an agent may take longer to import what it needs.
        """
        starts = 0

        def serves() -> bool:
            nonlocal starts
            if not self.alive:
                self.end()
                self.start()
                starts += 1
            return self.healthy

        until(serves, "a node serves")
        return starts

    @property
    def healthy(self) -> bool:
        """What the liveness probe of the manifests asks: the raylet, and on the head the control store."""
        url = f"http://127.0.0.1:{self._agent}/api/healthz"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def alive(self) -> bool:
        """Whether `ray start --block` is."""
        return self.process is not None and self.process.poll() is None

    def processes(self, title: str = "") -> list[int]:
        """Living processes of this node whose command line holds `title`."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit():
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if title in line and (self._marked(entry) or self._titled(entry, line)):
                        found.append(int(entry.name))
        return found

    def _marked(self, entry: Path) -> bool:
        return self._mark.encode() in (entry / "environ").read_bytes().split(b"\0")

    def _titled(self, entry: Path, line: str) -> bool:
        """Whether Ray named a process, over the mark in /proc as it may be, and it holds a file of this node."""
        if not line.startswith("ray::"):
            return False
        for file in (entry / "fd").iterdir():
            with suppress(OSError):
                if str(file.readlink()).startswith(f"{self._disk}/"):
                    return True
        return False

    def end(self) -> None:
        """End every process of it at once, as the end of a container does."""
        while left := self.processes():
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)
            if self.process is not None:
                self.process.poll()


class Cluster:
    """The head has no CPUs, as KubeRay's guides want it, so all work is on the worker."""

    def __init__(self, folder: Path, redis: Redis) -> None:
        self.port, self.head_metrics, self.worker_metrics = free_port(), free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.variables = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ADDRESS": "",
            # As KubeRay sets it on workers of a cluster whose head may restart.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
            # Twice as often as usual. Much more, and gauges of the node would be forgotten before they are set again.
            "RAY_metrics_report_interval_ms": "5000",
        }
        common = [
            "--node-ip-address=127.0.0.1",
            "--object-store-memory=80000000",
            "--disable-usage-stats",
            "--include-log-monitor=false",
            "--block",
        ]
        ray = str(Path(sys.executable).parent / "ray")
        head = [
            *(ray, "start", "--head", f"--port={self.port}", "--num-cpus=0"),
            f"--redis-password={redis.password}",
            f"--metrics-export-port={self.head_metrics}",
            f"--ray-client-server-port={free_port()}",
            "--include-dashboard=false",
            *common,
        ]
        worker = [
            *(ray, "start", f"--address={self.address}", "--num-cpus=3"),
            "--labels=" + ",".join(f"{key}={value}" for key, value in REPLICAS.items()),
            f"--metrics-export-port={self.worker_metrics}",
            *common,
        ]
        stored = {
            "RAY_REDIS_ADDRESS": f"127.0.0.1:{redis.port}",
            "RAY_external_storage_namespace": uuid.uuid4().hex,
        }
        self.head = Node(head, {**self.variables, **stored}, folder / "h")
        self.worker = Node(worker, self.variables, folder / "w")

    def start(self) -> None:
        """Start both nodes and wait until they know each other."""
        self.head.keep()
        self.worker.keep()
        self.ready(2)

    def stop(self) -> None:
        """End both."""
        self.worker.end()
        self.head.end()

    def run(self, script: str, *arguments: object, seconds: float = PATIENCE) -> str:
        """What a Python script that joins this cluster prints."""
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            env={**os.environ, **self.variables, "RAY_ADDRESS": self.address},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def ready(self, nodes: int) -> None:
        """Wait until so many nodes are alive."""
        script = (
            "import ray, sys, time\n"
            "ray.init(log_to_driver=False)\n"
            "while sum(n['Alive'] for n in ray.nodes()) < int(sys.argv[1]): time.sleep(.1)\n"
        )
        self.run(script, nodes)
