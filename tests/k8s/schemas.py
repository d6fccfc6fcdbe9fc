"""Is an object what Kubernetes, KubeRay or the Prometheus operator takes, and nothing besides? A misspelt field is
dropped without a word on the server, so unknown fields are errors here."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator

KUBERNETES = "1.37"
CRDS = Path(__file__).parent / "crds"
_DEFINED = {"ray.io", "monitoring.coreos.com"}
"""Groups of the definitions in that folder, all of them in version v1."""


class Invalid(AssertionError):
    """An object does not fit its schema."""


def check(thing: dict[str, Any]) -> None:
    """Raises Invalid where an object does not fit the schema of its kind."""
    name = f"{thing['kind']} {thing['metadata']['name']}"
    group, _, _ = thing["apiVersion"].partition("/")
    if group in _DEFINED:
        errors = [
            f"{e.json_path}: {e.message}" for e in _defined(group, thing["kind"]).iter_errors(thing)
        ]
    else:
        try:
            kubernetes_validate.validate(thing, KUBERNETES, strict=True)
            errors = []
        except kubernetes_validate.ValidationError as error:
            errors = [f"{'.'.join(map(str, error.path))}: {error.message}"]
    if errors:
        raise Invalid(f"{name}: " + "; ".join(errors))


@cache
def _defined(group: str, kind: str) -> Draft202012Validator:
    schema = json.loads(gzip.decompress((CRDS / f"{kind}.v1.json.gz").read_bytes()))
    # The definition leaves the metadata of the object itself to the server; that of a pod template is spelt out.
    schema["properties"]["metadata"] = {
        "type": "object",
        "required": ["name", "namespace"],
        "properties": {
            "name": {"type": "string"},
            "namespace": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    schema["properties"]["apiVersion"] = {"const": f"{group}/v1"}
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return Draft202012Validator(_strict(schema))


def _strict(schema: Any) -> Any:
    """A structural schema as JSON Schema that refuses what it does not name."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    if schema.get("x-kubernetes-int-or-string"):
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if "properties" in schema:
        made["properties"] = {name: _strict(of) for name, of in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = _strict(schema["additionalProperties"])
    if "items" in schema:
        made["items"] = _strict(schema["items"])
    return made
