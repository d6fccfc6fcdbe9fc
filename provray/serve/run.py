"""Starting the service from a command: checks what must hold before a port is opened."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import ray

from provray.crawl.cluster import join_ray, require_resources
from provray.crawl.settings import PoolSettings
from provray.index.table import FingerprintTable
from provray.serve.allowed import AllowList
from provray.serve.api import MAX_WAIT
from provray.serve.keys import read_keys
from provray.serve.settings import ServiceSettings, is_loopback

NAME = "provray"
SERVE_ENVIRONMENT = {
    # Requests are in the audit log; Serve would write each of them to standard error as well.
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # A proxy that is slow to boot on a busy machine would be killed and booted again, for ever.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
}
"""What Serve reads when Ray starts, unless it is set already."""


@dataclass(frozen=True)
class Listen:
    """Where the service listens. certificate, private_key: PEM files for TLS, both or none."""

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def url(self) -> str:
        """Where it is reached on this machine."""
        scheme = "https" if self.certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


def check(settings: ServiceSettings, listen: Listen) -> None:
    """Raises ValueError for what would be unsafe or could not work: a host beyond loopback without keys, a key file or
    an allowed source that is not there, half of a TLS pair, no index."""
    if not settings.keys and not is_loopback(listen.host):
        raise ValueError(
            f"without keys the service listens on this machine alone, not on {listen.host}: make a key with "
            "`provray keys create --file KEYS --name NAME` and give --keys KEYS"
        )
    if settings.keys:
        read_keys(Path(settings.keys))
    AllowList(settings.allow)
    if (listen.certificate is None) != (listen.private_key is None):
        raise ValueError("--tls-cert and --tls-key belong together: give both or none")
    FingerprintTable.open(settings.index)


def start(settings: ServiceSettings, listen: Listen, address: str | None = None) -> bool:
    """Deploy the service on the Ray cluster at `address`, or on a private one. Returns whether Ray was started here.

    Raises ValueError as `check` does, NotEnoughResources.
    """
    check(settings, listen)
    for name, value in SERVE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    started = join_ray(address)
    from ray import serve
    from ray.serve.config import HTTPOptions

    from provray.serve.app import build

    if settings.fingerprint_replicas:
        require_resources(
            PoolSettings(settings.fingerprint_replicas, settings.threads, settings.gpus)
        )
    shutil.rmtree(settings.state_folder / "metrics", ignore_errors=True)
    serve.start(
        proxy_location="HeadOnly",
        http_options=HTTPOptions(
            host=listen.host,
            port=listen.port,
            request_timeout_s=settings.request_seconds + MAX_WAIT + 5,
            keep_alive_timeout_s=60,
            ssl_certfile=_text(listen.certificate),
            ssl_keyfile=_text(listen.private_key),
        ),
    )
    serve.run(build(settings), name=NAME, route_prefix="/")
    return started


def stop(ray_too: bool) -> None:
    """End the service, and Ray if it was started for it."""
    from ray import serve

    serve.shutdown()
    if ray_too:
        ray.shutdown()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
