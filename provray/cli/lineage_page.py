"""The lineage of an index as one HTML page: family by family, who descends from whom, and what says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provray.pages.family_tree import Link, Node, Step, family_trees, walk
from provray.pages.reading import a_list, a_map, a_number, a_text, maps
from provray.pages.template import all_visible, page, script

_OPEN = 120
"""Models after which further families start folded, and above which a family shows two generations only."""

_OUTPUTS_ONLY = ("distilled", "stolen", "student")
"""Relations by which no weights come from the parent start with one of these words."""


@dataclass(frozen=True)
class Family:
    """One family ready to be drawn. `name`: its oldest model with most descendants. `deep`: generations."""

    name: str
    size: int
    deep: int
    merged: int
    unsure: int
    trees: tuple[tuple[Step, ...], ...]
    is_open: bool
    is_large: bool


def lineage_page(lineage: Mapping[str, Any]) -> str:
    """The page of one lineage, the object that `provray lineage --json` prints. What it lacks is left out."""
    lineage = all_visible(lineage)
    index = a_map(lineage.get("index"))
    models = {a_text(one.get("model")): one for one in maps(lineage.get("models"))}
    links = _links(maps(lineage.get("edges")), models)
    families, singles = _families(models, links)
    numbers = {model: place for place, model in enumerate(models)}
    text, allowed = script(Path(__file__).with_name("lineage_page.js"))
    return page("cli/lineage_page.html").render(
        families=families,
        singles=singles,
        numbers=numbers,
        roots={model for model, one in models.items() if one.get("root") is True},
        data={"models": list(models), "links": [_packed(link, numbers) for link in links]},
        tally=_tally(models, families, singles, links),
        facts=_facts(index, models),
        outputs_only=_outputs_only,
        script=text,
        allowed=allowed,
    )


def _links(edges: Iterable[Mapping[str, Any]], models: Mapping[str, Any]) -> list[Link]:
    found: dict[tuple[str, str], Link] = {}
    for edge in edges:
        link = Link(
            a_text(edge.get("parent")),
            a_text(edge.get("child")),
            a_text(edge.get("relation")),
            a_number(edge.get("score")),
            edge.get("direction_known") is not False,
            tuple(map(a_text, a_list(edge.get("reasons")))),
        )
        if link.parent in models and link.child in models and link.parent != link.child:
            found.setdefault((link.parent, link.child), link)
    return list(found.values())


def _families(
    models: Mapping[str, Mapping[str, Any]], links: Sequence[Link]
) -> tuple[list[Family], list[str]]:
    """Families of two or more, largest first, and the models that are alone."""
    members: dict[str, list[str]] = {}
    for place, (model, one) in enumerate(models.items()):
        family = one.get("family")
        members.setdefault(f"alone {place}" if family is None else f"family {family}", []).append(
            model
        )
    home = {model: name for name, family in members.items() for model in family}
    inside: dict[str, list[Link]] = {}
    for link in links:
        inside.setdefault(home[link.child], []).append(link)
    families: list[Family] = []
    singles: list[str] = []
    shown = 0
    for name, family in sorted(members.items(), key=lambda item: (-len(item[1]), item[1][0])):
        if len(family) == 1:
            singles.extend(family)
            continue
        trees = family_trees(family, inside.get(name, ()))
        steps = tuple(tuple(walk(tree)) for tree in trees)
        nodes = [step.node for tree in steps for step in tree if step.what == "node" and step.node]
        large = len(family) > _OPEN
        families.append(
            Family(
                name=max(trees, key=lambda tree: tree.below).model,
                size=len(family),
                deep=1 + max(node.layer for node in nodes),
                merged=sum(len(_parents(node)) > 1 for node in nodes),
                unsure=sum(not link.direction_known for node in nodes for link in _parents(node)),
                trees=steps,
                is_open=not families or shown + len(family) <= _OPEN,
                is_large=large,
            )
        )
        shown += len(family)
    return families, sorted(singles)


def _parents(node: Node) -> list[Link]:
    return [*([node.link] if node.link is not None else []), *node.across]


def _outputs_only(relation: str) -> bool:
    return relation.startswith(_OUTPUTS_ONLY)


def _packed(link: Link, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {
        "p": numbers[link.parent],
        "c": numbers[link.child],
        "relation": link.relation,
        "score": None if link.score is None else round(link.score, 4),
        "known": link.direction_known,
        "reasons": link.reasons,
    }


def _tally(
    models: Mapping[str, Any],
    families: Sequence[Family],
    singles: Sequence[str],
    links: Sequence[Link],
) -> list[tuple[str, str]]:
    return [
        (f"{len(models):,}", "models"),
        (f"{len(families):,}", "families of two or more"),
        (f"{len(links):,}", "lines of descent"),
        (f"{sum(family.merged for family in families):,}", "models with several parents"),
        (f"{len(singles):,}", "models without a relative here"),
    ]


def _facts(index: Mapping[str, Any], models: Mapping[str, Any]) -> list[tuple[str, str]]:
    counted = a_number(index.get("models"))
    facts = [
        ("Index", a_text(index.get("uri"))),
        ("Index version", a_text(index.get("version"))),
        ("Models in the index", "" if counted is None else f"{int(counted):,}"),
        ("Models drawn", f"{len(models):,}"),
    ]
    return [(label, value) for label, value in facts if value]
