"""What network policies let through, as Kubernetes defines it: a pod that some policy selects for a direction takes
only what one of those policies names; who is selected by none takes everything."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

NAMESPACE = "provray"


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod in a namespace, or an address outside."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = NAMESPACE
    address: str = ""

    @property
    def inside(self) -> bool:
        """Whether it is a pod that these policies may govern."""
        return self.namespace == NAMESPACE and not self.address


def allows(
    policies: list[dict[str, Any]], source: End, target: End, port: int, protocol: str = "TCP"
) -> bool:
    """Whether a connection is let out of its source and into its target."""
    return _one_way(policies, "egress", source, target, port, protocol) and _one_way(
        policies, "ingress", target, source, port, protocol
    )


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector selects what has these labels."""
    unknown = set(selector) - {"matchLabels", "matchExpressions"}
    if unknown:
        raise ValueError(f"a selector has no {unknown}")
    if any(labels.get(k) != v for k, v in selector.get("matchLabels", {}).items()):
        return False
    return all(_expression(e, labels) for e in selector.get("matchExpressions", ()))


def governing(policies: list[dict[str, Any]], direction: str, pod: End) -> list[dict[str, Any]]:
    """The policies that select a pod for `ingress` or `egress`."""
    return [
        p["spec"]
        for p in policies
        if p["metadata"]["namespace"] == pod.namespace
        and direction.capitalize() in p["spec"]["policyTypes"]
        and selects(p["spec"]["podSelector"], pod.labels)
    ]


def _one_way(
    policies: list[dict[str, Any]], way: str, pod: End, peer: End, port: int, protocol: str
) -> bool:
    if not pod.inside:
        return True  # nothing here governs it
    specs = governing(policies, way, pod)
    if not specs:
        return True
    side = "from" if way == "ingress" else "to"
    return any(
        _port(rule, port, protocol) and _peer(rule.get(side), peer)
        for spec in specs
        for rule in spec.get(way, ())
    )


def _port(rule: dict[str, Any], port: int, protocol: str) -> bool:
    if "ports" not in rule:
        return True
    return any(p["port"] == port and p["protocol"] == protocol for p in rule["ports"])


def _peer(peers: list[dict[str, Any]] | None, other: End) -> bool:
    if peers is None:
        return True
    return any(_matches(peer, other) for peer in peers)


def _matches(peer: dict[str, Any], other: End) -> bool:
    if "ipBlock" in peer:
        if not other.address:
            return False  # pods are named by labels here
        address = ipaddress.ip_address(other.address)
        inside = address in ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return inside and not any(
            address in ipaddress.ip_network(x) for x in peer["ipBlock"].get("except", ())
        )
    if other.address:
        return False
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": other.namespace}
        if not selects(peer["namespaceSelector"], labels):
            return False
    elif other.namespace != NAMESPACE:
        return False
    return "podSelector" not in peer or selects(peer["podSelector"], other.labels)


def _expression(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    value = labels.get(expression["key"])
    if expression["operator"] == "In":
        return value in expression["values"]
    if expression["operator"] == "Exists":
        return value is not None
    raise ValueError(f"{expression['operator']} is not known here")
