"""A chart of depth profiles as plain geometry: where points, lines and ticks go. The template draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DEPTHS = ("0", "1/6", "1/3", "1/2", "2/3", "5/6", "1")
"""Relative depths of the hidden readouts, embedding output to last layer."""

PROFILE_WIDTH, PROFILE_HEIGHT = 340, 176
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 10.0, 10.0, 34.0


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
