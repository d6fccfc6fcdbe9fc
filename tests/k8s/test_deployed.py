"""The service's configuration, as it is rendered, on a Ray cluster of a head and three workers."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from provray.serve.keys import create_key
from tests.k8s.kubectl import ROOT, rendered
from tests.k8s.pods import find
from tests.k8s.serve_cluster import WORKERS
from tests.serve.live import free_port
from tests.serve.made_index import make_index, make_models


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A folder with a short path, for the files of the cluster."""
    folder = Path(tempfile.mkdtemp(prefix="k8s-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_the_service_comes_up_on_workers_and_outlives_a_rollout_and_a_worker(
    tmp_path: Path, ray_folder: Path
) -> None:
    service = find(rendered("cpu"), "RayService")["spec"]
    config = yaml.safe_load(service["serveConfigV2"])
    models = make_models(tmp_path / "models")
    key = create_key(tmp_path / "keys.json", "all", ["read", "query", "admin"], 1_000_000)[1]
    (application,) = config["applications"]
    application["args"] |= {
        "index": str(make_index(tmp_path / "index", models)),
        "state": str(tmp_path / "state"),
        "keys": str(tmp_path / "keys.json"),
        "allow": [str(models)],
    }
    config["http_options"] |= {"host": "127.0.0.1", "port": free_port()}
    (group,) = service["rayClusterConfig"]["workerGroupSpecs"]
    assert group["replicas"] == WORKERS
    # A process of its own, since the session's cluster is another one.
    program = [sys.executable, "-m", "tests.k8s.serve_cluster"]
    done = subprocess.run(
        [*program, json.dumps(config), json.dumps(group["labels"]), key],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "TMPDIR": str(ray_folder),
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        },
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stdout + done.stderr
    found = json.loads(lines[0].removeprefix("FOUND "))
    for places in found["places"]:
        assert found["head"] not in {node for _, node in places}
        assert Counter(kind for kind, _ in places) == {
            "front": 2,
            "search": 2,
            "watch": 1,
            "fingerprints": 1,
        }
        for kind in ("front", "search"):
            assert len({node for of, node in places if of == kind}) == 2, f"one has every {kind}"
    assert found["answers"] == {
        "/healthz": [200, 200],
        "/readyz": [200, 200],
        "/v1/index": [401, 200],
        "/metrics": [401, 200],
    }
    assert len(found["during the rollout"]) > 50
    assert set(found["during the rollout"]) == {200}
    assert found["after the loss"] == 200
    # Each front replica there was counted where the others read.
    assert len(list((tmp_path / "state" / "metrics").glob("counter_*.db"))) >= 4
