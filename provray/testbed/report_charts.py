"""The small charts of the demo report as plain geometry: where points, lines and ticks go. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

DEPTHS = ("0", "1/6", "1/3", "1/2", "2/3", "5/6", "1")
"""Relative depths of the hidden readouts, embedding output to last layer."""

PROFILE_WIDTH, PROFILE_HEIGHT = 340, 176
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 10.0, 10.0, 34.0
_DOT = 1.7
_LANE = 9


@dataclass(frozen=True)
class Tick:
    """One mark of an axis: where it is and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class ProfileLine:
    """One model's depth profile. `runs`: polylines, broken where a depth was not measured; `points`: those that were;
    `style`: number of its colour, dash and marker; `said`: its values in words, for those who cannot see it."""

    name: str
    note: str
    style: int
    runs: tuple[str, ...]
    points: tuple[tuple[float, float], ...]
    said: str


@dataclass(frozen=True)
class Profile:
    """A chart of depth profiles, in pixels of its own sheet. `zero`: height of the zero line."""

    lines: tuple[ProfileLine, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    zero: float
    width: int = PROFILE_WIDTH
    height: int = PROFILE_HEIGHT
    left: float = _LEFT
    right: float = PROFILE_WIDTH - _RIGHT
    bottom: float = PROFILE_HEIGHT - _BOTTOM


def number(value: float | None) -> str:
    """A score with two decimals and a true minus sign; an en dash where it was not measured."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds as a person says them: `0.42 s`, `7.1 s`, `48 s`, `3 min 12 s`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def profile_chart(
    series: Sequence[tuple[str, str, Sequence[float | None]]], *, lowest: float | None = None
) -> Profile | None:
    """The chart of (name, note, seven values) series, or None if none holds a value. Values are cut to −1..1.

    lowest: bottom of the scale; the lowest value rounded down to a half if None.
    """
    values = [v for _, _, line in series for v in line if v is not None and math.isfinite(v)]
    if not values:
        return None
    low = min(0.0, math.floor(2 * max(min(values), -1.0)) / 2) if lowest is None else lowest

    def x(index: int) -> float:
        return _LEFT + (PROFILE_WIDTH - _LEFT - _RIGHT) * index / (len(DEPTHS) - 1)

    def y(value: float) -> float:
        share = (min(max(value, low), 1.0) - low) / (1.0 - low)
        return PROFILE_HEIGHT - _BOTTOM - (PROFILE_HEIGHT - _TOP - _BOTTOM) * share

    lines = []
    for style, (name, note, line) in enumerate(series):
        runs: list[list[tuple[float, float]]] = [[]]
        for index, value in enumerate(line[: len(DEPTHS)]):
            if value is None or not math.isfinite(value):
                runs.append([])
            else:
                runs[-1].append((x(index), y(value)))
        said = ", ".join(
            f"{number(value)} at {depth}" for depth, value in zip(DEPTHS, line, strict=False)
        )
        lines.append(
            ProfileLine(
                name,
                note,
                style,
                tuple(" ".join(f"{a:.1f},{b:.1f}" for a, b in run) for run in runs if len(run) > 1),
                tuple((round(a, 1), round(b, 1)) for run in runs for a, b in run),
                said,
            )
        )
    steps = round((1.0 - low) * 2)
    return Profile(
        tuple(lines),
        tuple(Tick(x(index), depth) for index, depth in enumerate(DEPTHS)),
        tuple(Tick(y(low + k / 2), number(low + k / 2)) for k in range(steps + 1)),
        y(0.0),
    )


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
