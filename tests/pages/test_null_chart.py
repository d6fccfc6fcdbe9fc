"""A score against its null: what is drawn lies where the numbers say."""

from __future__ import annotations

import math
import re

import pytest

from provray.pages.null_chart import HEIGHT, null_chart, small

NORMAL = [(0.01, -2.33), (0.1, -1.28), (0.25, -0.67), (0.5, 0.0), (0.75, 0.67), (0.9, 1.28), (0.99, 2.33)]  # fmt: skip


def test_marks_limit_and_hill_share_one_axis() -> None:
    chart = null_chart(NORMAL, [("best", 9.0), ("next", 1.0)], 4.0)
    assert chart is not None
    assert chart.limit is not None
    assert chart.middle is not None
    best, following = chart.marks
    assert (best.name, best.style, following.style) == ("best", 0, 1)
    assert following.x < chart.highest.at < chart.limit.at < best.x < 100
    assert chart.middle[0] < chart.middle[1] < following.x
    assert (chart.highest.label, chart.top) == ("99 % of unrelated pairs score lower", 2.33)
    assert chart.limit.label == "limit 4.00"
    points = [tuple(map(float, p)) for p in re.findall(r"(-?[\d.]+),(-?[\d.]+)", chart.hill)]
    assert all(0 <= x <= 100 and 0 < y <= HEIGHT for x, y in points)
    peak = min(points, key=lambda point: point[1])[0]
    assert chart.middle[0] < peak < chart.middle[1]
    assert [tick.label for tick in chart.ticks] == ["−2", "0", "2", "4", "6", "8"]


def test_marks_that_would_hide_each_other_are_stacked() -> None:
    chart = null_chart(NORMAL, [("a", 1.0), ("b", 1.01), ("c", 1.02)], None)
    assert chart is not None
    assert len({mark.y for mark in chart.marks}) == 3
    assert [mark.name for mark in chart.marks] == ["a", "b", "c"]


def test_a_null_may_end_at_its_highest_score() -> None:
    chart = null_chart([(0.0, -3.0), *NORMAL, (1.0, 3.1)], [("a", 1.0)], None)
    assert chart is not None
    assert (chart.highest.label, chart.top) == ("highest score of an unrelated pair", 3.1)


def test_few_or_odd_quantiles_still_show_the_marks() -> None:
    two = null_chart([(0.5, 0.0), (0.99, 1.0)], [("a", 3.0)], None)
    assert two is not None
    assert two.hill == ""
    assert two.middle is None
    flat = null_chart([(0.1, 1.0), (0.5, 1.0), (0.9, 1.0)], [("a", 1.0)], math.nan)
    assert flat is not None
    assert flat.limit is None
    assert all(math.isfinite(mark.x) for mark in flat.marks)
    assert null_chart([], [("a", 1.0)], None) is None
    assert null_chart(NORMAL, [("a", math.inf)], None) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (0, "0"), (1, "1.00"), (0.0512, "0.051"), (0.3, "0.30"), (3.2e-7, "3 × 10⁻⁷"), (1e-12, "10⁻¹²")],
)  # fmt: skip
def test_probabilities_for_people(value: float | None, said: str) -> None:
    assert small(value) == said
