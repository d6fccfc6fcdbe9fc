"""What the demo report draws: a tree in which nothing overlaps, and strips of scores."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from provray.testbed.demo_result import DemoResult, Member
from provray.testbed.report import render_report
from provray.testbed.report_charts import duration, strip_plot
from provray.testbed.tree_drawing import Box, TreeDrawing, draw_tree, families, fit, text_width
from tests.testbed.demo_run import sample_members


def _zoo(count: int) -> list[Member]:
    """`count` members: families of growing size, up to three generations, some thefts, some loners."""
    found: list[Member] = []
    family = 0
    while len(found) < count:
        base = f"owner-{family}/base-model-with-quite-a-long-name-{family}"
        found.append(Member(base, "indexed", None, "base", "image", 1000))
        at = base
        for child in range(family % 7 * 2):
            name = f"shop-{family}/child-{family}-{child}"
            relation = "stolen" if child % 4 == 3 else "fine-tune"
            found.append(Member(name, "held_out", at, relation, "image", 1000))
            at = name if child % 3 == 0 else base
        family += 1
    return found[:count]


def _overlap(a: Box, b: Box) -> bool:
    return (
        a.x < b.x + b.width
        and b.x < a.x + a.width
        and a.y < b.y + b.height
        and b.y < a.y + a.height
    )


def _crosses(path: str, box: Box) -> bool:
    """Whether a path of M, H and V steps enters the inside of a box."""
    x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", path).groups())  # type: ignore[union-attr]
    for axis, value in re.findall(r"([HV])([\d.]+)", path):
        to_x, to_y = (float(value), y) if axis == "H" else (x, float(value))
        inside_x = min(x, to_x) < box.x + box.width - 0.5 and max(x, to_x) > box.x + 0.5
        inside_y = min(y, to_y) < box.y + box.height - 0.5 and max(y, to_y) > box.y + 0.5
        if inside_x and inside_y:
            return True
        x, y = to_x, to_y
    return False


def _check(drawing: TreeDrawing) -> None:
    for a, b in combinations(drawing.boxes, 2):
        assert not _overlap(a, b), (a, b)
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= drawing.width
        assert box.y + box.height <= drawing.height
    for line in drawing.wrong:
        assert not any(_crosses(line.path, box) for box in drawing.boxes)


@pytest.mark.parametrize("count", [1, 2, 15, 37, 60])
@pytest.mark.parametrize(("columns", "width"), [(3, 1160.0), (1, 358.0), (4, 1200.0)])
def test_no_boxes_overlap(count: int, columns: int, width: float) -> None:
    members = _zoo(count)
    asked = [m.model for m in members if m.split == "held_out"][:9]
    wrong = {model: members[-1 - k].model for k, model in enumerate(asked)}
    drawing = draw_tree(members, wrong, columns=columns, width=width)
    assert {box.member.model for box in drawing.boxes} == {m.model for m in members}
    assert len(drawing.branches) == sum(m.parent is not None for m in members)
    assert drawing.width <= width
    _check(drawing)


def test_families_are_whole_and_in_order() -> None:
    found = families(sample_members())
    assert [len(family) for family in found] == [11, 11, 7, *[1] * 8]
    relations = [member.relation for member, _ in found[0]]
    assert relations[0] == "base"
    assert relations[-3:] == ["stolen"] * 3
    splits = [member.split for member, _ in found[0]]
    assert splits == sorted(splits, reverse=True)


def test_edges_say_whether_weights_came_along() -> None:
    drawing = draw_tree(sample_members(), {}, columns=3, width=1100)
    relation = {m.model: m.relation for m in sample_members()}
    assert all(b.inherits == (relation[b.child] != "stolen") for b in drawing.branches)
    assert sum(not b.inherits for b in drawing.branches) == 6


def test_circles_and_unknown_parents_do_not_hang() -> None:
    def member(model: str, parent: str | None) -> Member:
        return Member(model, "held_out", parent, "fine-tune", "text", 1)

    members = [
        member("a", "c"),
        member("b", "a"),
        member("c", "b"),
        member("d", "b"),
        member("e", "?"),
    ]
    drawing = draw_tree(members, {"a": "e", "e": "gone"}, columns=3, width=1100)
    assert {box.member.model for box in drawing.boxes} == set("abcde")
    assert len(drawing.branches) == 3
    assert len(drawing.wrong) == 1
    assert "a" in render_report(DemoResult(tuple(members), (), (), ()))


def test_deep_lines_of_descent_stay_readable() -> None:
    members = [
        Member(f"m{k}", "indexed", f"m{k - 1}" if k else None, "fine-tune", "text", 1)
        for k in range(15)
    ]
    drawing = draw_tree(members, {}, columns=1, width=348)
    _check(drawing)
    assert min(box.width for box in drawing.boxes) >= 150
    with pytest.raises(ValueError, match="use fewer columns"):
        draw_tree(members, {}, columns=4, width=348)


@pytest.mark.parametrize("name", ["short", "a" * 200, "模型" * 60, "W" * 80, "i" * 300])
def test_labels_fit(name: str) -> None:
    assert text_width(fit(name, 160, 13), 13) <= 160
    assert fit("short", 160, 13) == "short"


def test_strip_spreads_marks_and_counts_what_is_missing() -> None:
    row = [(0.5, "other", "x"), (0.5, "parent", "y"), (None, "other", "z"), (-0.35, "kin", "w")]
    plot = strip_plot("t", "axis", {"fine-tune": row}, threshold=0.4)
    (strip,) = plot.strips
    assert strip.missing == 1
    assert strip.marks[-1].kind == "parent"
    assert len({(mark.x, mark.lane) for mark in strip.marks}) == 3
    assert all(0 <= mark.x <= 100 for mark in strip.marks)
    assert next(tick.label for tick in plot.ticks) == "−0.4"
    assert plot.threshold_label == "threshold 0.40"


def test_durations_for_people() -> None:
    assert [duration(s) for s in (0.31, 7.14, 9.97, 48.2, 72, 192.4)] == [
        "0.31 s", "7.1 s", "10 s", "48 s", "1 min 12 s", "3 min 12 s",
    ]  # fmt: skip
