"""The lineage page: every model and every line is there, nothing hostile runs, and a thousand models stay light.

Names and scores are test data; nothing was measured.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest

from provray.cli.lineage_page import lineage_page
from tests.pages.markup import Page


def edge(parent: str, child: str, relation: str = "fine-tune", **other: Any) -> dict[str, Any]:
    said = {"parent": parent, "child": child, "relation": relation, "score": 0.91}
    return {**said, "direction_known": True, "reasons": [f"{child} came later"], **other}


def lineage(bad: str = "") -> dict[str, Any]:
    families = {
        3: ["aurora/base", "meadow/child", "meadow/merged", "tundra/other", "polaris/thief"],
        4: ["gazette/old", "gazette/new"],
        5: ["lonesome/alone"],
    }
    known = {"aurora/base", "tundra/other", "lonesome/alone"}
    models = [
        {"model": name + bad, "family": family, "root": name in known}
        for family, names in families.items()
        for name in names
    ]
    edges = [
        edge("aurora/base" + bad, "meadow/child" + bad, "new head" + bad),
        edge("meadow/child" + bad, "meadow/merged" + bad, "merged"),
        edge("tundra/other" + bad, "meadow/merged" + bad, "merged"),
        edge("aurora/base" + bad, "polaris/thief" + bad, "distilled"),
        edge("gazette/new" + bad, "gazette/old" + bad, direction_known=False, score=None),
    ]
    return {"index": {"uri": bad, "version": 7}, "models": models, "edges": edges}  # fmt: skip


def cards(page: Page) -> dict[str, set[str]]:
    found = [a for tag, a in page.tags if tag == "button" and "data-model" in a]
    named = {str(a["title"]): set(str(a["class"]).split()) for a in found}
    assert len(named) == len(found)
    return named


def data_of(text: str) -> Any:
    return json.loads(
        re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)[0]
    )


def test_every_model_stands_once() -> None:
    text = lineage_page(lineage())
    page = Page(text)
    found = cards(page)
    assert set(found) == {one["model"] for one in lineage()["models"]} - {"lonesome/alone"}
    assert "founder" in found["aurora/base"]
    assert "outputs" in found["polaris/thief"]
    assert "unsure" in found["gazette/old"]
    assert found["meadow/child"] == {"card"}
    assert [a["data-single"] for _, a in page.tags if "data-single" in a] == ["7"]
    for said in (
        "5 models, 3 generations, 1 merged",
        "1 line of unknown direction",
        "Index version",
    ):
        assert said in page.text


def test_every_line_brings_its_evidence() -> None:
    data = data_of(lineage_page(lineage()))
    names = data["models"]
    assert {(names[one["p"]], names[one["c"]]) for one in data["links"]} == {
        (one["parent"], one["child"]) for one in lineage()["edges"]
    }
    assert all(one["reasons"] for one in data["links"])
    assert [one["known"] for one in data["links"]] == [True] * 4 + [False]


def test_only_its_own_script_may_run() -> None:
    text = lineage_page(lineage())
    page = Page(text)
    policy = next(str(a["content"]) for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/=]+';", policy)
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert not [a for _, a in page.tags if "src" in a or any(name.startswith("on") for name in a)]
    assert "innerHTML" not in text
    assert "http://www.w3.org/2000/svg" in text
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []


@pytest.mark.parametrize("bad", ["</script><script>alert(1)</script>", '" onclick="x', "\u202e\n"])
def test_hostile_names_stay_text(bad: str) -> None:
    text = lineage_page(lineage(bad))
    page, clean = Page(text), Page(lineage_page(lineage()))
    assert len([t for t, _ in page.tags if t == "script"]) == 2
    assert {name for _, a in page.tags for name in a} == {name for _, a in clean.tags for name in a}
    assert "\u202e" not in text
    shown = bad.replace("\u202e\n", "\\u202e\\u000a")
    assert "aurora/base" + shown in data_of(text)["models"]


def test_missing_parts_and_unknown_models() -> None:
    assert "No two models here are of one family." in Page(lineage_page({})).text
    odd = lineage()
    odd["edges"] += [edge("nobody", "aurora/base"), edge("aurora/base", "aurora/base"), {}]
    for one in odd["edges"]:
        one.pop("reasons", None)
        one["relation"] = None
    odd["models"].append({"model": "no/family"})
    page = Page(lineage_page(odd))
    assert len(data_of(lineage_page(odd))["links"]) == 5
    assert "None" not in page.text


def test_a_thousand_children_start_folded() -> None:
    names = [f"maker/child-{k}" for k in range(1000)]
    models = [
        {"model": name, "family": 1, "root": not k} for k, name in enumerate(["a/base", *names])
    ]
    edges = [edge("a/base", name, ("fine-tune", "pruned")[k % 2]) for k, name in enumerate(names)]
    edges += [edge(names[0], "late/child")]
    text = lineage_page({"models": [*models, {"model": "late/child", "family": 1}], "edges": edges})
    page = Page(text)
    assert len(cards(page)) == 1002
    assert "500 × pruned" in page.text
    hidden = [a for tag, a in page.tags if tag == "ul" and "hidden" in a]
    assert len(hidden) == 3  # two crowds and the one grandchild
    assert len(text) < 1_200_000


def test_a_very_long_line_of_descent_is_drawn() -> None:
    names = [f"maker/v{k}" for k in range(600)]
    models = [{"model": name, "family": 1, "root": not k} for k, name in enumerate(names)]
    edges = [edge(one, two) for one, two in pairwise(names)]
    page = Page(lineage_page({"models": models, "edges": edges}))
    assert len(cards(page)) == 600
    assert "600 generations" in page.text
