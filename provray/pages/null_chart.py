"""A score against what unrelated pairs score, as plain geometry: the hill of the null and the marks beside it.

Only quantiles of the null are known, so the hill is their smoothed density: its shape is a picture, its quantiles are
the data. Places along the axis are percent, so the chart fits any width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from provray.pages.profile import Tick, number

HEIGHT = 132
"""Pixels from the top of the chart to its baseline."""

_POINTS, _SAMPLES = 160, 400
_HILL = 104.0
_LANE, _ROOM = 15.0, 3.4
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class ScoreMark:
    """One candidate's value. `x`: percent; `y`: pixels from the top; `style`: number of its marker and colour."""

    name: str
    value: float
    x: float
    y: float
    style: int


@dataclass(frozen=True)
class NullChart:
    """The null of one axis. `hill`: path data in a box of 100 × HEIGHT, "" if too few quantiles are known. `middle`:
    from where to where half of it lies. `highest`: its highest known quantile and what that means; `top`:
    that value. `limit`: where the error rate is met."""

    hill: str
    middle: tuple[float, float] | None
    highest: Tick
    top: float
    limit: Tick | None
    marks: tuple[ScoreMark, ...]
    ticks: tuple[Tick, ...]


def null_chart(
    quantiles: Sequence[tuple[float, float]],
    marks: Sequence[tuple[str, float]],
    limit: float | None,
) -> NullChart | None:
    """The chart of (share, value) quantiles, with (model, value) marks; None if nothing is there to draw."""
    known = sorted(
        (p, v) for p, v in quantiles if 0 <= p <= 1 and math.isfinite(v) and math.isfinite(p)
    )
    shown = [(name, value) for name, value in marks if math.isfinite(value)]
    limit = limit if limit is not None and math.isfinite(limit) else None
    if not known or not shown:
        return None
    shares = np.array([p for p, _ in known])
    values = np.maximum.accumulate([v for _, v in known])
    everything = [*values, *(value for _, value in shown), *([] if limit is None else [limit])]
    low, high = float(min(everything)), float(max(everything))
    pad = 0.06 * (high - low) or 0.5
    low, high = low - pad, high + pad

    def x(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    middle = None
    if shares[0] <= 0.25 and shares[-1] >= 0.75:
        middle = (
            x(float(np.interp(0.25, shares, values))),
            x(float(np.interp(0.75, shares, values))),
        )
    return NullChart(
        hill=_hill(shares, values, low, high),
        middle=middle,
        highest=Tick(x(float(values[-1])), _share(known[-1][0])),
        top=float(values[-1]),
        limit=None if limit is None else Tick(x(limit), f"limit {number(limit)}"),
        marks=_spread([(name, value, x(value)) for name, value in shown]),
        ticks=tuple(Tick(x(at), _plain(at)) for at in _round_values(low, high)),
    )


def small(value: float | None) -> str:
    """A probability as a person reads it: `0.032`, `4 × 10⁻⁹`; an en dash where it is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 0.0005:
        return f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return power if mantissa == "1" else f"{mantissa} × {power}"


def _hill(
    shares: np.ndarray[tuple[int], np.dtype[np.float64]],
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    low: float,
    high: float,
) -> str:
    """Path of the null's density: evenly spaced shares of it, read off between its quantiles, smoothed by a normal
    kernel whose width follows Silverman's rule."""
    if len(values) < 3 or values[-1] <= values[0]:
        return ""
    drawn = np.interp(np.linspace(shares[0], shares[-1], _SAMPLES), shares, values)
    quarter, three = np.quantile(drawn, (0.25, 0.75))
    spread = min(float(drawn.std()), float(three - quarter) / 1.34) or float(drawn.std())
    width = 0.9 * spread * min(len(values), 50) ** -0.2
    at = np.linspace(max(low, values[0] - 3 * width), min(high, values[-1] + 3 * width), _POINTS)
    density = np.exp(-0.5 * ((at[:, None] - drawn) / width) ** 2).sum(axis=1)
    tops = HEIGHT - _HILL * density / density.max()
    across = 100 * (at - low) / (high - low)
    points = " ".join(f"{a:.2f},{b:.1f}" for a, b in zip(across, tops, strict=True))
    return f"M{across[0]:.2f},{HEIGHT} L{points} L{across[-1]:.2f},{HEIGHT}Z"


def _spread(found: Sequence[tuple[str, float, float]]) -> tuple[ScoreMark, ...]:
    """Marks on the baseline, those that would hide each other one lane higher. The best one keeps style 0."""
    ends: list[float] = []
    marks = {}
    for style, (name, value, at) in sorted(enumerate(found), key=lambda one: (one[1][2], one[0])):
        lane = next((i for i, end in enumerate(ends) if at - end >= _ROOM), len(ends))
        ends[lane : lane + 1] = [at]
        marks[style] = ScoreMark(name, value, at, HEIGHT - 7 - lane * _LANE, style)
    return tuple(marks[style] for style in sorted(marks))


def _round_values(low: float, high: float) -> list[float]:
    """Some three to nine round values between low and high."""
    rough = (high - low) / 8
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= rough)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step) + 1)]


def _plain(value: float) -> str:
    return f"{value + 0.0:.4g}".replace("-", "−")


def _share(share: float) -> str:
    if share == 1:
        return "highest score of an unrelated pair"
    return f"{100 * share:.4g} % of unrelated pairs score lower"
