"""provray: which indexed model is this one's ancestor?

provray crawls models, measures how each behaves on fixed probes, keeps a compact fingerprint of
each in a Delta table, and compares a suspect against all of them. It never runs code that comes
with a model.

Stable from here on: the ``provray`` command, its JSON output, and the identity of a space (what
makes two fingerprints comparable). The Python modules may still move.
"""

from __future__ import annotations

__version__ = "0.1.0"
