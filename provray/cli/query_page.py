"""The answer to a query as one HTML page: what `provray query --json` says, drawn for a person to read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provray.pages.null_chart import NullChart, null_chart, small
from provray.pages.profile import DEPTHS, number, profile_chart
from provray.pages.reading import a_list, a_map, a_number, a_text, maps
from provray.pages.template import all_visible, page

AXES = (("weights", "Inherited weights"), ("behaviour", "Inherited behaviour"))

_LINES = 4
"""Models drawn in one chart: there are four markers, dashes and colours."""

_UNSAID = {
    "copy": "Every tensor is bit-identical to an indexed model's.",
    "ancestor": "Its weights come from an indexed model.",
    "descendant": "An indexed model's weights come from this one.",
    "sibling": "It shares an ancestor with an indexed model.",
    "related": "It is related to an indexed model; which way or how is not known.",
    "none": "No indexed model was found to be its kin.",
}
_SCORES = {
    "weights": "Weights",
    "biases": "Biases",
    "identical": "Identical",
    "shared": "Shared",
    "probabilities": "Outputs",
    "gif": "GiF",
}


@dataclass(frozen=True)
class NullFigure:
    """A score against its null, with its words. `counted`: whether the p-value could have been counted among the
    measured pairs; if not it rests on the fitted tail."""

    axis: str
    title: str
    chart: NullChart | None
    value: float | None
    p_value: float | None
    origin: str
    condition: str
    score: str
    pairs: int | None
    families: int | None
    counted: bool


@dataclass(frozen=True)
class Proof:
    """One piece of evidence. `fill`, `limit_at`: percent of its meter, None if the value does not fit a meter."""

    axis: str
    score: str
    value: float | None
    limit: float | None
    decided: bool
    text: str
    fill: float | None
    limit_at: float | None


@dataclass(frozen=True)
class Shown:
    """One candidate's row, and its evidence. `style`: number of its line in the charts, None if it is not drawn."""

    model: str
    revision: str
    relation: str
    direction: str
    reasons: tuple[str, ...]
    numbers: Mapping[str, float | None]
    scores: Mapping[str, float | None]
    proofs: tuple[Proof, ...]
    style: int | None


def query_page(reply: Mapping[str, Any]) -> str:
    """The page of one reply, the object that `provray query --json` prints. What it lacks is left out of the page."""
    reply = all_visible(reply)
    query, index = a_map(reply.get("query")), a_map(reply.get("index"))
    ancestors, candidates = maps(reply.get("ancestors")), maps(reply.get("candidates"))
    found = _unique([*ancestors, *candidates])
    rows = [_shown(one, place) for place, one in enumerate(found)]
    named = {a_text(one.get("model")) for one in ancestors}
    columns = [name for name in _SCORES if any(row.scores.get(name) is not None for row in rows)]
    verdict = a_text(reply.get("verdict")) or "no verdict"
    return page("cli/query_page.html").render(
        model=a_text(query.get("model")) or "unnamed model",
        verdict=verdict,
        says=a_text(reply.get("says")) or _UNSAID.get(verdict, "This reply holds no verdict."),
        tally=_tally(reply, rows, named, index),
        axes=[(axis, title, a_text(a_map(reply.get("axes")).get(axis))) for axis, title in AXES],
        nulls=_nulls(reply, found),
        profile=profile_chart(_profiles(found)),
        judged=_judged(rows, named),
        rows=rows,
        named=named,
        columns=[(name, _SCORES[name]) for name in columns],
        contradictions=maps(reply.get("contradictions")),
        warnings=[a_text(one) for one in a_list(reply.get("warnings"))],
        facts=_facts(reply, query, index),
        fdr=a_number(reply.get("fdr")),
        small=small,
        certainty=certainty,
    )


def _judged(rows: Sequence[Shown], named: Collection[str]) -> list[Shown]:
    """The rows whose evidence is laid out: those of the ancestors, else that of the best candidate."""
    laid_out = [row for row in rows if row.model in named] or rows[:1]
    return [row for row in laid_out if row.proofs][:_LINES]


def _shown(one: Mapping[str, Any], place: int) -> Shown:
    direction = a_map(one.get("direction"))
    scores = a_map(one.get("scores"))
    gif = [value for value in map(a_number, a_map(scores.get("gif")).values()) if value is not None]
    return Shown(
        model=a_text(one.get("model")),
        revision=a_text(one.get("revision")),
        relation=a_text(one.get("relation")),
        direction=a_text(direction.get("said")),
        reasons=tuple(map(a_text, a_list(direction.get("reasons")))),
        numbers={
            key: a_number(one.get(key)) for key in ("score", "probability", "p_value", "q_value")
        },
        scores={
            **{
                key: a_number(scores.get(key))
                for key in ("weights", "biases", "identical", "shared")
            },
            "probabilities": a_number(a_map(scores.get("dna")).get("mixed@probabilities")),
            "gif": sum(gif) / len(gif) if gif else None,
        },
        proofs=tuple(map(_proof, maps(one.get("evidence")))),
        style=place if place < _LINES else None,
    )


def _proof(one: Mapping[str, Any]) -> Proof:
    value, limit = a_number(one.get("value")), a_number(one.get("limit"))
    fits = value is not None and -1 <= value <= 1 and (limit is None or 0 <= limit <= 1)
    return Proof(
        axis=a_text(one.get("axis")),
        score=a_text(one.get("score")),
        value=value,
        limit=limit,
        decided=one.get("decided") is True,
        text=a_text(one.get("text")),
        fill=round(100 * max(value, 0.0), 1) if fits and value is not None else None,
        limit_at=round(100 * limit, 1) if fits and limit is not None else None,
    )


