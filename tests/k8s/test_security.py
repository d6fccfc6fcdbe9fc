"""Pods hold no rights, no secrets are in the tree, and nothing is reachable by itself from outside."""

from __future__ import annotations

import re

import pytest

from tests.k8s.kubectl import OVERLAYS, ROOT, rendered
from tests.k8s.pods import Pod, find, pods

EACH_POD = [
    pytest.param(overlay, pod, id=f"{overlay}-{pod.name}")
    for overlay in OVERLAYS
    for pod in pods(rendered(overlay))
]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_namespace_enforces_the_restricted_profile(overlay: str) -> None:
    labels = find(rendered(overlay), "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(("overlay", "pod"), EACH_POD)
def test_a_pod_is_restricted(overlay: str, pod: Pod) -> None:
    whole = pod.spec["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["runAsUser"] > 0
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        assert not pod.spec.get(key), key
    assert {next(iter(set(v) - {"name"})) for v in pod.spec.get("volumes", ())} <= {
        "emptyDir",
        "persistentVolumeClaim",
        "secret",
    }
    for container in pod.containers:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"] is True
        assert not own.get("privileged")
        # Nothing takes back what the pod says.
        assert not {"runAsUser", "runAsNonRoot", "seccompProfile"} & set(own)
        assert not any("hostPort" in p for p in container.get("ports", ()))


@pytest.mark.parametrize(("overlay", "pod"), EACH_POD)
def test_a_container_has_limits_and_a_named_image(overlay: str, pod: Pod) -> None:
    for container in pod.containers:
        asked, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert {"cpu", "memory"} <= set(asked)
        assert {"cpu", "memory"} <= set(limits)
        # Memory that is lent is taken back by killing.
        assert container["name"] in {"ray-job-submitter", "redis"} or (
            asked["memory"] == limits["memory"]
        )
        assert re.fullmatch(r"[a-z0-9./-]+:[0-9]+\.[0-9]+\.[0-9]+(-[a-z]+)?", container["image"])


@pytest.mark.parametrize(("overlay", "pod"), EACH_POD)
def test_a_pod_has_an_account_without_rights_and_no_token(overlay: str, pod: Pod) -> None:
    things = rendered(overlay)
    account = find(things, "ServiceAccount", pod.spec["serviceAccountName"])
    assert account["automountServiceAccountToken"] is False
    assert pod.spec["automountServiceAccountToken"] is False
    assert not {t["kind"] for t in things} & {
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
    }


@pytest.mark.parametrize(("overlay", "pod"), EACH_POD)
def test_what_is_mounted_is_there_and_what_is_read_only_has_a_place_to_write(
    overlay: str, pod: Pod
) -> None:
    declared = {v["name"] for v in pod.spec.get("volumes", ())}
    for container in pod.containers:
        mounts = container["volumeMounts"]
        claims = {"data"} if pod.name.startswith("StatefulSet") else set()
        assert {m["name"] for m in mounts} <= declared | claims
        assert {m["mountPath"] for m in mounts} & {"/tmp", "/data"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_asks_for_its_token_and_no_autoscaler_needs_rights(overlay: str) -> None:
    things = rendered(overlay)
    clusters = [
        find(things, "RayService")["spec"]["rayClusterConfig"],
        find(things, "RayJob")["spec"]["rayClusterSpec"],
        find(things, "RayCronJob")["spec"]["jobTemplate"]["rayClusterSpec"],
    ]
    for cluster in clusters:
        assert cluster["authOptions"] == {"mode": "token"}
        assert "enableInTreeAutoscaling" not in cluster
        for group in cluster["workerGroupSpecs"]:
            assert group["minReplicas"] == group["replicas"] == group["maxReplicas"] > 0
        assert cluster["headGroupSpec"].get("serviceType", "ClusterIP") == "ClusterIP"
        assert not cluster["headGroupSpec"].get("enableIngress")
    for key in ("redisPassword",):
        secret = clusters[0]["gcsFaultToleranceOptions"][key]
        assert set(secret) == {"valueFrom"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_and_no_open_service(overlay: str) -> None:
    for thing in rendered(overlay):
        assert thing["kind"] != "Secret"
        if thing["kind"] == "Service":
            assert thing["spec"].get("type", "ClusterIP") == "ClusterIP"
        if thing["kind"] == "Ingress":
            (tls,) = thing["spec"]["tls"]
            assert tls["hosts"] == [rule["host"] for rule in thing["spec"]["rules"]]
            assert tls["secretName"]
            assert {
                path["backend"]["service"]["port"]["number"]
                for rule in thing["spec"]["rules"]
                for path in rule["http"]["paths"]
            } == {8000}


def references(pod: Pod) -> set[tuple[str, str]]:
    """Secrets that a pod reads, each with the key (empty: all of them)."""
    found = set()
    for container in pod.containers:
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {}).get("secretKeyRef")
            if source:
                found.add((source["name"], source["key"]))
        for whole in container.get("envFrom", ()):
            found.add((whole["secretRef"]["name"], ""))
    for volume in pod.spec.get("volumes", ()):
        if "secret" in volume:
            found.add((volume["secret"]["secretName"], ""))
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_secret_is_documented_with_the_command_that_makes_it(overlay: str) -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    made = dict(re.findall(r"create secret (?:generic|tls) (\S+)((?:.*\\\n)*.*)", text))
    asked = {reference for pod in pods(rendered(overlay)) for reference in references(pod)}
    redis = find(rendered(overlay), "RayService")["spec"]["rayClusterConfig"]
    password = redis["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]
    asked.add((password["name"], password["key"]))
    asked.add((find(rendered(overlay), "Ingress")["spec"]["tls"][0]["secretName"], ""))
    for monitor in (t for t in rendered(overlay) if t["kind"] == "PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if "authorization" in endpoint:
                credentials = endpoint["authorization"]["credentials"]
                asked.add((credentials["name"], credentials["key"]))
    # Prometheus' key is for where it scrapes.
    scraped = any(thing["kind"] == "PodMonitor" for thing in rendered(overlay))
    assert {name for name, _ in asked} == set(made) - (set() if scraped else {"provray-metrics"})
    for name, key in asked:
        assert not key or f"{key}=" in made[name], f"no command makes {key} of {name}"
