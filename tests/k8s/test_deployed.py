"""The service's configuration, as it is rendered, on a Ray cluster of a head and two workers."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from provray.serve.keys import create_key
from tests.k8s.kubectl import ROOT, rendered
from tests.k8s.pods import find
from tests.serve.live import free_port
from tests.serve.made_index import make_index, make_models

# A process of its own, since the session's cluster is another one.
DRIVER = """
import json
import sys
import time
import urllib.error
import urllib.request

import ray
from ray import serve
from ray._private.state import actors
from ray.cluster_utils import Cluster
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

config, labels, key = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
small = {"object_store_memory": 80 * 2**20}
cluster = Cluster(
    initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small}
)
for _ in range(2):
    cluster.add_node(num_cpus=2, labels=labels, **small)
ray.init(address=cluster.address, log_to_driver=False)


def status(path, key=""):
    url = f"http://127.0.0.1:{config['http_options']['port']}{path}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as got:
            return got.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


try:
    # Nodes of one machine would want the same port: one proxy is enough to ask.
    serve.start(proxy_location="HeadOnly", http_options=config["http_options"])
    _get_global_client().deploy_apps(ServeDeploySchema(**config))
    end = time.monotonic() + 240
    while time.monotonic() < end:
        if serve.status().applications["provray"].status == "RUNNING" and status("/readyz") == 200:
            break
        time.sleep(1)
    head = ray.get_runtime_context().get_node_id()
    places = [
        (actor["Name"].split("#")[1], actor["Address"]["NodeID"], actor["Address"]["NodeID"] == head)
        for actor in actors().values()
        if actor["Name"].startswith("SERVE_REPLICA") and actor["State"] == "ALIVE"
    ]
    paths = ("/healthz", "/readyz", "/v1/index", "/metrics")
    answers = {path: [status(path), status(path, key)] for path in paths}
    print("FOUND", json.dumps({"places": places, "answers": answers}))
finally:
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A folder with a short path, for the files of the cluster."""
    folder = Path(tempfile.mkdtemp(prefix="k8s-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_the_service_comes_up_on_workers_two_of_a_kind_on_two_nodes(
    tmp_path: Path, ray_folder: Path
) -> None:
    service = find(rendered("cpu"), "RayService")["spec"]
    config = yaml.safe_load(service["serveConfigV2"])
    models = make_models(tmp_path / "models")
    key = create_key(tmp_path / "keys.json", "all", ["read", "query", "admin"])[1]
    (application,) = config["applications"]
    application["args"] |= {
        "index": str(make_index(tmp_path / "index", models)),
        "state": str(tmp_path / "state"),
        "keys": str(tmp_path / "keys.json"),
        "allow": [str(models)],
    }
    front = next(d for d in application["deployments"] if d["name"] == "front")
    variables = front["ray_actor_options"]["runtime_env"]["env_vars"]
    for name in variables:
        variables[name] = variables[name].replace("/state", str(tmp_path / "state"), 1)
    config["http_options"] |= {"host": "127.0.0.1", "port": free_port()}
    (group,) = service["rayClusterConfig"]["workerGroupSpecs"]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(config), json.dumps(group["labels"]), key],
        capture_output=True,
        text=True,
        check=False,
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
    assert not any(on_head for *_, on_head in found["places"])
    nodes: dict[str, list[str]] = {}
    for kind, node, _ in found["places"]:
        nodes.setdefault(kind, []).append(node)
    assert {kind: len(of) for kind, of in nodes.items()} == {
        "front": 2,
        "search": 2,
        "watch": 1,
        "fingerprints": 1,
    }
    for kind in ("front", "search"):
        assert len(set(nodes[kind])) == 2, f"one node holds every {kind} replica"
    assert found["answers"] == {
        "/healthz": [200, 200],
        "/readyz": [200, 200],
        "/v1/index": [401, 200],
        "/metrics": [401, 200],
    }
    # Both front replicas counted where the other one reads.
    assert len(list((tmp_path / "state" / "metrics").glob("counter_*.db"))) == 2