def _nulls(reply: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> list[NullFigure]:
    figures = []
    for axis, title in AXES:
        null = a_map(a_map(reply.get("nulls")).get(axis))
        if not null:
            continue
        value, p_value = a_number(null.get("value")), a_number(null.get("p_value"))
        pairs = a_number(null.get("pairs"))
        quantiles = [
            (p, v)
            for p, v in (map(a_number, pair) for pair in map(a_list, a_list(null.get("quantiles"))) if len(pair) == 2)
            if p is not None and v is not None
        ]  # fmt: skip
        figures.append(
            NullFigure(
                axis,
                title,
                null_chart(quantiles, _marks(null, axis, value, found), _limit(null, axis, value, found)),
                value,
                p_value,
                a_text(null.get("origin")),
                a_text(null.get("condition")),
                a_text(null.get("score")),
                None if pairs is None else int(pairs),
                None if (n := a_number(null.get("families"))) is None else int(n),
                pairs is None or p_value is None or p_value * pairs >= 1,
            )
        )  # fmt: skip
    return figures


def _marks(
    null: Mapping[str, Any], axis: str, value: float | None, found: Sequence[Mapping[str, Any]]
) -> list[tuple[str, float]]:
    """The best models' values on the scale of the null: its own `values` (pairs of model and value), else their ranking
    scores if one of those is the null's own value, else that value alone."""
    pairs = [pair for pair in map(a_list, a_list(null.get("values"))) if len(pair) == 2]
    listed = [(a_text(model), a_number(one)) for model, one in pairs]
    if not listed:
        listed = [
            (a_text(o.get("model")), a_number(o.get("score")))
            for o in found
            if o.get("axis") == axis
        ]
        if not any(_same(one, value) for _, one in listed):
            listed = [("best candidate", value)]
    places = {a_text(one.get("model")): place for place, one in enumerate(found)}
    listed.sort(key=lambda one: places.get(one[0], len(places)))
    return [(name, one) for name, one in listed if one is not None][:_LINES]


def _limit(
    null: Mapping[str, Any], axis: str, value: float | None, found: Sequence[Mapping[str, Any]]
) -> float | None:
    """The null's own `limit`, else that of the piece of evidence which is the null's value."""
    if (own := a_number(null.get("limit"))) is not None:
        return own
    proofs = (proof for one in found for proof in maps(one.get("evidence")))
    return next(
        (
            a_number(proof.get("limit"))
            for proof in proofs
            if proof.get("axis") == axis and _same(a_number(proof.get("value")), value)
        ),
        None,
    )


def _profiles(
    found: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str, list[float | None]]]:
    series = []
    for one in found[:_LINES]:
        dna = a_map(a_map(one.get("scores")).get("dna"))
        line = [a_number(dna.get(f"noise@{depth}")) for depth in DEPTHS]
        series.append((a_text(one.get("model")), a_text(one.get("relation")), line))
    return series


def _tally(
    reply: Mapping[str, Any], rows: Sequence[Shown], named: set[str], index: Mapping[str, Any]
) -> list[tuple[str, str]]:
    found = []
    best = rows[0] if rows else None
    if best is not None and best.model in named:
        found.append((best.relation or "unknown", "how it was made: a guess"))
        said = {"ancestor": "the indexed model", "descendant": "this model"}
        if best.direction:
            found.append((said.get(best.direction, "unknown"), "came first"))
    if best is not None:
        if (q := best.numbers["q_value"]) is not None:
            found.append((small(q), "q-value of the best candidate"))
        elif (p := best.numbers["p_value"]) is not None:
            found.append((small(p), "p-value of the best candidate"))
        if (probability := best.numbers["probability"]) is not None:
            found.append((certainty(probability), "probability of the best candidate"))
    if models := _count(index.get("models")):
        found.append((models, "models in the index"))
    return found


def _facts(
    reply: Mapping[str, Any], query: Mapping[str, Any], index: Mapping[str, Any]
) -> list[tuple[str, str]]:
    spaces = query.get("spaces")
    if isinstance(spaces, Mapping):
        listed = [f"{kind}: {a_text(space)}" for kind, space in spaces.items()]
    else:
        listed = [a_text(space) for space in a_list(spaces)]
    facts = [
        ("Model", a_text(query.get("model"))),
        ("Revision", a_text(query.get("revision"))),
        ("Index", a_text(index.get("uri"))),
        ("Index version", a_text(index.get("version"))),
        ("Models in the index", _count(index.get("models"))),
        ("False discovery rate", a_text(reply.get("fdr"))),
        *[("Space" if k == 0 else "", space) for k, space in enumerate(listed)],
    ]
    return [(label, value) for label, value in facts if value]


def certainty(probability: float | None) -> str:
    """A probability that is never rounded to none or to certainty."""
    if probability is None:
        return "–"
    return (
        "< 0.01"
        if probability < 0.005
        else "> 0.99"
        if probability > 0.995
        else number(probability)
    )


def _count(value: object) -> str:
    counted = a_number(value)
    return "" if counted is None else f"{int(counted):,}"


def _same(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and math.isclose(one, other, rel_tol=1e-4)


def _unique(found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One entry for each model, in order of first appearance; what a later one adds is added."""
    merged: dict[str, dict[str, Any]] = {}
    for one in found:
        entry = merged.setdefault(a_text(one.get("model")), {})
        entry.update({key: value for key, value in one.items() if entry.get(key) is None})
    return list(merged.values())
