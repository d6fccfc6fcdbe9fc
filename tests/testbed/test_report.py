"""The demo report: complete, safe against hostile names, and a tree drawing in which nothing overlaps.

The numbers of `sample_result` are test data, written by hand to look like a run; nothing was measured.
"""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from provray.testbed.demo_result import DemoResult, Member, Question, Shown
from provray.testbed.report import render_report, write_report
from provray.testbed.report_charts import duration, strip_plot
from provray.testbed.tree_drawing import Box, TreeDrawing, draw_tree, families, fit, text_width

RESNET, VIT, MINILM = (
    "aurora/resnet-digits",
    "meadow/vit-digits",
    "sentence-lab/all-minilm-l6-v2",
)
TWIN_RESNET, TWIN_VIT = "borealis/resnet-digits", "prairie/vit-digits"
CONVNEXT, BERT, GPT = (
    "tundra/convnext-digits",
    "gazette/bert-mini-topics",
    "cinema/gpt-mini-reviews",
)
IMAGES = (RESNET, VIT, TWIN_RESNET, TWIN_VIT, CONVNEXT)
TEXTS = (MINILM, BERT, GPT)
INHERITED = (0.99, 0.96, 0.88, 0.66, 0.55, 0.47, 0.4)
STUDENT = (-0.02, 0.3, 0.2, 0.29, 0.26, 0.25, 0.22)
LOOK_ALIKE = (0.35, 0.5, 0.44, 0.46, 0.41, 0.45, 0.52)
NOTHING = (-0.15, 0.06, -0.08, 0.02, -0.05, -0.11, -0.04)


def _vision_members(base: str, shop: str, architecture: str, other: str) -> list[Member]:
    owner = base.split("/")[0]
    size = 273_066 if architecture == "resnet" else 207_434
    made = [
        (base, "indexed", None, "base", 0.981, None),
        (f"{owner}/{architecture}-digits-holes", "indexed", base, "new head", 0.975, None),
        (f"{owner}/{architecture}-digits-sparse30", "indexed", base, "pruned", 0.978, None),
        (f"{shop}/scan-reader-{architecture}", "held_out", base, "fine-tune", 0.969, None),
        (f"{shop}/even-odd-{architecture}", "held_out", base, "new head", 0.984, None),
        (f"{shop}/digits-{architecture}-sparse60", "held_out", base, "pruned", 0.931, None),
        (f"{shop}/digits-{architecture}-int8", "held_out", base, "quantised", 0.981, None),
        (f"{shop}/digits-{architecture}-int4", "held_out", base, "quantised", 0.962, None),
        (f"nightmarket/quickdigits-{architecture}", "held_out", base, "stolen", 0.95, 0.957),
        (f"nightmarket/labels-only-{architecture}", "held_out", base, "stolen", 0.93, 0.938),
        (
            f"nightmarket/fresh-{other}-from-{architecture}",
            "held_out",
            base,
            "stolen",
            0.91,
            0.914,
        ),
    ]
    return [
        Member(model, split, parent, relation, "image", size, accuracy, fidelity)
        for model, split, parent, relation, accuracy, fidelity in made
    ]


def sample_members() -> tuple[Member, ...]:
    minilm = [
        (MINILM, "indexed", None, "base"),
        ("cinema/review-sentiment-minilm", "indexed", MINILM, "new head"),
        ("newsroom/article-search-encoder", "held_out", MINILM, "fine-tune"),
        ("newsroom/topic-desk", "held_out", MINILM, "new head"),
        ("edge-ai/sentence-encoder-sparse50", "held_out", MINILM, "pruned"),
        ("edge-ai/sentence-encoder-int8", "held_out", MINILM, "quantised"),
        ("acme/internal-embedding-model-v1", "held_out", MINILM, "copy"),
    ]
    alone = [
        (TWIN_RESNET, "indexed", "twin", "image", 273_066),
        (TWIN_VIT, "indexed", "twin", "image", 207_434),
        (CONVNEXT, "indexed", "base", "image", 301_000),
        ("lonesome/digit-net", "held_out", "stranger", "image", 273_066),
        ("lonesome/digit-transformer", "held_out", "stranger", "image", 207_434),
        (BERT, "indexed", "base", "text", 412_000),
        (GPT, "indexed", "base", "text", 388_000),
        ("lonesome/tiny-reviewer", "held_out", "stranger", "text", 412_000),
    ]
    return (
        *_vision_members(RESNET, "polaris", "resnet", "vit"),
        *_vision_members(VIT, "harvest", "vit", "resnet"),
        *(Member(m, s, p, r, "text", 22_713_216) for m, s, p, r in minilm),
        *(Member(m, s, None, r, kind, n) for m, s, r, kind, n in alone),
    )


def _shown(model: str, weights: float, profile: tuple[float, ...], behaviour: float) -> Shown:
    score = weights if weights >= 0.4 else 0.5 * max(behaviour, 0.0)
    wobble = len(model) % 5 * 0.025
    profile = tuple(round(v - wobble * k / 3, 3) for k, v in enumerate(profile))
    return Shown(model, score, weights, profile, behaviour + 0.06, behaviour - 0.09, behaviour)


