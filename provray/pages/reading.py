"""Reading JSON that may lack any part: what is not there, or not of the expected type, reads as empty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def a_number(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def a_text(value: object) -> str:
    """What a scalar says; "" for None."""
    return "" if value is None else str(value)


def a_map(value: object) -> Mapping[str, Any]:
    """A mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def a_list(value: object) -> Sequence[Any]:
    """A list, else an empty one."""
    return value if isinstance(value, (list, tuple)) else ()


def maps(value: object) -> list[Mapping[str, Any]]:
    """The mappings of a list."""
    return [one for one in a_list(value) if isinstance(one, Mapping)]
