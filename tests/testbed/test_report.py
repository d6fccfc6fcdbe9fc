"""The demo report: complete, and safe against hostile names."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from provray.testbed.demo_result import DemoResult, Question
from provray.testbed.report import render_report, write_report
from tests.testbed.demo_run import LIMIT, RESNET, sample_result


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
                says=f"it inherits what {hostile} learned",
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


def test_every_question_says_what_its_verdict_says() -> None:
    text = _Page(render_report(sample_result())).text
    for question in sample_result().questions:
        best = next((c for c in question.candidates if c.model == question.named), None)
        best = best or question.candidates[0]
        said = question.says[:1].upper() + question.says[1:]
        weights = "–" if best.weights is None else f"{best.weights:.2f}".replace("-", "−")
        biases = "–" if best.biases is None else f"{best.biases:.2f}".replace("-", "−")
        if question.relation != "copy":
            assert f"{said} (nearest is {best.model}: weights {weights}, biases {biases}" in text


def test_weights_are_drawn_by_what_was_learned_and_its_limit() -> None:
    text = render_report(sample_result())
    assert "Inherited weights: cosine of biases and gains by relation" in text
    assert f"threshold {LIMIT:.2f}" in text
    assert "threshold 0.50" in text, "of alike behaviour"


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
