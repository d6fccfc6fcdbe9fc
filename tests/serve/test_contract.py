"""The running service against its own OpenAPI document: schemathesis sends what fits the schema and what does not.

Every answer must be one that the document names, with its media type, headers and schema, and none may be a 5xx.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.serve.live import Live

_CONFIG = """
# A model that cannot be read, or a fingerprint of nothing, is refused however well the request is formed.
[[operations]]
include-path-regex = "/v1/ancestry"
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "422", "429", "503"]
"""


def test_no_request_meets_an_undocumented_answer(live: Live, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(_CONFIG)
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={config}",
            "run",
            f"{live.url}/openapi.json",
            f"--header=Authorization: Bearer {live.keys['admin']}",
            "--checks=all",
            "--max-examples=30",
            "--seed=1",
            "--generation-database=none",
            "--no-color",
            "--request-timeout=60",
            "--max-response-time=40",
        ],
        capture_output=True,
        text=True,
        timeout=540,
        cwd=tmp_path,
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]


def test_the_document_is_openapi_3_1_with_examples_and_every_route(live: Live) -> None:
    found = json.loads(live.ask("GET", "/openapi.json", scope=None)[2])
    assert found["openapi"].startswith("3.1")
    assert set(found["paths"]) == {
        "/v1/ancestry",
        "/v1/ancestry/{id}",
        "/v1/ancestry:batch",
        "/v1/models",
        "/v1/models/{id}",
        "/v1/models/{id}/lineage",
        "/v1/index",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    for name in ("Question", "Job", "Problem", "IndexRef"):
        assert found["components"]["schemas"][name]["examples"], name
    refused = found["paths"]["/v1/ancestry"]["post"]["responses"]
    assert set(refused["429"]["content"]) == {"application/problem+json"}
    assert "Retry-After" in refused["503"]["headers"]


def test_documented_examples_can_be_asked(live: Live) -> None:
    found = json.loads(live.ask("GET", "/openapi.json", scope=None)[2])
    examples = found["components"]["schemas"]["Question"]["examples"]
    indexed, on_a_hub = (live.ask("POST", "/v1/ancestry", example)[0] for example in examples)
    assert indexed == 200
    assert on_a_hub in (
        202,
        422,
    )  # no hub answers here, which another test may have found out before
