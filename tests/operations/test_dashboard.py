"""The dashboard as Grafana reads it; that its queries return data is in test_live.py."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import yaml

from tests.operations.monitoring import FOLDER, dashboard, queries

_KINDS = {"row", "timeseries", "stat"}


def test_it_has_what_grafana_needs_to_find_it_again_and_to_ask_any_prometheus() -> None:
    board = dashboard()
    assert (board["uid"], board["title"]) == ("provray", "provray")
    assert isinstance(board["schemaVersion"], int)
    assert {"from", "to"} == set(board["time"])
    (variable,) = board["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    asked = {"type": "prometheus", "uid": "${datasource}"}
    for panel in board["panels"]:
        assert panel["type"] in _KINDS
        for part in [panel, *panel.get("targets", [])] if panel["type"] != "row" else []:
            assert part["datasource"] == asked


def test_panels_have_a_place_a_name_and_an_id_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for one, other in combinations(panels, 2):
        assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            references = [target["refId"] for target in panel["targets"]]
            assert references
            assert len(set(references)) == len(references)
            assert all(target["expr"] for target in panel["targets"])
    assert {panel["title"] for panel in panels if panel["type"] == "row"} >= {"Service", "Crawl"}


def test_the_component_carries_rules_scraping_and_dashboard() -> None:
    component = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert component["kind"] == "Component"
    assert component["resources"] == ["alerts.yaml", "scrape.yaml"]
    (made,) = component["configMapGenerator"]
    assert made["files"] == ["provray.json=dashboard.json"]
    assert len(queries()) > 20
    jobs = {
        relabel["replacement"]
        for monitor in yaml.safe_load_all((FOLDER / "scrape.yaml").read_text())
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
        for relabel in endpoint["relabelings"]
        if relabel["targetLabel"] == "job"
    }
    assert jobs == {"ray", "provray-service"}


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )
