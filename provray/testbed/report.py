"""The demo's HTML report: one file that needs nothing else, drawn from a `DemoResult`.

Model names are hostile input: the template escapes everything, what cannot be printed is shown as an escape, and the
page's own policy forbids scripts and every load from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from jinja2 import Template

from provray.ancestry.verdict import ALIKE
from provray.pages.files import write_page
from provray.pages.profile import profile_chart
from provray.pages.template import environment, visible
from provray.testbed.demo_result import DemoResult, Member
from provray.testbed.report_charts import (
    StripPlot,
    align,
    duration,
    strip_plot,
)
from provray.testbed.report_questions import (
    HARD_FIRST,
    entries_of,
    headline_of,
    kinship,
    outcome_of,
    tie_of,
    truth_of,
)
from provray.testbed.tree_drawing import NO_WEIGHTS, TreeDrawing, draw_tree, families, fit

_SHAPES = (
    ("inherited", "near 1 at the bottom, falling towards the output", (1, 0.95, 0.86, 0.68, 0.56, 0.46, 0.38)),
    ("student or thief", "nothing at the bottom, then level and low", (0, 0.28, 0.24, 0.28, 0.26, 0.25, 0.22)),
    ("look-alike", "middling and flat, yet high at the output", (0.55, 0.66, 0.6, 0.58, 0.52, 0.55, 0.62)),
)  # fmt: skip


_OUTCOME_ROOM = {"right": 36, "wrong": 44, "reported": 56}
"""Pixels that an outcome takes from the name beside it."""


@dataclass(frozen=True)
class Label:
    """The words in one box of the tree, shortened to fit. `full`: its tooltip. `inherits`: weights from its parent."""

    name: str
    note: str
    full: str
    outcome: str
    inherits: bool


@dataclass(frozen=True)
class Tree:
    """A tree drawing with its words."""

    kind: str
    drawing: TreeDrawing
    labels: dict[str, Label]


@dataclass(frozen=True)
class Bar:
    """One bar of a timing chart. `parts`: (start, length) in percent; `values`: seconds of the parts."""

    label: str
    parts: tuple[tuple[float, float], ...]
    values: tuple[float, ...]
    total: float


def render_report(result: DemoResult) -> str:
    """The report of a run as one HTML document."""
    result = _printable(result)
    wrong = {q.model: q.named for q in result.questions if q.right is False and q.named}
    outcomes = {q.model: outcome_of(q)[0] for q in result.questions}
    entries = entries_of(result)
    trees = [
        _tree(
            kind, result, draw_tree(result.members, wrong, columns=columns, width=width), outcomes
        )
        for kind, columns, width in (("wide", 3, 1160.0), ("narrow", 1, 358.0))
    ]
    return _template().render(
        headline=headline_of(result),
        groups=[
            ("No weights inherited", [e for e in entries if e.question.relation in NO_WEIGHTS]),
            ("Weights inherited", [e for e in entries if e.question.relation not in NO_WEIGHTS]),
        ],
        entries=entries,
        trees=trees if result.members else [],
        families=sum(len(family) > 1 for family in families(result.members)),
        plots=_plots(result),
        shapes=profile_chart(_SHAPES, lowest=0.0),
        stages=_bars([(what, (seconds,)) for what, seconds in result.stages]),
        fingerprinting=_bars(
            sorted(
                ((model, parts) for model, *parts in result.fingerprinting),
                key=lambda bar: -sum(bar[1]),
            )
        ),
        result=result,
        alike=ALIKE,
    )


def write_report(result: DemoResult, path: Path) -> None:
    """Write the report of a run to `path` by an atomic rename, making its folder."""
    write_page(render_report(result), path)


@cache
def _template() -> Template:
    pages = environment()
    pages.filters.update(duration=duration, count=_count, percent=_percent)
    return pages.get_template("testbed/report.html")


def _count(parameters: int) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= size:
            return f"{parameters / size:.3g} {unit}"
    return str(parameters)


def _percent(value: float) -> str:
    """A share of the whole, as 0..1, in percent; never rounded up to a hundred."""
    return f"{math.floor(100 * value + 1e-9) if value > 0.99 else round(100 * value)} %"


def _printable(result: DemoResult) -> DemoResult:
    def name(text: str | None) -> str | None:
        return None if text is None else visible(text)

    return DemoResult(
        tuple(replace(m, model=visible(m.model), parent=name(m.parent)) for m in result.members),
        tuple(
            replace(
                q,
                model=visible(q.model),
                parent=name(q.parent),
                named=name(q.named),
                candidates=tuple(replace(c, model=visible(c.model)) for c in q.candidates),
                warnings=tuple(map(visible, q.warnings)),
                says=visible(q.says),
            )
            for q in result.questions
        ),
        result.stages,
        tuple((visible(model), *parts) for model, *parts in result.fingerprinting),  # type: ignore[misc]
        tuple((visible(label), visible(value)) for label, value in result.facts),
    )


def _plots(result: DemoResult) -> list[StripPlot]:
    """Weights and behaviour of every pair that was looked at, by relation of the model asked about."""
    kin = kinship(result.members)
    kinds = {"parent": "parent", "original": "parent", "victim": "victim", "teacher": "victim"}
    plots = []
    limits = [c.limit for q in result.questions for c in q.candidates if c.limit is not None]
    for title, score, axis, threshold in (
        ("Inherited weights", "biases", "cosine of biases and gains", max(limits, default=1.0)),
        ("Alike behaviour", "behaviour", "mean behaviour score", ALIKE),
    ):
        rows: dict[str, list[tuple[float | None, str, str]]] = {}
        for entry in sorted(
            result.questions,
            key=lambda q: HARD_FIRST.index(q.relation) if q.relation in HARD_FIRST else 99,
        ):
            for candidate in entry.candidates:
                tie = tie_of(entry, candidate.model, kin)
                kind = kinds.get(tie, "kin" if tie.startswith("kin") else "other")
                said = f"{entry.model} against {candidate.model} ({tie})"
                rows.setdefault(entry.relation, []).append((getattr(candidate, score), kind, said))
        plots.append(strip_plot(title, axis, rows, threshold=threshold))
    return align(plots)


def _tree(kind: str, result: DemoResult, drawing: TreeDrawing, outcomes: dict[str, str]) -> Tree:
    said = {q.model: q for q in result.questions}
    labels = {}
    for box in drawing.boxes:
        member = box.member
        owner, _, name = member.model.rpartition("/")
        outcome = outcomes.get(member.model, "")
        if outcome == "wrong":
            notes = [member.relation, outcome_of(said[member.model])[1]]
        else:
            notes = [*([owner] if owner else []), member.relation]
            if member.fidelity is not None:
                notes.append(f"agrees {_percent(member.fidelity)}")
            elif member.accuracy is not None:
                notes.append(f"accuracy {_percent(member.accuracy)}")
        room = box.width - 20
        labels[member.model] = Label(
            fit(name or member.model, room - _OUTCOME_ROOM.get(outcome, 0), 13),
            fit(" · ".join(notes), room, 11, bold=outcome == "wrong"),
            _described(member, owner) + (f"; {outcome}" if outcome else ""),
            outcome,
            member.relation not in NO_WEIGHTS,
        )
    return Tree(kind, drawing, labels)


def _described(member: Member, owner: str) -> str:
    parts: Iterable[str] = (
        truth_of(member.relation, member.parent),
        "indexed" if member.split == "indexed" else "held out",
        f"{member.modality}, {_count(member.parameters)} parameters",
    )
    return f"{member.model}: " + "; ".join(parts)


def _bars(rows: Iterable[tuple[str, Sequence[float]]]) -> tuple[Bar, ...]:
    listed = [(label, tuple(parts)) for label, parts in rows]
    longest = max((sum(parts) for _, parts in listed), default=0.0) or 1.0
    bars = []
    for label, parts in listed:
        starts = [sum(parts[:k]) for k in range(len(parts))]
        places = tuple(
            (round(100 * start / longest, 3), round(100 * part / longest, 3))
            for start, part in zip(starts, parts, strict=True)
        )
        bars.append(Bar(label, places, parts, sum(parts)))
    return tuple(bars)
