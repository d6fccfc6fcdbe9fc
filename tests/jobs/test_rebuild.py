"""Search indexes of an index in a bucket: each machine keeps its own."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from provray.crawl.reading import read_index
from provray.index import cache
from provray.index.table import FingerprintTable
from tests.crawl.small import small_probes
from tests.jobs.cluster import ROOT
from tests.serve.made_index import BASE, CHILD, STRANGERS, rows


@pytest.mark.usefixtures("ray_cluster")
def test_every_machine_of_the_cluster_builds_its_own(s3_bucket: str) -> None:
    work: Any = runpy.run_path(str(ROOT / "jobs" / "rebuild.py"))["work"]
    place = f"s3://{s3_bucket}/index"
    table = FingerprintTable.create(place)
    for probes in small_probes():
        table.keep_probes(probes)
    table.append([row for network in (BASE, CHILD, *STRANGERS[:18]) for row in rows(network)])
    read_index(place)
    (folder,) = table.location.cache_folder.glob("v1-*")
    (folder / "biases.faiss").write_bytes(b"damaged")
    result = work(["--index", place])
    (machine,) = result["machines"]
    assert (machine["deleted"], machine["models"]) == (1, 20)
    assert cache.load(folder) is not None
