"""A crawl's numbers as Ray exports them for Prometheus."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path

import pytest

from provray.crawl.crawl import crawl
from provray.crawl.settings import PoolSettings
from provray.index.table import FingerprintTable
from provray.sources import open_source
from tests.crawl.small import small_probes
from tests.models import tiny


def _exported() -> dict[str, float]:
    """Every sample of ours on this node's metrics port: name with its own labels, and value."""
    import ray

    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for line in text.splitlines():
        match = re.match(r"(ray_provray_crawl_\w+)\{(.*)\} (\S+)$", line)
        if match:
            labels = re.findall(r'(status|stage|model)="([^"]*)"', match[2])
            key = match[1] + "".join(f" {name}={value}" for name, value in labels)
            found[key] = found.get(key, 0.0) + float(match[3])
    return found


def _settled() -> dict[str, float]:
    """What is exported once nothing of earlier crawls comes in any more; Ray reports every second here."""
    now = _exported()
    until = time.monotonic() + 120
    while time.monotonic() < until:
        time.sleep(4)
        before, now = now, _exported()
        if now == before:
            break
    return now


@pytest.mark.usefixtures("ray_cluster")
def test_a_crawl_is_counted(tmp_path: Path) -> None:
    tiny.save(tmp_path / "models" / "good", tiny.build("vit"))
    tiny.save(tmp_path / "models" / "cut", tiny.build("vit"))
    weights = tmp_path / "models" / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    table = FingerprintTable.create(tmp_path / "index")
    empty = table.version
    before = _settled()
    crawl(
        [open_source(str(tmp_path / "models"))],
        table,
        probes=small_probes(),
        pool=PoolSettings(workers=1),
    )
    wanted = {
        "ray_provray_crawl_models_total status=ok": 1,
        "ray_provray_crawl_models_total status=broken": 1,
        # one; more where a crawl takes long
        "ray_provray_crawl_commits_total": table.version - empty,
    }
    until = time.monotonic() + 90
    while time.monotonic() < until:
        now = _exported()
        gained = {name: now.get(name, 0.0) - before.get(name, 0.0) for name in wanted}
        if gained == wanted:
            break
        time.sleep(1)
    assert gained == wanted
    for stage in ("weights", "dna", "gif"):
        assert now[f"ray_provray_crawl_stage_seconds_total stage={stage}"] > 0
    assert "ray_provray_crawl_queue_depth" in now
    assert not any("model=" in name for name in now)
