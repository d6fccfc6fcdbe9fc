"""`provray serve`: the query service."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from provray.cli.console import err
from provray.cli.options import Address, Gpus, Index, Probes, Threads


def serve_command(
    index: Index,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; beyond loopback only with --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8000,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Key file of `provray keys`.", show_default=False)
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            help="Source that callers may name: a folder (and all below), `hf://`, `hf://org`, "
            "`s3://bucket/prefix`. May be repeated. Default: none, only indexed models and fingerprints.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="Folder of jobs, metrics and the audit log. Default: in your state folder.",
            show_default=False,
        ),
    ] = None,
    probes: Probes = None,
    replicas: Annotated[
        int, typer.Option("--replicas", min=1, help="Front and search replicas, each.")
    ] = 2,
    fingerprint_replicas: Annotated[
        int,
        typer.Option(
            "--fingerprint-replicas", min=0, help="Suspects that are fingerprinted at once."
        ),
    ] = 1,
    threads: Threads = 1,
    gpus_per_worker: Gpus = 0.0,
    rate: Annotated[
        int, typer.Option("--rate", min=1, help="Requests a minute of each key without its own.")
    ] = 600,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate chain (PEM).", show_default=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="Its private key (PEM).", show_default=False)
    ] = None,
    address: Address = None,
) -> None:
    """Answer questions about models over HTTP until interrupted.

    The index may grow meanwhile: a new version is served within seconds, without a restart.
    """
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")  # read when Serve is imported
    try:
        from provray.serve.run import Listen, start, stop
        from provray.serve.settings import ServiceSettings
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the service needs {error.name}: install it with `pip install provray[serve]`"
        ) from error

    settings = ServiceSettings(
        index=index,
        state="" if state is None else str(state),
        keys=None if keys is None else str(keys),
        allow=tuple(allow or ()),
        probes=tuple(str(path) for path in probes or ()),
        front_replicas=replicas,
        search_replicas=replicas,
        fingerprint_replicas=fingerprint_replicas,
        threads=threads,
        gpus=gpus_per_worker,
        requests_per_minute=rate,
    )
    listen = Listen(host, port, tls_cert, tls_key)
    with err.status("starting the service …"):
        started = start(settings, listen, address)
    ended = threading.Event()
    # Only now: Ray sets handlers of its own when it starts, and its own aborts the process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    err.print(
        f"serving [bold]{index}[/] at [bold]{listen.url}[/], audit log in "
        f"{settings.state_folder / 'audit.jsonl'}",
        soft_wrap=True,
    )
    ended.wait()
    with err.status("stopping …"):
        stop(started)
