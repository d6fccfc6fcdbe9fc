"""Waiting questions as files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from provray.serve.jobs import KEPT_SECONDS, LEASE_SECONDS, JobStore, new_question
from provray.serve.reply import Reply


def test_a_question_is_found_again_with_its_outcome_by_any_process(tmp_path: Path) -> None:
    asked = new_question("hf://lab/x", "hf://lab/x", 10, 0.05, 3, 40, "key-1")
    JobStore(tmp_path).save(asked)
    other = JobStore(tmp_path)
    assert other.find(asked.id) == asked
    other.finish(asked, Reply(200, b'{"verdict":"none"}', 3, {"verdict": "none"}))
    found = JobStore(tmp_path).find(asked.id)
    assert found is not None
    assert found.outcome is not None
    assert (found.outcome.status, found.outcome.body) == (200, '{"verdict":"none"}')
    assert found.outcome.told == {"verdict": "none"}


def test_the_same_question_has_one_id_and_another_has_another() -> None:
    ids = {
        new_question("m", source, top_k, fdr, version, 0).id
        for source in ("a", "b")
        for top_k in (1, 2)
        for fdr in (0.05, 0.01)
        for version in (1, 2)
    }
    assert len(ids) == 16
    again = new_question("m", "a", 1, 0.05, 1, 0)
    assert again.id in ids


@pytest.mark.parametrize("text", ["", "../keys", "0" * 31, "0" * 33, "G" * 32, "0" * 32])
def test_what_is_no_id_finds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "jobs").mkdir()
    assert JobStore(tmp_path / "jobs").find(text) is None


def test_a_lease_ends_when_it_is_no_longer_touched(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    asked = new_question("m", "a", 1, 0.05, 1, 0)
    assert not store.taken(asked.id)
    store.touch(asked.id)
    assert store.taken(asked.id)
    past = time.time() - LEASE_SECONDS - 1
    os.utime(tmp_path / f"{asked.id}.lease", (past, past))
    assert not store.taken(asked.id)


def test_old_questions_are_swept_away_and_new_ones_are_not(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    old, new = (new_question("m", name, 1, 0.05, 1, 0) for name in ("a", "b"))
    store.save(old)
    store.save(new)
    past = time.time() - KEPT_SECONDS - 1
    os.utime(tmp_path / f"{old.id}.json", (past, past))
    store.sweep()
    assert store.find(old.id) is None
    assert store.find(new.id) == new
