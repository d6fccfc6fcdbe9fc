"""Where everything goes in the drawing of a zoo's families: members in, boxes and lines out, all in CSS pixels.

Each family is an indented tree, base on top, and families fill equal columns from the left, the shortest column next.
Between columns runs a gutter that no box enters, so the lines of wrong answers can cross the drawing without
crossing a box. Nothing here knows of SVG beyond its path syntax.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provray.testbed.demo_result import Member

NO_WEIGHTS = frozenset({"stolen", "distilled", "look-alike", "twin", "stranger"})
"""Relations under which no weights come from the parent: its edge is dashed."""

_BOX, _GAP, _FAMILY_GAP, _HEADING = 40.0, 8.0, 26.0, 24.0
_INDENT, _DEEPEST = 22.0, 5
_GUTTER, _LANE, _MARGIN, _RADIUS = 34.0, 5.0, 2.0, 6.0


@dataclass(frozen=True)
class Box:
    """The place of one member. `x`, `y`: upper left corner. `depth`: generations below its family's base."""

    member: Member
    x: float
    y: float
    width: float
    depth: int
    height: float = _BOX

    @property
    def middle(self) -> float:
        """Height of the box's centre line."""
        return self.y + self.height / 2


@dataclass(frozen=True)
class Branch:
    """The line from a parent down to a child. `inherits`: whether weights came along. `path`: SVG path data."""

    parent: str
    child: str
    inherits: bool
    path: str


@dataclass(frozen=True)
class WrongLine:
    """The line from a wrongly named model to the one that was asked about. `tip`: where its arrow ends."""

    asked: str
    named: str
    path: str
    tip: tuple[float, float]


@dataclass(frozen=True)
class Heading:
    """A small heading over members that have no relative here. `y`: its baseline."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class TreeDrawing:
    """A whole drawing of `width` × `height`."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    branches: tuple[Branch, ...]
    wrong: tuple[WrongLine, ...]
    headings: tuple[Heading, ...]


def families(members: Sequence[Member]) -> list[list[tuple[Member, int]]]:
    """Members with their depth, family by family in reading order, larger families first.

    A parent that is no member makes its child a base. Children that hold weights come before those that do not, indexed
    before held-out. A circle of parents is opened at its first member.
    """
    known = {member.model: member for member in members}
    children: dict[str, list[Member]] = {}
    bases = []
    for member in known.values():
        if member.parent in known and not _leads_back(member, known):
            children.setdefault(str(member.parent), []).append(member)
        else:
            bases.append(member)
    for brood in children.values():
        brood.sort(key=lambda m: (m.relation in NO_WEIGHTS, m.split != "indexed"))
    found = []
    for base in bases:
        family, waiting = [], [(base, 0)]
        while waiting:
            member, depth = waiting.pop()
            family.append((member, depth))
            waiting.extend((child, depth + 1) for child in reversed(children.get(member.model, ())))
        found.append(family)
    return sorted(found, key=lambda family: -len(family))


def _leads_back(member: Member, known: Mapping[str, Member]) -> bool:
    """Whether following parents from `member` returns to it, `member` being the first of that circle."""
    order = list(known)
    seen, at = [member.model], member.parent
    while at in known and at not in seen:
        seen.append(str(at))
        at = known[str(at)].parent
    return at == member.model and member.model == min(seen, key=order.index)


