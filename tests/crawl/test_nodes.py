"""Crawls on several nodes: one of them dies, and the crawl goes on with the others."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provray.crawl.crawl import crawl
from provray.index.table import FingerprintTable
from provray.sources import open_source
from tests.crawl.killing import (
    Driver,
    assert_same_rows,
    children,
    left_of_work,
    until,
    varied_models,
)
from tests.crawl.small import POOL, small_probes

MODELS = 12

# A head with the driver and a second node, of one CPU each, so that each has one of the two workers.
DRIVER = """
import sys
import ray
from ray.cluster_utils import Cluster
from provray.cli.crawl_progress import JsonLines
from provray.crawl.crawl import crawl
from provray.crawl.settings import PoolSettings
from provray.index.table import FingerprintTable
from provray.sources import open_source
from tests.crawl.small import small_probes

models, index = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
log = JsonLines()
log.write("node", raylet=second.all_processes["raylet"][0].process.pid)
crawl(
    [open_source(models)],
    FingerprintTable.create(index),
    probes=small_probes(),
    pool=PoolSettings(workers=2, seconds_per_model=120),
    address=cluster.address,
    progress=log,
)
ray.shutdown()
cluster.shutdown()
"""


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A folder with a short path, for the files of the cluster."""
    folder = Path(tempfile.mkdtemp(prefix="nodes-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("ray_cluster")
def test_a_node_that_dies_costs_the_model_it_was_at_another_attempt_and_nothing_else(
    ray_folder: Path, tmp_path: Path
) -> None:
    models = varied_models(tmp_path / "models", MODELS)
    undisturbed = FingerprintTable.create(tmp_path / "undisturbed")
    crawl([open_source(str(models))], undisturbed, probes=small_probes(), pool=POOL)

    index = tmp_path / "index"
    driver = Driver(DRIVER, models, index, log=tmp_path / "log", ray=ray_folder)
    try:
        driver.wait_for("finished", 2)
        raylet = driver.events("node")[0]["raylet"]
        until(lambda: "ray::Worker.fingerprint" in children(raylet))
        os.kill(raylet, signal.SIGKILL)
        assert driver.models("finished") != sorted(p.name for p in models.iterdir())
        driver.finish()
        until(driver.gone)
    finally:
        driver.kill()
    assert_same_rows(index, tmp_path / "undisturbed")
    assert left_of_work(index) == []
    assert sorted(driver.models("finished")) == sorted(p.name for p in models.iterdir())
    assert len(driver.models("started")) <= MODELS + 1
