"""Make the schemas of PodMonitor and PrometheusRule that judge the manifests.

Run from the root of the repository::

    pip download --no-deps --only-binary :all: --python-version 3.14 cloudcoil-models-prometheus-operator==0.93.1.1
    python scripts/make_monitor_schemas.py cloudcoil_models_*.whl            # writes tests/k8s/crds/*.json.gz
    python scripts/make_monitor_schemas.py cloudcoil_models_*.whl --check    # makes them again and compares

The wheel (Apache-2.0) holds Python classes that its authors generated from the custom resource definitions of the
Prometheus operator 0.93.1, a class for each object and a field for each property. They are read as text, never
imported, and turned back into what the definitions say: names, types, enumerations, patterns, bounds, what is required.
A field of a form that is not known here stops the script. `status` is left out, and
the metadata, which is the server's. What the classes do not hold is not in
the schemas either: rules in CEL, and which fields tell the members of a list apart.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any, cast

SHA256 = "3ddf53adde1bebab9f238dd7873363ece3b9a6913cbe196a1572783a008c7208"
CLASSES = "cloudcoil/models/prometheus_operator/v1.py"
KINDS = ("PodMonitor", "PrometheusRule")
FOLDER = Path(__file__).resolve().parent.parent / "tests/k8s/crds"

_TYPES = {"bool": "boolean", "float": "number", "int": "integer", "str": "string"}
_BOUNDS = {
    "ge": "minimum",
    "le": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
_LIST_BOUNDS = {"minLength": "minItems", "maxLength": "maxItems"}


class Classes:
    """The classes of the wheel by name."""

    def __init__(self, source: str) -> None:
        self._by_name = {n.name: n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)}

    def schema(self, name: str) -> dict[str, Any]:
        """The schema of a class. Raises ValueError for a form that is not known."""
        fields = [
            n
            for n in self._by_name[name].body
            if isinstance(n, ast.AnnAssign)
            and not ast.unparse(n.annotation).startswith("ClassVar")
            and not (name in KINDS and ast.unparse(n.target) in {"metadata", "status"})
        ]
        if ast.unparse(self._by_name[name].bases[0]).startswith("RootModel"):
            (root,) = fields
            return self._field(root)[1]
        properties, required = {}, []
        for field in fields:
            alias, schema = self._field(field)
            properties[alias] = schema
            if field.value is None:
                required.append(alias)
        made: dict[str, Any] = {"type": "object", "properties": properties}
        return {**made, "required": required} if required else made

    def _field(self, field: ast.AnnAssign) -> tuple[str, dict[str, Any]]:
        """The name of a property as it is written in a manifest, and its schema."""
        kind, bounds = field.annotation, {}
        if isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "Annotated":
            kind, call = cast(ast.Tuple, kind.slice).elts
            words = cast(ast.Call, call).keywords
            bounds = {word.arg: ast.literal_eval(word.value) for word in words}
        name = bounds.pop("alias", ast.unparse(field.target))
        schema = self._type(kind)
        for word, value in bounds.items():
            key = _BOUNDS.get(word or "")
            if key is None:
                raise ValueError(f"{name}: {word} is not known")
            if schema.get("type") == "array":
                key = _LIST_BOUNDS[key]
            # Go takes a flag anywhere, Python at the start alone.
            schema[key] = f"(?i)^{value[5:]}" if str(value).startswith("^(?i)") else value
        return name, schema

    def _type(self, kind: ast.expr) -> dict[str, Any]:
        """The schema of an annotation. None in it says that a field may be left out, not that it may be null."""
        parts = [k for k in _members(kind) if ast.unparse(k) != "None"]
        if len(parts) > 1:
            found = [self._type(part) for part in parts]
            if {each["type"] for each in found} != {"integer", "string"}:
                raise ValueError(f"{ast.unparse(kind)} is not known")
            made: dict[str, Any] = {"x-kubernetes-int-or-string": True}
            for each in found:
                made |= {key: each[key] for key in each.keys() - {"type"}}
            return made
        (part,) = parts
        if isinstance(part, ast.Name):
            if part.id in _TYPES:
                return {"type": _TYPES[part.id]}
            if part.id in self._by_name:
                return self.schema(part.id)
        if isinstance(part, ast.Subscript):
            outer = ast.unparse(part.value)
            if outer == "list":
                return {"type": "array", "items": self._type(part.slice)}
            if outer == "dict":
                key, value = cast(ast.Tuple, part.slice).elts
                if ast.unparse(key) == "str":
                    return {"type": "object", "additionalProperties": self._type(value)}
            if outer == "Literal":
                values = ast.literal_eval(part.slice)
                values = [values] if isinstance(values, str) else sorted(values)
                return {"type": "string", "enum": values}
        raise ValueError(f"{ast.unparse(part)} is not known")


def _members(kind: ast.expr) -> list[ast.expr]:
    """The types of a union."""
    if isinstance(kind, ast.BinOp) and isinstance(kind.op, ast.BitOr):
        return [*_members(kind.left), *_members(kind.right)]
    return [kind]


def main() -> int:
    """Write the schemas, or compare them with those that are there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="compare with the files that are there"
    )
    arguments = parser.parse_args()
    found = hashlib.sha256(arguments.wheel.read_bytes()).hexdigest()
    if found != SHA256:
        print(f"{arguments.wheel} has SHA-256 {found}, not {SHA256}", file=sys.stderr)
        return 1
    with zipfile.ZipFile(arguments.wheel) as wheel:
        classes = Classes(wheel.read(CLASSES).decode())
    different = 0
    for kind in KINDS:
        text = json.dumps(classes.schema(kind), sort_keys=True, separators=(",", ":"))
        file = FOLDER / f"{kind}.v1.json.gz"
        if arguments.check:
            same = file.exists() and gzip.decompress(file.read_bytes()).decode() == text
            different += not same
            print(f"{file.name}: {'the same' if same else 'another'}")
        else:
            file.write_bytes(gzip.compress(text.encode(), mtime=0))
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