def _question(member: Member, place: int) -> Question:
    known = IMAGES if member.modality == "image" else TEXTS
    drift = 0.01 * (place % 5)
    parent, relation = member.parent, member.relation
    if relation == "copy":
        shown = [Shown(str(parent), 1.0, 1.0, (None,) * 7, None, None, None)]
        return Question(
            member.model, parent, relation, "copy", parent, "copy", True, 0.4, (*shown,)
        )
    rest = [
        _shown(name, 0.02 * k - 0.03, NOTHING, 0.11 - 0.05 * k + drift)
        for k, name in enumerate(name for name in known if name != parent)
    ]
    named, verdict, right = parent, "ancestor", True
    if relation == "stolen":
        behaviour = 0.42 if "fresh" in member.model else 0.74 - drift
        found = _shown(str(parent), 0.01 + drift, STUDENT, behaviour)
        named, right = None, None
        verdict = "related" if behaviour > 0.5 else "none"
        if "fresh-resnet" in member.model:
            rest.append(_shown(TWIN_RESNET, 0.03, LOOK_ALIKE, 0.46))
    elif parent is None:
        found = rest.pop()
        found = _shown(found.model, 0.03, LOOK_ALIKE, 0.38 + drift)
        named, verdict = None, "none"
    else:
        found = _shown(parent, 0.97 - 2 * drift, INHERITED, 0.78 - 2 * drift)
        if member.modality == "image":
            sibling = (
                f"{parent.split('/')[0]}/{'resnet' if parent == RESNET else 'vit'}-digits-holes"
            )
            rest.append(_shown(sibling, 0.91 - 2 * drift, INHERITED, 0.55 - drift))
    if member.model == "harvest/even-odd-vit":
        rest.append(_shown(TWIN_VIT, 0.98, INHERITED, 0.8))
        rest = [c for c in rest if c.model != TWIN_VIT or c.score > 0.5]
        named, right = TWIN_VIT, False
    ordered = sorted([found, *rest], key=lambda c: -c.score)
    warnings = (
        (
            "dna scores are centred by the reference cohort of 24 models: the index has fewer than 16 "
            "unrelated families of its own",
        )
        if place % 3 == 0
        else ()
    )
    guess = relation if named else ""
    return Question(
        member.model,
        parent,
        relation,
        verdict,
        named,
        guess,
        right,
        3.1 + drift * 40,
        tuple(ordered),
        warnings,
    )


def sample_result() -> DemoResult:
    """A run that could have been: 37 models, 24 questions, one of them answered wrongly."""
    members = sample_members()
    asked = [member for member in members if member.split == "held_out"]
    indexed = [member.model for member in members if member.split == "indexed"]
    return DemoResult(
        members,
        tuple(_question(member, place) for place, member in enumerate(asked)),
        (
            ("Build the zoo", 91.4),
            ("Start Ray", 9.8),
            ("Crawl the indexed models", 48.2),
            ("Ask about the held-out models", 71.9),
            ("Write the report", 0.31),
        ),
        tuple(
            (
                name,
                0.05 + 0.9 * (name in (MINILM, "cinema/review-sentiment-minilm")),
                1.2 + 0.3 * k,
                2.1,
            )
            for k, name in enumerate(indexed)
        ),
        (
            ("provray", "0.1.0"),
            ("torch", "2.13.0+cpu"),
            (
                "image probes",
                "sha256 3f0c19e2b7a4d5563f0c19e2b7a4d5563f0c19e2b7a4d5563f0c19e2b7a4d556",
            ),
            (
                "text probes",
                "sha256 9b1e44c07d2f8a319b1e44c07d2f8a319b1e44c07d2f8a319b1e44c07d2f8a31",
            ),
            ("index version", "2"),
            ("cores", "2"),
            ("seed", "0"),
        ),
    )


class _Page(HTMLParser):
    """Collects tags, attributes and text; complains of tags that do not nest."""

    VOID = frozenset({"meta", "link", "br", "col", "wbr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def test_report_tells_the_whole_run() -> None:
    result = sample_result()
    page = _Page(render_report(result))
    demanded = [q for q in result.questions if q.right is not None]
    right = sum(q.right is True for q in demanded)
    assert (right, len(demanded)) == (17, 18)
    assert f"{right} of {len(demanded)} answers right" in page.text
    assert "Function is not ancestry" in page.text
    assert "5 of 6 thefts with the victim ranked first" in " ".join(
        f"{b} {a}" for a, b in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", render_report(result))
    )
    for member in result.members:
        assert member.model in page.text
    for label, value in result.facts:
        assert label in page.text
        assert value in page.text
    for what, _ in result.stages:
        assert what in page.text
    assert page.text.index("Truth and verdict") < page.text.index("The zoo, as it was made")
    assert sum(tag == "details" for tag, _ in page.tags) == len(result.questions)


def test_hard_cases_come_first() -> None:
    text = render_report(sample_result())
    table = text[text.index('<table class="questions">') : text.index("</table>")]
    places = [table.index(f">{name.replace('/', '/<wbr>')}</a>") for name in (
        "nightmarket/quickdigits-resnet", "lonesome/digit-net", "polaris/even-odd-resnet",
        "polaris/digits-resnet-int8", "acme/internal-embedding-model-v1",
    )]  # fmt: skip
    assert places == sorted(places)


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = _Page(render_report(sample_result()))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "img", "object", "form"})
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        target = attributes.get("href")
        assert target is None or target.startswith("#") or (tag, target) == ("link", "data:,")
    assert "http://" not in render_report(sample_result())
    assert "https://" not in render_report(sample_result())
    assert "url(" not in render_report(sample_result())
    assert "@import" not in render_report(sample_result())


