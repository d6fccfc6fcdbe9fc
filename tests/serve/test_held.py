"""One version in memory: what is asked together is answered each by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from provray.ancestry.snapshot import open_snapshot
from provray.index.row import Row
from provray.index.search import build
from provray.index.table import FingerprintTable
from provray.serve.held import Held
from provray.serve.questions import Question
from tests.ancestry.networks import SPACES, stranger

BASE = stranger("lab/base", 1000)
CHILD = BASE.child("shop/child", 50)
DAMAGED = BASE.child("shop/damaged", 51)


def _held(root: Path, *more: Row) -> Held:
    table = FingerprintTable.create(root)
    table.append([row for i in range(20) for row in stranger(f"far/{i}", i).rows()])
    table.append([row for network in (BASE, CHILD) for row in network.rows()])
    if more:
        table.append(list(more))
    return Held("index", open_snapshot(root, SPACES))


def test_questions_together_get_what_each_gets_alone(tmp_path: Path) -> None:
    held = _held(tmp_path)
    questions = [Question(model=name) for name in ("shop/child", "far/3", "lab/base", "far/3")]
    alone = [held.answers([question])[0] for question in questions]
    other = Held("index", held.snapshot)
    assert other.answers(questions) == alone
    first = json.loads(alone[0].body)
    assert [a["model"] for a in first["ancestors"]] == ["lab/base"]


def test_a_shortlist_gives_the_same_ancestors(tmp_path: Path) -> None:
    exact = _held(tmp_path).snapshot
    vectors = {n: s.faiss_index.reconstruct_n(0, len(s.keys)) for n, s in exact.searches.items()}
    listed = {n: build(s.keys, vectors[n], all_compared=0) for n, s in exact.searches.items()}
    questions = [Question(model=name) for name in ("shop/child", "lab/base", "far/3")]
    told = [
        [json.loads(reply.body) for reply in Held("index", snapshot).answers(questions)]
        for snapshot in (exact, replace(exact, searches=listed))
    ]
    for one, other in zip(*told, strict=True):
        assert (one["verdict"], one["ancestors"]) == (other["verdict"], other["ancestors"])
    assert told[0][0]["verdict"] == "ancestor"


def test_a_damaged_card_declares_nothing(tmp_path: Path) -> None:
    held = _held(tmp_path, *(replace(row, declared="{") for row in DAMAGED.rows()))
    replies = held.answers([Question(model=name) for name in ("shop/damaged", "lab/base")])
    assert [json.loads(reply.body)["verdict"] for reply in replies] == ["ancestor", "descendant"]
    assert json.loads(replies[0].body)["ancestors"][0]["model"] == "lab/base"


def test_a_model_that_cannot_be_judged_fails_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a child's behaviour a part is gone."""
    held = _held(tmp_path, *(replace(row, scales=()) for row in DAMAGED.rows()))
    names = ["far/1", "shop/damaged", "far/2"]
    replies = held.answers([Question(model=name) for name in names])
    assert [reply.status for reply in replies] == [200, 500, 200]
    problem = json.loads(replies[1].body)
    assert problem["title"] == "The service failed"
    assert "no answer about shop/damaged" in caplog.text
    # it is not remembered: mended, it is answered
    assert held.known(Question(model="shop/damaged")) is None
