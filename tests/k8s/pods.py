"""The pods that come of rendered objects, with the labels that KubeRay adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pod:
    """A pod as it will be asked for. `name`: kind/object/part."""

    name: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        """All of them, those that run first included."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def pods(things: tuple[dict[str, Any], ...]) -> list[Pod]:
    """Every pod of these objects. Raises KeyError for a kind with pods that is not known here."""
    return [pod for thing in things for pod in _of(thing)]


def find(things: tuple[dict[str, Any], ...], kind: str, name: str = "") -> dict[str, Any]:
    """The one object of a kind, and name if given."""
    (found,) = (
        t for t in things if t["kind"] == kind and (not name or t["metadata"]["name"] == name)
    )
    return found


_WITHOUT_PODS = {
    "ConfigMap",
    "Ingress",
    "Namespace",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PodMonitor",
    "PrometheusRule",
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
}


def _of(thing: dict[str, Any]) -> Iterator[Pod]:
    kind, name = thing["kind"], f"{thing['kind']}/{thing['metadata']['name']}"
    if kind in _WITHOUT_PODS:
        return
    if kind == "StatefulSet":
        yield _pod(name, thing["spec"]["template"])
        return
    cluster = {
        "RayService": lambda spec: spec["rayClusterConfig"],
        "RayJob": lambda spec: spec["rayClusterSpec"],
        "RayCronJob": lambda spec: spec["jobTemplate"]["rayClusterSpec"],
    }[kind](thing["spec"])
    job = thing["spec"].get("jobTemplate", thing["spec"])
    if "submitterPodTemplate" in job:
        yield _pod(f"{name}/submitter", job["submitterPodTemplate"])
    head = cluster["headGroupSpec"]["template"]
    yield _pod(f"{name}/head", head, "head")
    for group in cluster["workerGroupSpecs"]:
        yield _pod(f"{name}/{group['groupName']}", group["template"], "worker")
    if "gcsFaultToleranceOptions" in cluster:
        # KubeRay's own, made of the head's template after the end of a cluster.
        yield _pod(f"{name}/redis-cleanup", head, "redis-cleanup")


def _pod(name: str, template: dict[str, Any], node_type: str = "") -> Pod:
    labels = dict(template["metadata"]["labels"])
    if node_type:
        labels |= {"ray.io/node-type": node_type, "ray.io/cluster": "made-by-kuberay"}
    return Pod(name, labels, template["spec"])
