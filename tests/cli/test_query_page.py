"""The page of one answer: complete, safe against hostile names, and readable where parts are missing.

The numbers are test data, written by hand; nothing was measured.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from provray.cli.query_page import certainty, query_page
from tests.pages.markup import Page

PARENT, STRANGER = "aurora/encoder", "tundra/encoder"


def evidence(score: str, value: float, limit: float | None, text: str) -> dict[str, Any]:
    decided = limit is not None and value >= limit
    return {
        "axis": "weights",
        "score": score,
        "value": value,
        "limit": limit,
        "decided": decided,
        "text": text,
    }


def candidate(model: str, **other: Any) -> dict[str, Any]:
    near = model == PARENT
    return {
        "model": model,
        "revision": "abc123",
        "relation": "fine-tune" if near else "",
        "axis": "weights",
        "score": 9.1 if near else 0.4,
        "probability": 0.9999 if near else 0.01,
        "p_value": 1e-9 if near else 0.4,
        "q_value": 3e-7 if near else 0.9,
        "direction": {"said": "ancestor", "log_likelihood_ratio": 1.2, "reasons": ["a new head"]},
        "evidence": [
            evidence("biases", 0.93, 0.65, "cosine of biases"),
            evidence("identical", 0.2, None, "equal tensors"),
        ],
        "scores": {
            "weights": 0.96 if near else 0.01,
            "biases": 0.93,
            "identical": 0.2,
            "dna": {"noise@0": 1.0, "noise@1/2": 0.6, "noise@1": 0.3, "mixed@probabilities": 0.44},
            "gif": {"mixed": 0.5, "natural": 0.7},
        },
        **other,
    }  # fmt: skip


def reply() -> dict[str, Any]:
    return {
        "query": {"model": "newsroom/search", "revision": "def456", "spaces": {"dna": "d:0c98"}},
        "index": {"uri": "s3://bucket/index", "version": 41, "models": 12873},
        "fdr": 0.05,
        "verdict": "ancestor",
        "says": f"Its weights come from {PARENT}.",
        "axes": {"weights": "Far beyond chance.", "behaviour": "Shows nothing by itself."},
        "ancestors": [{k: v for k, v in candidate(PARENT).items() if k != "scores"}],
        "candidates": [candidate(PARENT), candidate(STRANGER)],
        "nulls": {
            "weights": {
                "origin": "index",
                "condition": "same architecture",
                "pairs": 1234,
                "families": 26,
                "quantiles": [[0.01, -2.1], [0.25, -0.5], [0.5, 0.0], [0.75, 0.5], [0.999, 3.0]],
                "value": 9.1,
                "p_value": 1e-9,
                "limit": 4.2,
            },
            "behaviour": None,
        },
        "contradictions": [
            {"kind": "licence", "declared": "mit", "inferred": "gpl-3.0", "text": "They differ."}
        ],
        "warnings": ["not centred"],
    }  # fmt: skip


def test_the_page_tells_the_whole_answer() -> None:
    page = Page(query_page(reply()))
    for said in (
        f"Its weights come from {PARENT}.",
        "Far beyond chance.",
        "Shows nothing by itself.",
        "They differ.",
        "not centred",
        "3 × 10⁻⁷",
        "> 0.99",
        "limit 4.20 at a false discovery rate of 0.05",
        "99.9 % of unrelated pairs score lower",
        "measured on 1,234 pairs of unrelated models from 26 families (same architecture), of this index",
        "rests on the fitted tail",
        "cosine of biases",
        "reached",
        "shown only",
        "a new head",
        "d:0c98",
        "12,873",
    ):
        assert said in page.text, said
    assert page.text.count("Inherited behaviour") == 1  # its words, but no chart without a null


def test_a_p_value_that_could_be_counted_is_not_called_fitted() -> None:
    answer = reply()
    answer["nulls"]["weights"]["p_value"] = 0.02
    assert "fitted tail" not in Page(query_page(answer)).text


def test_every_chart_has_words() -> None:
    page = Page(query_page(reply()))
    labels = [
        a.get("aria-label") or "" for tag, a in page.tags if tag == "svg" and a.get("role") == "img"
    ]
    assert len(labels) == 2
    assert f"{PARENT}: 9.10" in labels[0]
    assert "limit 4.20" in labels[0]
    assert "1.00 at 0" in labels[1]
    regions = [a for _, a in page.tags if a.get("class") == "scroll"]
    assert regions
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in regions)


def test_nothing_is_loaded_and_nothing_runs() -> None:
    text = query_page(reply())
    page = Page(text)
    assert not {"script", "iframe", "object", "embed", "img"} & {tag for tag, _ in page.tags}
    assert all(not a.get("src") and (a.get("href") or "data:,") == "data:," for _, a in page.tags)
    assert "url(" not in text
    assert "@import" not in text
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in str(policy)
    assert "script-src" not in str(policy)


@pytest.mark.parametrize(
    "bad", ["<script>alert(1)</script>", '"onload="x', "a\u202eb\n", "{{ 7*7 }}"]
)
def test_hostile_text_stays_text(bad: str) -> None:
    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poisoned(item) for key, item in value.items()}
        if isinstance(value, list):
            return [poisoned(item) for item in value]
        return (
            value + bad
            if isinstance(value, str) and value not in ("weights", "behaviour")
            else value
        )

    answer = poisoned(reply())
    page = Page(query_page(answer))
    clean = Page(query_page(reply()))
    assert "script" not in {tag for tag, _ in page.tags}
    assert {name for _, a in page.tags for name in a} <= {name for _, a in clean.tags for name in a}
    assert "\u202e" not in page.text
    assert page.text.count("49") == clean.text.count("49")
    if "\n" not in bad:
        assert f"{PARENT}{bad}" in page.text


def parts() -> list[tuple[str, ...]]:
    answer = reply()
    paths: list[tuple[str, ...]] = [(key,) for key in answer]
    paths += [
        (key, inner) for key, value in answer.items() if isinstance(value, dict) for inner in value
    ]
    return paths


@pytest.mark.parametrize("path", parts(), ids=".".join)
@pytest.mark.parametrize("absent", [True, False])
def test_any_part_may_be_missing(path: tuple[str, ...], absent: bool) -> None:
    answer: dict[str, Any] = copy.deepcopy(reply())
    holder = answer if len(path) == 1 else answer[path[0]]
    if absent:
        del holder[path[-1]]
    else:
        holder[path[-1]] = None
    assert "None" not in Page(query_page(answer)).text


def test_fields_of_candidates_may_be_missing() -> None:
    for key in candidate(PARENT):
        answer = reply()
        for one in (*answer["ancestors"], *answer["candidates"]):
            one[key] = None
        assert "None" not in Page(query_page(answer)).text


def test_an_empty_reply_claims_nothing() -> None:
    page = Page(query_page({}))
    assert "holds no verdict" in page.text
    assert "Nothing in the index came near enough" in page.text


def test_values_stand_on_the_scale_of_their_null() -> None:
    answer = reply()
    null = answer["nulls"]["weights"]
    marks = re.compile(r"<title>([^<]+: [\d.]+)</title>")
    assert marks.findall(query_page(answer)) == [f"{STRANGER}: 0.40", f"{PARENT}: 9.10"]
    null["value"] = 5.5  # no ranking score is this value: it stands alone
    assert marks.findall(query_page(answer)) == ["best candidate: 5.50"]
    null["values"] = [[STRANGER, 0.3], [PARENT, 5.5]]
    assert marks.findall(query_page(answer)) == [f"{STRANGER}: 0.30", f"{PARENT}: 5.50"]
    del null["limit"]
    null["value"] = 0.93  # then the limit is that of the evidence of this value
    assert "limit 0.65" in Page(query_page(answer)).text


def test_no_probability_is_rounded_to_certainty() -> None:
    assert [certainty(p) for p in (None, 0.0, 0.5, 0.9999)] == ["–", "< 0.01", "0.50", "> 0.99"]
