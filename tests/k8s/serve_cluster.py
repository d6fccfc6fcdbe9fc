"""A program: the service's configuration on a Ray cluster of a head and three workers, rolled out again, and with a
worker lost. Arguments: the configuration and the workers' labels as JSON, a key. Prints what was seen as JSON."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import ray
from ray import serve
from ray._private.state import actors
from ray.cluster_utils import Cluster
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

WORKERS = 3
SMALL = {"object_store_memory": 80 * 2**20}


def status(config: dict[str, Any], path: str, key: str = "") -> int:
    """The status of an answer, 0 where there was none."""
    url = f"http://127.0.0.1:{config['http_options']['port']}{path}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=30
        ) as got:
            return got.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def deploy(config: dict[str, Any]) -> None:
    """What KubeRay does with serveConfigV2."""
    _get_global_client().deploy_apps(ServeDeploySchema(**config))


def settle(seen: set[str], seconds: float = 240) -> list[tuple[str, str, str]]:
    """Kind, name and node of every replica, once all are there and none of them was seen before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = [
            (actor["Name"].split("#")[1], actor["Name"], actor["Address"]["NodeID"])
            for actor in actors().values()
            if actor["Name"].startswith("SERVE_REPLICA") and actor["State"] == "ALIVE"
        ]
        running = serve.status().applications["provray"].status == "RUNNING"
        if running and len(found) == 6 and not seen & {name for _, name, _ in found}:
            return found
        time.sleep(0.5)
    raise TimeoutError(f"{serve.status().applications['provray']}; {found}")


def main() -> None:
    """See above."""
    config, labels, key = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **SMALL}
    )
    nodes = [cluster.add_node(num_cpus=2, labels=labels, **SMALL) for _ in range(WORKERS)]
    ray.init(address=cluster.address, log_to_driver=False)
    asked: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            asked.append(status(config, "/v1/index", key))
            time.sleep(0.05)

    try:
        # Nodes of one machine would want the same port: one proxy is enough to ask.
        serve.start(proxy_location="HeadOnly", http_options=config["http_options"])
        deploy(config)
        first = settle(set())
        paths = ("/healthz", "/readyz", "/v1/index", "/metrics")
        answers = {path: [status(config, path), status(config, path, key)] for path in paths}
        asking = threading.Thread(target=ask)
        asking.start()
        config["applications"][0]["args"]["request_seconds"] = 29
        deploy(config)
        second = settle({name for _, name, _ in first})
        over.set()
        asking.join()
        lost = next(n for n in nodes if any(n.node_id == node for _, _, node in second))
        gone = {name for _, name, node in second if node == lost.node_id}
        cluster.remove_node(lost, allow_graceful=False)
        third = settle(gone)
        seen = {
            "head": ray.get_runtime_context().get_node_id(),
            "places": [[(kind, node) for kind, _, node in run] for run in (first, second, third)],
            "answers": answers,
            "during the rollout": asked,
            "after the loss": status(config, "/v1/index", key),
        }
        print("FOUND", json.dumps(seen))
    finally:
        over.set()
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
