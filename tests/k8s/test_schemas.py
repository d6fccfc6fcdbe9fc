"""Every object of every overlay fits its schema, and one that does not is found."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.k8s.kubectl import OVERLAYS, render, rendered
from tests.k8s.pods import find
from tests.k8s.schemas import Invalid, check

KINDS = {
    "Ingress",
    "Namespace",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "RayCronJob",
    "RayJob",
    "RayService",
    "Service",
    "ServiceAccount",
    "StatefulSet",
}
WITHOUT_SCHEMA = {"PodMonitor", "PrometheusRule"}
"""Of the Prometheus operator."""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_fits_its_schema(overlay: str) -> None:
    things = rendered(overlay)
    kinds = {t["kind"] for t in things}
    assert kinds >= KINDS
    assert kinds <= KINDS | WITHOUT_SCHEMA | {"ConfigMap"}
    for thing in things:
        if thing["kind"] not in WITHOUT_SCHEMA:
            check(thing)


def at(thing: Any, path: str) -> Any:
    for part in path.split("/"):
        thing = thing[int(part) if part.isdigit() else part]
    return thing


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Ingress", "spec/rules/0"),
        ("NetworkPolicy", "spec"),
        ("PersistentVolumeClaim", "spec"),
        ("PodDisruptionBudget", "spec"),
        ("StatefulSet", "spec/template/spec/containers/0/securityContext"),
        ("RayService", "spec"),
        ("RayService", "spec/rayClusterConfig/gcsFaultToleranceOptions"),
        ("RayService", "spec/rayClusterConfig/headGroupSpec/template/spec/containers/0"),
        ("RayJob", "spec"),
        ("RayJob", "spec/submitterPodTemplate/spec/containers/0/securityContext"),
        ("RayJob", "spec/rayClusterSpec/workerGroupSpecs/0"),
        ("RayCronJob", "spec"),
        ("RayCronJob", "spec/jobTemplate/rayClusterSpec/authOptions"),
        ("RayCronJob", "metadata"),
    ],
)
def test_a_field_that_does_not_exist_is_found(kind: str, path: str) -> None:
    thing = deepcopy(next(t for t in rendered("cpu") if t["kind"] == kind))
    check(thing)
    at(thing, path)["replicaz"] = 2
    with pytest.raises(Invalid, match="replicaz"):
        check(thing)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("PodDisruptionBudget", "spec/maxUnavailable", [1]),
        ("StatefulSet", "spec/replicas", "one"),
        ("RayService", "spec/rayClusterConfig/authOptions/mode", "none"),
        ("RayJob", "spec/backoffLimit", "two"),
        ("RayCronJob", "spec/schedule", 5),
    ],
)
def test_a_value_of_the_wrong_kind_is_found(kind: str, path: str, value: Any) -> None:
    thing = deepcopy(find(rendered("cpu"), kind))
    parent, _, last = path.rpartition("/")
    at(thing, parent)[last] = value
    with pytest.raises(Invalid):
        check(thing)


def test_an_overlay_that_names_what_is_not_there_does_not_render(tmp_path: Any) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [absent.yaml]\n")
    with pytest.raises(AssertionError, match="absent"):
        render(tmp_path)
