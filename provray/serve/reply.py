"""What one part of the service hands to another: a finished answer, as bytes, with what the front must know of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from provray.serve.problems import Refused

_JSON = TypeAdapter[Any](Any, config=ConfigDict(ser_json_inf_nan="constants"))


@dataclass(frozen=True)
class Reply:
    """status, body: as the caller gets them. version: of the index it was given on, -1 if on none. told: what the audit
    log keeps of it. headers: beside the usual ones."""

    status: int
    body: bytes
    version: int = -1
    told: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def to_bytes(value: Any) -> bytes:
    """JSON as it is sent. Raises ValueError for a number that is none (NaN, infinity)."""
    told = _JSON.dump_json(value)
    if b"NaN" in told or b"Infinity" in told:  # as a number, or in a name
        json.dumps(value, allow_nan=False)
    return told


def refusal(refused: Refused, request_id: str = "", version: int = -1) -> Reply:
    """The reply that says why not."""
    problem = refused.problem(request_id).model_dump(mode="json")
    told = {"problem": refused.name}
    return Reply(refused.status, to_bytes(problem), version, told, refused.headers())
