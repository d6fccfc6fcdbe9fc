"""The lineage around one model, cut from its family.

A small index is put in order as a whole, once. In a large one the family is found first: neighbours by weights and
biases, then theirs, as long as the error-controlled rule of `relatives` joins them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal

from provray.ancestry.calibration import shipped_calibration
from provray.ancestry.direction import direction
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.lineage import Edge, Lineage, build_lineage
from provray.ancestry.lineage_text import edge_to_json
from provray.ancestry.relatives import relatives
from provray.ancestry.search_vector import weights_vector
from provray.ancestry.snapshot import Snapshot
from provray.fingerprints.weights import READOUTS

WHOLE = 1000
"""Models up to which an index is put in order as a whole."""
LARGEST = 2000
"""Models of the largest family that is looked at, and of the largest lineage that is told."""
_NEAR = 32
_KEPT = 64
Way = Literal["up", "down", "both"]


class Families:
    """The lineages of one index version, each worked out once. One at a time: it takes seconds."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._known: dict[tuple[float, str], tuple[Lineage, bool]] = {}

    def around(self, model: str, fdr: float, way: Way, depth: int) -> dict[str, Any]:
        """`family`, `complete`, `nodes` and `edges` as `ModelLineage` has them. model: a compared one."""
        with self._lock:
            lineage, whole = self._lineage(model, fdr)
        family = next(members for members in lineage.families if model in members)
        inside = set(family)
        edges = [edge for edge in lineage.edges if edge.child in inside]
        depths = reach(model, edges, way, depth)
        children = {edge.child for edge in edges}
        return {
            "family": len(family),
            "complete": whole and len(depths) == len(family),
            "nodes": [
                {"model": name, "depth": steps, "root": name not in children}
                for name, steps in depths.items()
            ],
            "edges": [
                edge_to_json(edge)
                for edge in edges
                if edge.parent in depths and edge.child in depths
            ],
        }

    def _lineage(self, model: str, fdr: float) -> tuple[Lineage, bool]:
        small = self._snapshot.models <= WHOLE
        key = (fdr, "" if small else model)
        if key not in self._known:
            members, whole = (
                (self._snapshot.profiles(self._snapshot.names), True)
                if small
                else find_family(self._snapshot, model, fdr)
            )
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = (
                build_lineage(members, lambda some: _related(self._snapshot, some, fdr), direction),
                whole,
            )
        return self._known[key]


def find_family(snapshot: Snapshot, model: str, fdr: float) -> tuple[list[Fingerprint], bool]:
    """The members of a model's family, and whether these are all: past `LARGEST` no more are looked for."""
    members = {f.model: f for f in snapshot.profiles([model])}
    frontier = list(members.values())
    while frontier and len(members) < LARGEST:
        near = {name for f in frontier for name in _neighbours(snapshot, f)} - members.keys()
        pool = [*members.values(), *snapshot.profiles(near)]
        matrix = _related(snapshot, pool, fdr)
        joined = matrix[: len(members)].any(0)
        frontier = [f for f, of in zip(pool, joined, strict=True) if of and f.model not in members]
        frontier = frontier[: LARGEST - len(members)]
        members.update((f.model, f) for f in frontier)
    return sorted(members.values(), key=lambda f: f.model), not frontier


def _neighbours(snapshot: Snapshot, fingerprint: Fingerprint) -> list[str]:
    found: list[str] = []
    for readout in READOUTS:
        vector = weights_vector(fingerprint, readout)
        if vector is not None and readout in snapshot.searches:
            found.extend(name for name, _ in snapshot.searches[readout].search(vector, _NEAR))
    return found


def _related(snapshot: Snapshot, members: Sequence[Fingerprint], fdr: float) -> Any:
    return relatives(members, snapshot.cohorts, shipped_calibration(), snapshot.nulls, fdr)


def reach(model: str, edges: Sequence[Edge], way: Way, depth: int) -> dict[str, int]:
    """Models within `depth` steps of one, nearest first, with the generations between: parents are at -1."""
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for edge in edges:
        above.setdefault(edge.child, []).append(edge.parent)
        below.setdefault(edge.parent, []).append(edge.child)
    found = {model: 0}
    frontier = [model]
    for _ in range(depth):
        reached: dict[str, int] = {}
        for name in frontier:
            if way != "down":
                reached.update({n: found[name] - 1 for n in above.get(name, []) if n not in found})
            if way != "up":
                reached.update({n: found[name] + 1 for n in below.get(name, []) if n not in found})
        frontier = list(reached)[: LARGEST - len(found)]
        found.update((name, reached[name]) for name in frontier)
    return found
