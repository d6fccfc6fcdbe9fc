"""A whole installation on one machine: Redis, a cluster of head and worker, the service on it, and Prometheus."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import provray
from provray.serve.keys import create_key
from provray.serve.settings import ServiceSettings
from tests.operations.cluster import REPLICAS, Cluster, Redis
from tests.serve.live import free_port
from tests.serve.made_index import make_index, make_models

DEPLOY = """
import sys, ray
from ray import serve
from ray.serve.config import HTTPOptions
from provray.serve.app import build
from provray.serve.run import NAME
from provray.serve.settings import ServiceSettings

ray.init(log_to_driver=False)
serve.start(
    proxy_location="EveryNode",
    http_options=HTTPOptions(host="127.0.0.1", port=int(sys.argv[2]), request_timeout_s=65),
)
serve.run(build(ServiceSettings.model_validate_json(sys.argv[1])), name=NAME, route_prefix="/")
"""


@dataclass(frozen=True)
class Stack:
    """folder: of everything. port: of the service. keys: secret texts by scope. index, models: of the service."""

    folder: Path
    redis: Redis
    cluster: Cluster
    settings: ServiceSettings
    port: int
    keys: dict[str, str]
    index: Path
    models: Path

    @classmethod
    def make(cls, folder: Path) -> Stack:
        """Files and addresses; nothing is started."""
        redis = Redis(folder)
        models = make_models(folder / "models")
        index = make_index(folder / "index", models)
        file = folder / "keys.json"
        keys = {scope: create_key(file, scope, [scope], 1_000_000)[1] for scope in _SCOPES}
        keys["slow"] = create_key(file, "slow", ["query"], 12)[1]
        settings = ServiceSettings(
            index=str(index),
            state=str(folder / "state"),
            keys=str(file),
            allow=(str(models),),
            queue=2,
            poll_seconds=0.5,
            node_labels=REPLICAS,
        )
        cluster = Cluster(folder, redis)
        return cls(folder, redis, cluster, settings, free_port(), keys, index, models)

    def start(self) -> None:
        """Start Redis and both nodes, and deploy the service."""
        self.redis.start()
        self.cluster.start()
        self.cluster.run(DEPLOY, self.settings.model_dump_json(), self.port)

    def stop(self) -> None:
        """End all of it."""
        self.cluster.stop()
        self.redis.stop()

    @property
    def url(self) -> str:
        """Of the service."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, scope: str = "query") -> provray.Client:
        """A client with the key of this scope."""
        return provray.Client(self.url, self.keys[scope])

    def crawl(self, models: Path, index: Path, *options: str) -> subprocess.Popen[bytes]:
        """Begin a crawl on the cluster, in a process of its own."""
        with (self.folder / "crawl.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "provray", "crawl", str(models), "--index", str(index)),
                    *("--address", self.cluster.address, "--workers", "1", "--log-json", *options),
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.cluster.variables},
            )


_SCOPES = ("read", "query", "metrics")
