"""provray: which indexed model is this one's ancestor?

provray crawls models, measures how each behaves on fixed probes, keeps a compact fingerprint of
each in a Delta table, and compares a suspect against all of them. It never runs code that comes
with a model.

Stable from here on: the ``provray`` command, its JSON output, and the identity of a space (what
makes two fingerprints comparable). The Python modules may still move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provray.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The clients of the query service, imported when they are first named."""
    if name in ("AsyncClient", "Client"):
        from provray import client

        return getattr(client, name)
    raise AttributeError(f"module 'provray' has no attribute {name!r}")
