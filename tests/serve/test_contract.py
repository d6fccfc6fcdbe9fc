"""The running service against its own OpenAPI document: schemathesis sends what fits the schema and what does not.

Every answer must be one that the document names, with its media type, headers and schema, and none may be a 5xx.
"""

from __future__ import annotations

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from tests.serve.live import Live
from tests.serve.made_index import GRANDCHILD


@pytest.fixture
def document(live: Live) -> schemathesis.BaseSchema:
    """The document as the service hands it out."""
    schema = schemathesis.openapi.from_url(f"{live.url}/openapi.json")
    schema.config.update(
        base_url=live.url, headers={"Authorization": f"Bearer {live.keys['admin']}"}
    )
    return schema


document_of_service = schemathesis.pytest.from_fixture("document")


@document_of_service.parametrize()
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_no_request_meets_an_undocumented_answer(case: schemathesis.Case) -> None:
    case.call_and_validate()


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
    for example in found["components"]["schemas"]["Question"]["examples"]:
        status, _, content = live.ask("POST", "/v1/ancestry", example)
        assert status in (202, 404), content
    assert live.ask("POST", "/v1/ancestry", {"model": GRANDCHILD.name})[0] == 200
