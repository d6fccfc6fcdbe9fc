"""Depth profiles as geometry, and numbers as people read them."""

from __future__ import annotations

from provray.pages.profile import number, profile_chart


def test_profile_breaks_where_nothing_was_measured() -> None:
    chart = profile_chart([("a", "", (1.0, 0.9, None, 0.5, 0.4, None, 0.2))])
    assert chart is not None
    (line,) = chart.lines
    assert len(line.runs) == 2
    assert len(line.points) == 5
    assert [tick.label for tick in chart.up] == ["0.00", "0.50", "1.00"]
    assert profile_chart([("a", "", (None,) * 7)]) is None
    below = profile_chart([("a", "", (-3.0, float("nan"), 2.0, 0, 0, 0, 0))])
    assert below is not None
    assert all(0 <= y <= below.bottom for _, y in below.lines[0].points)


def test_numbers_for_people() -> None:
    assert [number(v) for v in (None, 1.0, -0.004, -0.25, float("nan"))] == [
        "–", "1.00", "0.00", "−0.25", "–",
    ]  # fmt: skip
