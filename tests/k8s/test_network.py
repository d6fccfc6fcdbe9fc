"""Who reaches whom: every pair of ends that matter, against the list of what is meant."""

from __future__ import annotations

import pytest

from tests.k8s.kubectl import OVERLAYS, rendered
from tests.k8s.pods import Pod, pods
from tests.k8s.policies import End, allows, governing, selects

DASHBOARD, CLIENT, GCS, SERVE, METRICS, AGENT, TLS, METADATA = (
    8265,
    10001,
    6379,
    8000,
    8080,
    52365,
    443,
    80,
)
PORTS = (DASHBOARD, CLIENT, GCS, SERVE, METRICS, AGENT, TLS, METADATA)

OTHERS = [
    End("operator", {"app.kubernetes.io/component": "kuberay-operator"}, "kuberay-system"),
    End("not the operator", {}, "kuberay-system"),
    End("ingress controller", {}, "ingress-nginx"),
    End("prometheus", {}, "monitoring"),
    End("stranger", {"ray.io/node-type": "head", "app.kubernetes.io/component": "service"}, "shop"),
    End("stranger inside", {"app": "debug"}),
    End("dns", {"k8s-app": "kube-dns"}, "kube-system"),
    End("hub", address="203.0.113.7"),
    End("hub by IPv6", address="2001:db8::7"),
    End("metadata", address="169.254.169.254"),
]

SERVICE = {"service head", "service worker", "service redis-cleanup"}
CRAWL = {"crawl head", "crawl worker"}
ANY = "any"

MEANT: set[tuple[str, str, int | str]] = {
    *((a, b, ANY) for a in SERVICE for b in SERVICE),
    *((a, b, ANY) for a in CRAWL for b in CRAWL),
    ("operator", "service head", DASHBOARD),
    ("operator", "service head", SERVE),
    ("operator", "crawl head", DASHBOARD),
    ("operator", "crawl head", SERVE),
    ("submitter", "crawl head", DASHBOARD),
    ("ingress controller", "service worker", SERVE),
    ("prometheus", "service worker", SERVE),
    *(("prometheus", end, METRICS) for end in SERVICE | CRAWL),
    ("service head", "redis", GCS),
    ("service redis-cleanup", "redis", GCS),
    *((end, hub, TLS) for end in SERVICE | CRAWL for hub in ("hub", "hub by IPv6")),
}


def name(pod: Pod) -> str:
    part = pod.labels["app.kubernetes.io/component"]
    node = pod.labels.get("ray.io/node-type")
    return f"{part} {node}" if node else part


def ends(overlay: str) -> list[End]:
    inside = {name(pod): End(name(pod), pod.labels) for pod in pods(rendered(overlay))}
    assert set(inside) == SERVICE | CRAWL | {"submitter", "redis"}
    return [*inside.values(), *OTHERS]


def policies(overlay: str) -> list[dict]:
    return [t for t in rendered(overlay) if t["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_closed_by_default(overlay: str) -> None:
    for pod in pods(rendered(overlay)):
        for way in ("ingress", "egress"):
            specs = governing(policies(overlay), way, End(pod.name, pod.labels))
            assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in specs


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_open_but_what_is_meant(overlay: str) -> None:
    found = {
        (source.name, target.name, port)
        for source in ends(overlay)
        for target in ends(overlay)
        for port in PORTS
        if (source.inside or target.inside) and allows(policies(overlay), source, target, port)
    }
    meant = {
        (source, target, one)
        for source, target, port in MEANT
        for one in (PORTS if port == ANY else (port,))
    }
    assert found == meant


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_resolved_and_nothing_else_is_asked_of_dns(overlay: str) -> None:
    dns = next(end for end in OTHERS if end.name == "dns")
    for end in ends(overlay):
        if end.inside:
            assert allows(policies(overlay), end, dns, 53, "UDP")
            assert not allows(policies(overlay), end, dns, 443)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_prometheus_reaches_what_it_is_told_to_scrape(overlay: str) -> None:
    prometheus = next(end for end in OTHERS if end.name == "prometheus")
    monitors = [t for t in rendered(overlay) if t["kind"] == "PodMonitor"]
    assert bool(monitors) == (overlay != "local")
    for monitor in monitors:
        chosen = [
            p for p in pods(rendered(overlay)) if selects(monitor["spec"]["selector"], p.labels)
        ]
        assert chosen, monitor["metadata"]["name"]
        for pod in chosen:
            named = {
                port["name"]: port["containerPort"]
                for container in pod.containers
                for port in container.get("ports", ())
            }
            for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                port = named[endpoint["port"]]
                assert allows(policies(overlay), prometheus, End(pod.name, pod.labels), port)


def test_a_policy_that_opens_the_dashboard_is_seen() -> None:
    wide = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "wide", "namespace": "provray"},
        "spec": {
            "podSelector": {"matchLabels": {"ray.io/node-type": "head"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": DASHBOARD}]}],
        },
    }
    inside = {end.name: end for end in ends("cpu")}
    for source in ("stranger", "prometheus", "ingress controller"):
        pair = inside[source], inside["service head"], DASHBOARD
        assert not allows(policies("cpu"), *pair)
        assert allows([*policies("cpu"), wide], *pair)
