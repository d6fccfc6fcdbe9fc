"""Where a suspect stands among the models that share learned weights with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from provray.ancestry.direction import LIMIT
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.kin import Kin
from provray.ancestry.lineage import Edge
from provray.ancestry.matrices import cosines
from provray.ancestry.relation import guess_relation
from provray.ancestry.shared_tensors import shared_values

_SAME_BODY = 0.999
_DETOUR = 0.35
"""Between a parent (0; children tuned on the same data reach .3) and a sibling of equal step (.5)."""


@dataclass(frozen=True)
class Placement:
    """By name. parents: with the edge that leads to the suspect; its `direction_known` is False where only sharing is
    shown. ancestors: all above it, parents first. descendants, siblings: the other relatives."""

    parents: dict[str, Edge]
    ancestors: tuple[str, ...]
    descendants: tuple[str, ...]
    siblings: tuple[str, ...]


def place(suspect: Fingerprint, relatives: Sequence[Fingerprint], kin: Kin) -> Placement:
    """Place a suspect in the lineage that it makes with its relatives, none of which is bit-identical to it. kin: all
    of them.

    Raises ValueError if a relative bears the suspect's name.
    """
    parents: dict[str, Edge] = {}
    above: dict[str, set[str]] = {}
    below: dict[str, set[str]] = {}
    for edge in kin.lineage([suspect, *relatives]).edges:
        if edge.relation == "copy":
            # bit-identical models stand for each other: what is above or below one is so of the other
            for a, b in ((edge.parent, edge.child), (edge.child, edge.parent)):
                above.setdefault(a, set()).add(b)
                below.setdefault(a, set()).add(b)
        elif not edge.direction_known and suspect.model in (edge.parent, edge.child):
            other = edge.parent if edge.child == suspect.model else edge.child
            parents[other] = edge
        else:
            above.setdefault(edge.child, set()).add(edge.parent)
            below.setdefault(edge.parent, set()).add(edge.child)
            if edge.child == suspect.model:
                parents[edge.parent] = edge
    if not parents and suspect.model not in below:
        # the same body under another head: nothing shows which came first, but siblings they are not
        reason = "the bodies are identical; nothing in them says which came first"
        for r in relatives:
            if (shared_values(suspect.contents, r.contents) or 0.0) >= _SAME_BODY:
                how = guess_relation(suspect, r)
                parents[r.model] = Edge(r.model, suspect.model, how, 0.5, (reason,), False)
    if not parents and (hub := hub_of(suspect, relatives)) is not None:
        # few relatives leave the lineage undecided; the one that all others lie behind is no sibling
        came = kin.direction(suspect, hub)
        if came.said == "ancestor" or (
            (came.said == "unknown" or abs(came.log_likelihood_ratio) <= LIMIT)
            and (suspect.model not in below)
        ):
            known = came.said == "ancestor"
            how, reason = (
                guess_relation(suspect, hub),
                "it lies between this model and the other relatives",
            )
            parents[hub.model] = Edge(hub.model, suspect.model, how, 0.5, (reason,), known)
            for models in below.values():
                models.discard(hub.model)
            above.pop(hub.model, None)
            below.pop(suspect.model, None)
    above.setdefault(suspect.model, set()).update(parents)
    ancestors = _reached(suspect.model, above)
    descendants = [m for m in _reached(suspect.model, below) if m not in ancestors]
    placed = {*ancestors, *descendants}
    siblings = tuple(r.model for r in relatives if r.model not in placed)
    return Placement(parents, tuple(ancestors), tuple(descendants), siblings)


def hub_of(suspect: Fingerprint, relatives: Sequence[Fingerprint]) -> Fingerprint | None:
    """The nearest relative, if the way from the suspect to most others leads past it; None for fewer than two
    relatives.

    Squared distances add up along a lineage: beside a sibling of equal step the detour is a half, beside a parent none.
    """
    if len(relatives) < 2:
        return None
    members = [suspect, *relatives]
    apart = 2 - 2 * np.nan_to_num(
        cosines([m.weights.vector("weights") if m.weights is not None else None for m in members])
    )
    order = np.argsort(apart[0, 1:]) + 1
    nearest, others = int(order[0]), order[1:]
    detours = [
        (apart[0, nearest] + apart[nearest, x] - apart[0, x])
        / (2 * max(min(apart[0, nearest], apart[nearest, x]), 1e-12))
        for x in others
    ]
    return members[nearest] if float(np.median(detours)) <= _DETOUR else None


def _reached(start: str, steps: dict[str, set[str]]) -> list[str]:
    """All that lie some steps away, the nearest first."""
    found: dict[str, None] = {}
    edge = [start]
    while edge:
        edge = [n for m in edge for n in sorted(steps.get(m, ())) if n not in found and n != start]
        found.update(dict.fromkeys(edge))
    return list(found)