def draw_tree(
    members: Sequence[Member],
    wrong: Mapping[str, str],
    *,
    columns: int,
    width: float,
    alone: str = "No relative in this zoo",
) -> TreeDrawing:
    """Place `members` in `columns` columns over `width` pixels. wrong: asked model -> the model wrongly named.

    `alone` heads the members without relatives. Raises ValueError if a column would be too narrow to hold a label.
    """
    # the last gutter is needed only if a wrong line runs in it
    pitch = (width if wrong else width + _GUTTER) / columns
    box_width = pitch - _GUTTER - _MARGIN
    if box_width < _INDENT * _DEEPEST + 100:
        raise ValueError(f"{columns} columns do not fit in {width:g} pixels: use fewer columns")
    found = families(members)
    columns = max(1, min(columns, len(found)))
    tops = [_LANE * 4 if wrong else _MARGIN] * columns
    boxes: list[Box] = []
    headings: list[Heading] = []
    headed: set[int] = set()
    for family in found:
        column = tops.index(min(tops))
        left = _MARGIN + column * pitch
        if len(family) == 1 and column not in headed:
            headings.append(Heading(left, tops[column] + 12, alone))
            tops[column] += _HEADING
            headed.add(column)
        for member, depth in family:
            shift = _INDENT * min(depth, _DEEPEST)
            boxes.append(Box(member, left + shift, tops[column], box_width - shift, depth))
            tops[column] += _BOX + _GAP
        tops[column] += _FAMILY_GAP - _GAP if len(family) > 1 else 0
    placed = {box.member.model: box for box in boxes}
    return TreeDrawing(
        width=columns * pitch - (0 if wrong else _GUTTER),
        height=max(tops) - _GAP + _MARGIN,
        boxes=tuple(boxes),
        branches=_branches(boxes, placed),
        wrong=_wrong_lines(wrong, placed, pitch),
        headings=tuple(headings),
    )


def _branches(boxes: Sequence[Box], placed: Mapping[str, Box]) -> tuple[Branch, ...]:
    """Elbows from parents to children. Each starts where the one before it turned off, so that no dashed line lies over
    a solid one."""
    found = []
    reached: dict[str, float] = {}
    for box in boxes:
        parent = placed.get(box.member.parent or "")
        if parent is None or box.depth == 0:
            continue
        x = parent.x + _INDENT / 2
        start = reached.get(parent.member.model, parent.y + parent.height)
        reached[parent.member.model] = box.middle - _RADIUS
        end = box.x if box.x > x else x + _RADIUS
        path = (
            f"M{x:g} {start:g}V{box.middle - _RADIUS:g}"
            f"Q{x:g} {box.middle:g} {x + _RADIUS:g} {box.middle:g}H{end:g}"
        )
        inherits = box.member.relation not in NO_WEIGHTS
        found.append(Branch(parent.member.model, box.member.model, inherits, path))
    return tuple(found)


def _wrong_lines(
    wrong: Mapping[str, str], placed: Mapping[str, Box], pitch: float
) -> tuple[WrongLine, ...]:
    """Lines through the gutters right of both columns, joined above all boxes if they differ."""
    found: list[WrongLine] = []
    lanes = int((_GUTTER - 14) // _LANE)
    for asked, named in wrong.items():
        if asked not in placed or named not in placed or asked == named:
            continue
        source, target = placed[named], placed[asked]
        lane = len(found) % lanes
        shift = 8 + lane * _LANE
        from_x, to_x = source.x + source.width, target.x + target.width
        if abs(from_x - to_x) < pitch / 2:
            path = f"M{from_x:g} {source.middle:g}H{from_x + shift:g}V{target.middle:g}H{to_x:g}"
        else:
            over = _MARGIN + lane * (_LANE - 1)
            path = (
                f"M{from_x:g} {source.middle:g}H{from_x + shift:g}V{over:g}"
                f"H{to_x + shift:g}V{target.middle:g}H{to_x:g}"
            )
        found.append(WrongLine(asked, named, path, (to_x, target.middle)))
    return tuple(found)


def text_width(text: str, size: float, *, bold: bool = True) -> float:
    """About how wide `text` is in pixels, set in the widest common sans-serif (DejaVu) at `size` pixels: others are
    narrower, so what fits here fits everywhere."""
    return size * (1 if bold else 0.9) * sum(_character_width(character) for character in text)


def _character_width(character: str) -> float:
    if character in "mwMW@%" or unicodedata.east_asian_width(character) in "WF":
        return 1.1
    if character in "iljtfrI.,:;|!'/-()[] ":
        return 0.49
    return 0.85 if character.isupper() else 0.71


def fit(text: str, width: float, size: float, *, bold: bool = True) -> str:
    """Shorten `text` in its middle, where model names differ least, until it fits in `width` pixels."""
    if text_width(text, size, bold=bold) <= width:
        return text
    keep = len(text) - 1
    while keep > 2:
        head = (keep + 1) // 2
        shortened = f"{text[:head]}…{text[len(text) - (keep - head) :]}"
        if text_width(shortened, size, bold=bold) <= width:
            return shortened
        keep -= 1
    return "…"
