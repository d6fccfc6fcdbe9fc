"""One installation, watched by one Prometheus, for all tests of operations."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.debian import program
from tests.operations.monitoring import hurried
from tests.operations.stack import Stack
from tests.operations.watching import Prometheus


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """Redis, a cluster of head and worker, and the service on it."""
    for name in ("redis-server", "redis-cli", "prometheus"):
        program(name)
    folder = Path(tempfile.mkdtemp(prefix="ops-"))  # a short path: sockets lie in it
    made = Stack.make(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
def prometheus(stack: Stack) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the service and both nodes, with our rules in a hurry."""
    nodes = [stack.cluster.head_metrics, stack.cluster.worker_metrics]
    targets = {
        "provray-service": [f"127.0.0.1:{stack.port}"],
        "ray": [f"127.0.0.1:{port}" for port in nodes],
    }
    made = Prometheus(stack.folder / "prometheus", targets, stack.keys["metrics"], hurried())
    try:
        made.start()
        yield made
    finally:
        made.stop()
