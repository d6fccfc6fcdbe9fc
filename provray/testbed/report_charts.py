"""The strip plots and figures of the demo report as plain geometry. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from provray.pages.profile import Tick, number

_DOT = 1.7
_LANE = 9


def duration(seconds: float) -> str:
    """Seconds as a person says them: `0.42 s`, `7.1 s`, `48 s`, `3 min 12 s`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


@dataclass(frozen=True)
class Mark:
    """One candidate's score in a strip. `x`: percent of the strip's width; `lane`: pixels from its centre line; `kind`:
    parent, victim, kin or other; `said`: what it is."""

    x: float
    lane: int
    kind: str
    said: str


@dataclass(frozen=True)
class Strip:
    """One row of a strip plot. `height`: pixels that its lanes need. `missing`: pairs without this score."""

    label: str
    marks: tuple[Mark, ...]
    height: int
    missing: int


@dataclass(frozen=True)
class StripPlot:
    """Scores of many pairs by relation. `threshold`, `ticks`: percent of the width; `zero` likewise."""

    title: str
    axis: str
    strips: tuple[Strip, ...]
    ticks: tuple[Tick, ...]
    threshold: float
    threshold_label: str


def strip_plot(
    title: str,
    axis: str,
    scores: Mapping[str, Sequence[tuple[float | None, str, str]]],
    *,
    threshold: float,
) -> StripPlot:
    """A strip plot of (score, kind, what it is) by row label, the rows in the mapping's order."""
    values = [
        value
        for row in scores.values()
        for value, _, _ in row
        if value is not None and math.isfinite(value)
    ]
    low = min(-0.2, max(math.floor(5 * min(values, default=0.0)) / 5, -1.0))

    def x(value: float) -> float:
        return round(100 * (min(max(value, low), 1.0) - low) / (1.0 - low), 2)

    strips = []
    for label, row in scores.items():
        found = [
            (x(value), kind, f"{said}: {number(value)}")
            for value, kind, said in row
            if value is not None and math.isfinite(value)
        ]
        marks = _dodge(found)
        reach = max((abs(mark.lane) for mark in marks), default=0)
        strips.append(Strip(label, marks, 2 * reach + 22, len(row) - len(found)))
    every = 0.2 if low > -0.5 else 0.4
    first = math.ceil(low / every - 1e-9)
    ticks = tuple(
        Tick(x(k * every), f"{k * every:.1f}".replace("-0.0", "0.0").replace("-", "−"))
        for k in range(first, math.floor(1 / every + 1e-9) + 1)
    )
    return StripPlot(
        title, axis, tuple(strips), ticks, x(threshold), f"threshold {number(threshold)}"
    )


def align(plots: Sequence[StripPlot]) -> list[StripPlot]:
    """The same plots with rows of one height, so that a row can be followed from plot to plot."""
    heights = [
        max(strip.height for strip in row) for row in zip(*(p.strips for p in plots), strict=True)
    ]
    return [
        replace(
            plot,
            strips=tuple(
                replace(strip, height=height)
                for strip, height in zip(plot.strips, heights, strict=True)
            ),
        )
        for plot in plots
    ]


def _dodge(found: Iterable[tuple[float, str, str]]) -> tuple[Mark, ...]:
    """Spread marks that would hide each other over lanes around the centre line; what matters most is drawn last."""
    order = {"other": 0, "kin": 1, "victim": 2, "parent": 3}
    lanes: list[float] = []
    marks = []
    for at, kind, said in sorted(found, key=lambda mark: (mark[0], mark[2])):
        free = next((i for i, end in enumerate(lanes) if at - end >= _DOT), None)
        if free is None:
            free = len(lanes) if len(lanes) < 7 else lanes.index(min(lanes))
            lanes.extend([at] * (free == len(lanes)))
        lanes[free] = at
        step = (free + 1) // 2 * (1 if free % 2 else -1)
        marks.append(Mark(at, step * _LANE, kind, said))
    return tuple(sorted(marks, key=lambda mark: order.get(mark.kind, 0)))