def test_hostile_names_stay_text() -> None:
    hostile = (
        "evil/<script>alert(1)</script>\"' onload='x' {{ 7*7 }} &amp;\u202e\n</title></style>\udc80"
    )
    plain = sample_result()

    def renamed(name: str | None) -> str | None:
        return hostile if name == RESNET else name

    result = replace(
        plain,
        members=tuple(
            replace(m, model=str(renamed(m.model)), parent=renamed(m.parent)) for m in plain.members
        ),
        questions=tuple(
            replace(
                q,
                parent=renamed(q.parent),
                named=renamed(q.named),
                guess="<b>guess</b>",
                relation=q.relation,
                candidates=tuple(replace(c, model=str(renamed(c.model))) for c in q.candidates),
                warnings=(f"<img src=x onerror=alert(1)> {hostile}",),
            )
            for q in plain.questions
        ),
        fingerprinting=((hostile, 0.1, 0.2, 0.3),),
        facts=((hostile, hostile),),
    )
    text = render_report(result)
    page = _Page(text)
    text.encode("utf-8")
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "b>guess"})
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    assert "<script" not in text
    assert "\u202e" not in text
    assert "{{ 7*7 }}" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert len([t for t, _ in page.tags if t == "style"]) == 1


def test_every_chart_has_words_for_those_who_cannot_see_it() -> None:
    page = _Page(render_report(sample_result()))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        for pointer in ("aria-labelledby",):
            assert set((attributes.get(pointer) or "").split()) <= set(ids)
        if tag == "svg" and attributes.get("role") == "img":
            assert attributes.get("aria-label") or attributes.get("aria-labelledby")
        if tag == "a":
            assert str(attributes["href"])[1:] in ids
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def _luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_from_its_ground() -> None:
    """WCAG 2 contrast of at least 4.5 for every pair of text and ground, light and dark (and print)."""
    blocks = re.findall(r":root \{(.*?)\}", render_report(sample_result()), re.DOTALL)
    themes = [dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in blocks]
    pairs = [
        *((text, ground) for text in ("ink", "quiet") for ground in ("paper", "sheet")),
        *((text, "wrong-soft") for text in ("ink", "quiet", "wrong", "weights")),
        *((text, "sheet") for text in ("right", "wrong")),
        ("paper", "weights"),
        *((text, "weights-soft") for text in ("ink", "quiet", "weights")),
        *((text, "behaviour-soft") for text in ("ink", "behaviour")),
    ]
    assert len(themes) == 3
    for theme in themes:
        full = {
            name: "#" + "".join(c * 2 for c in value[1:]) if len(value) == 4 else value
            for name, value in theme.items()
        }
        for text, ground in pairs:
            a, b = sorted((_luminance(full[text]), _luminance(full[ground])))
            assert (b + 0.05) / (a + 0.05) >= 4.5, (text, ground, (b + 0.05) / (a + 0.05))


def test_wrong_answers_are_said_drawn_and_opened() -> None:
    text = render_report(sample_result())
    assert "harvest/even-odd-vit was said to descend from prairie/vit-digits" in text
    assert text.count("<details open>") == 1
    assert 'class="outcome wrong"' in text
    none_wrong = replace(
        sample_result(),
        questions=tuple(q for q in sample_result().questions if q.right is not False),
    )
    assert "was said to descend from" not in render_report(none_wrong)


def test_empty_and_bare_runs_render() -> None:
    assert "No question demanded an answer" in render_report(DemoResult((), (), (), ()))
    bare = Question("a/b", None, "stranger", "none", None, "", True, 0.0, ())
    page = _Page(render_report(DemoResult((), (bare,), (), ())))
    assert "1 of 1 answers right" in page.text
    assert "No candidate came near enough" in page.text


def test_write_report_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out" / "report.html"
    write_report(sample_result(), path)
    assert path.read_text(encoding="utf-8") == render_report(sample_result())
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    before = path.read_bytes()

    def fail(self: Path, target: Path) -> Path:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_report(DemoResult((), (), (), ()), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


# --- the tree drawing


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


# --- the charts


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
