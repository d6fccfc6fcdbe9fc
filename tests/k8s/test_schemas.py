"""Every object of every overlay fits its schema, and one that does not is found."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from tests.k8s.kubectl import OVERLAYS, render, rendered
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
MONITORING = {"ConfigMap", "PodMonitor", "PrometheusRule"}
"""Of overlays with the component `monitoring`."""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_fits_its_schema(overlay: str) -> None:
    things = rendered(overlay)
    kinds = {t["kind"] for t in things}
    assert kinds == (KINDS if overlay == "local" else KINDS | MONITORING)
    for thing in things:
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
        ("PodMonitor", "metadata"),
        ("PodMonitor", "spec"),
        ("PodMonitor", "spec/selector"),
        ("PodMonitor", "spec/selector/matchExpressions/0"),
        ("PodMonitor", "spec/podMetricsEndpoints/0"),
        ("PodMonitor", "spec/podMetricsEndpoints/0/relabelings/0"),
        ("PrometheusRule", "spec"),
        ("PrometheusRule", "spec/groups/0"),
        ("PrometheusRule", "spec/groups/1/rules/0"),
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
        ("PodMonitor", "apiVersion", "monitoring.coreos.com/v2"),
        ("PodMonitor", "spec/selector", []),
        ("PodMonitor", "spec/podTargetLabels", "ray.io/cluster"),
        ("PodMonitor", "spec/podMetricsEndpoints/0/port", 8000),
        ("PodMonitor", "spec/podMetricsEndpoints/0/interval", "15 seconds"),
        ("PodMonitor", "spec/podMetricsEndpoints/0/scheme", "ftp"),
        ("PodMonitor", "spec/podMetricsEndpoints/0/relabelings/0/action", "rename"),
        ("PrometheusRule", "spec/groups/1/name", ""),
        ("PrometheusRule", "spec/groups/1/rules/0/expr", ["up"]),
        ("PrometheusRule", "spec/groups/1/rules/0/for", "1 minute"),
        ("PrometheusRule", "spec/groups/1/rules/0/labels/severity", 1),
        ("PrometheusRule", "spec/groups/1/rules/0/annotations", ["summary"]),
    ],
)
def test_a_value_of_the_wrong_kind_is_found(kind: str, path: str, value: Any) -> None:
    thing = deepcopy(next(t for t in rendered("cpu") if t["kind"] == kind))
    check(thing)
    parent, _, last = path.rpartition("/")
    (at(thing, parent) if parent else thing)[last] = value
    with pytest.raises(Invalid):
        check(thing)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("PodMonitor", "spec/selector"),
        ("PrometheusRule", "spec/groups/0/name"),
        ("PrometheusRule", "spec/groups/1/rules/0/expr"),
    ],
)
def test_a_field_that_is_missing_is_found(kind: str, path: str) -> None:
    thing = deepcopy(next(t for t in rendered("cpu") if t["kind"] == kind))
    parent, _, last = path.rpartition("/")
    del at(thing, parent)[last]
    with pytest.raises(Invalid, match=f"'{last}' is a required property"):
        check(thing)


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name != "local"])
@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_every_object_inside_a_monitor_or_rule_refuses_a_field_that_does_not_exist(
    overlay: str, kind: str
) -> None:
    for thing in (t for t in rendered(overlay) if t["kind"] == kind):
        paths = list(objects(thing))
        assert "spec" in paths
        for path in paths:
            changed = deepcopy(thing)
            (at(changed, path) if path else changed)["replicaz"] = 2
            with pytest.raises(Invalid, match=r"replicaz|2 is not of type 'string'"):
                check(changed)


def objects(thing: Any, path: str = "") -> Iterator[str]:
    """Paths of every object inside, itself included. A map of labels takes any name, but no number."""
    if isinstance(thing, dict):
        yield path
    for key, inner in thing.items() if isinstance(thing, dict) else enumerate(thing):
        if isinstance(inner, dict | list):
            yield from objects(inner, f"{path}/{key}".strip("/"))


def test_an_overlay_that_names_what_is_not_there_does_not_render(tmp_path: Any) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [absent.yaml]\n")
    with pytest.raises(AssertionError, match="absent"):
        render(tmp_path)
