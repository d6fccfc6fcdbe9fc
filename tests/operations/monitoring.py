"""The files of the monitoring component, as the tests read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "k8s" / "components" / "monitoring"


def groups() -> list[dict[str, Any]]:
    """The rule groups: what is inside the PrometheusRule is a rule file of Prometheus."""
    found: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"][
        "groups"
    ]
    return found


def alerts() -> list[dict[str, Any]]:
    """The alerting rules."""
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def hurried() -> list[dict[str, Any]]:
    """The same rules for a test: what has to hold for minutes or hours has to hold for three seconds, and an index is
    out of reach after ten."""
    found = groups()
    for group in found:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "3s"
            if rule.get("alert") == "ProvrayIndexOutOfReach":
                rule["expr"] = rule["expr"].replace("> 120", "> 10")
    return found


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return found


def queries() -> list[tuple[str, str]]:
    """Panel titles and queries of the dashboard, with Grafana's own variables filled in."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    ]
