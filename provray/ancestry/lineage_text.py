"""A lineage as plain data, and as a graph that Graphviz draws."""

from __future__ import annotations

import json
from typing import Any

from provray.ancestry.lineage import Edge, Lineage


def lineage_json(lineage: Lineage) -> dict[str, Any]:
    """Every model with the number of its family and whether it is a root of it, and every edge with its evidence."""
    family = {m: number for number, members in enumerate(lineage.families) for m in members}
    children = {edge.child for edge in lineage.edges}
    return {
        "models": [
            {"model": model, "family": family[model], "root": model not in children}
            for model in lineage.models
        ],
        "edges": [edge_to_json(edge) for edge in lineage.edges],
    }


def edge_to_json(edge: Edge) -> dict[str, Any]:
    """One edge as JSON."""
    return {
        "parent": edge.parent,
        "child": edge.child,
        "relation": edge.relation,
        "score": edge.score,
        "direction_known": edge.direction_known,
        "reasons": list(edge.reasons),
    }


def lineage_dot(lineage: Lineage) -> str:
    """Graphviz text: one box per model of a family of two or more, one cluster per family, an arrow per edge. Where
    the direction is not known the line is dashed and has no head. Single models are left out."""
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [shape=box];"]
    for number, members in enumerate(lineage.families):
        if len(members) > 1:
            lines.append(f"  subgraph cluster_{number} {{")
            lines.extend(f"    {_quoted(member)};" for member in members)
            lines.append("  }")
    for edge in lineage.edges:
        drawn = "" if edge.direction_known else ", dir=none, style=dashed"
        lines.append(
            f"  {_quoted(edge.parent)} -> {_quoted(edge.child)} [label={_quoted(edge.relation)}{drawn}];"
        )
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    """A double-quoted string of the DOT language, in which only the quote needs escaping; a backslash would start an
    escape of labels, so it is doubled."""
    return json.dumps(text, ensure_ascii=False)
