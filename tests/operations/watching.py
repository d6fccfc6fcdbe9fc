"""A Prometheus of one's own: scrapes every second, evaluates our rules with shortened times, and is asked over HTTP."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.operations.cluster import until
from tests.operations.debian import environment, program
from tests.serve.live import free_port


@dataclass
class Prometheus:
    """folder: of its settings and data. targets: addresses by job. key: of the service. groups: rules."""

    folder: Path
    targets: Mapping[str, list[str]]
    key: str = field(repr=False)
    groups: list[dict[str, Any]]
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True)
        (self.folder / "rules.yaml").write_text(yaml.safe_dump({"groups": self.groups}))
        (self.folder / "key").write_text(self.key)
        (self.folder / "prometheus.yaml").write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": ["rules.yaml"],
                    "scrape_configs": [
                        {
                            "job_name": job,
                            "static_configs": [{"targets": addresses}],
                            **(
                                {"authorization": {"credentials_file": "key"}}
                                if job == "provray-service"
                                else {}
                            ),
                        }
                        for job, addresses in self.targets.items()
                    ],
                }
            )
        )
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={self.folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={self.folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
                env=environment(),
            )
        until(lambda: self._get("/-/ready") is not None, "Prometheus answers")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression. Raises HTTPError for one that is wrong."""
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        assert answer is not None
        found: list[dict[str, Any]] = json.loads(answer)["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The one value of an expression, None if it has none now."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        """Names of the alerts that fire now."""
        return {
            sample["metric"]["alertname"] for sample in self.query('ALERTS{alertstate="firing"}')
        }

    def wait_for(self, alert: str) -> None:
        """Wait until an alert fires."""
        until(lambda: alert in self.firing(), f"{alert} fires")

    def _get(self, path: str) -> bytes | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as found:
                return bytes(found.read())
        except urllib.error.HTTPError as error:
            if path.startswith("/api"):
                raise AssertionError(error.read().decode()) from error
            return None
        except OSError:
            return None
