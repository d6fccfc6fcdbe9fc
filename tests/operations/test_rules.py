"""The alert rules: sound, explained, and each of them shown firing and silent by promtool's own tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from tests.operations.debian import environment, program
from tests.operations.monitoring import FOLDER, alerts, groups

_UNIT = Path(__file__).with_name("alerts_test.yaml")
_RUNBOOK = FOLDER.parents[2] / "docs" / "operations.md"


def _promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups()}))
    (folder / "alerts_test.yaml").write_text(_UNIT.read_text())
    return subprocess.run(
        [program("promtool"), *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    done = _promtool("check", "rules", "rules.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{sum(len(group['rules']) for group in groups())} rules found" in done.stdout


def test_every_alert_fires_where_it_should_and_not_where_all_is_well(tmp_path: Path) -> None:
    done = _promtool("test", "rules", "alerts_test.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    shown: dict[str, set[bool]] = {rule["alert"]: set() for rule in alerts()}
    for test in yaml.safe_load(_UNIT.read_text())["tests"]:
        for expected in test["alert_rule_test"]:
            shown[expected["alertname"]].add(bool(expected["exp_alerts"]))
    assert {name for name, ways in shown.items() if ways != {True, False}} == set()


def test_every_alert_says_how_bad_it_is_what_is_wrong_and_where_to_read_on() -> None:
    headings = {
        re.sub(r"[^\w-]", "", line.lstrip("# ").lower().replace(" ", "-"))
        for line in _RUNBOOK.read_text().splitlines()
        if line.startswith("#")
    }
    for rule in alerts():
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")
        place, _, section = rule["annotations"]["runbook"].partition("#")
        assert place == "docs/operations.md"
        assert section == rule["alert"].lower()
        assert section in headings
