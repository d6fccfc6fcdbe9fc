"""Small rows for tests of the table, on disk and in a bucket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from provray.index.row import Row, scale_count

SPACE = "weights-1"
START = datetime(2026, 1, 1, tzinfo=UTC)


def unit_row(model: str, number: int = 0, seconds: int = 0, **changed: Any) -> Row:
    """A row as a crawl would write it: one vector of norm 1, along axis `number` of 8."""
    values: dict[str, Any] = {
        "revision": "r1",
        "kind": "weights",
        "space": SPACE,
        "readouts": ("weights",),
        "vectors": np.eye(8, dtype=np.float32)[number : number + 1],
        "weights_digest": f"digest of {model}",
        "created": START + timedelta(seconds=seconds),
    }
    values |= changed
    scales = (1.0,) * scale_count(values["kind"], len(values["readouts"]))
    return Row(model, **({"scales": scales} | values))


def failed_row(model: str, status: str, seconds: int = 0) -> Row:
    """A row of a model that could not be fingerprinted."""
    nothing = np.zeros((0, 0), np.float32)
    return unit_row(model, seconds=seconds, status=status, readouts=(), vectors=nothing)
