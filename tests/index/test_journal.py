"""What running crawls tell each other: claims, finished rows, and who is still alive. Writers are real processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from provray.index import journal as module
from provray.index.journal import Journal
from provray.index.location import IndexLocation
from provray.index.row import Row

VECTOR = np.ones((1, 4), np.float32) / 2


def _row(model: str, revision: str = "r1") -> Row:
    return Row(model, revision, "weights", "weights-1", readouts=("weights",), vectors=VECTOR)


@pytest.fixture(params=["disk", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> IndexLocation:
    if request.param == "disk":
        return IndexLocation.of(tmp_path / "index")
    bucket = request.getfixturevalue("s3_bucket")
    return IndexLocation.of(f"s3://{bucket}/index")


_WRITER = """
import sys, time
from tests.index.test_journal import _row
from provray.index.journal import Journal
from provray.index.location import IndexLocation
with Journal(IndexLocation.of(sys.argv[1])) as journal:
    for model in sys.argv[2:]:
        assert journal.claim(model, "r1")
        if model.startswith("finished"):
            journal.keep([_row(model)])
    print("ready", flush=True)
    time.sleep(600)
"""


class _Other:
    """Another process that writes to the index."""

    def __init__(self, location: IndexLocation, *models: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(location), *models],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


@pytest.fixture
def other(location: IndexLocation) -> Iterator[_Other]:
    made = _Other(location, "begun", "finished-1", "finished-2")
    yield made
    made.kill()  # does nothing to one that is dead


def test_a_model_is_claimed_once(location: IndexLocation) -> None:
    with Journal(location) as first, Journal(location) as second:
        assert first.claim("a", "r1")
        assert first.claim("a", "r1"), "one's own claim is no obstacle"
        assert not second.claim("a", "r1")
        assert second.claim("a", "r2"), "another revision is another model"
        first.release([("a", "r1")])
        assert second.claim("a", "r1")


def test_a_living_writer_is_left_alone(location: IndexLocation, other: _Other) -> None:
    with Journal(location) as journal:
        assert not journal.claim("begun", "r1")
        assert list(journal.left_behind()) == []


def test_what_a_killed_writer_finished_is_found_and_what_it_began_is_free(
    location: IndexLocation, other: _Other
) -> None:
    other.kill()
    with Journal(location) as journal:
        ((name, rows),) = journal.left_behind()
        assert sorted(row.model for row in rows) == ["finished-1", "finished-2"]
        np.testing.assert_array_equal(rows[0].vectors, VECTOR)
        journal.bury(name)
        assert list(journal.left_behind()) == []
        assert journal.claim("begun", "r1")
        assert journal.claim("finished-1", "r1")


def test_a_dead_writer_is_looked_after_by_one(location: IndexLocation, other: _Other) -> None:
    other.kill()
    with Journal(location) as first, Journal(location) as second:
        assert len(list(first.left_behind())) == 1
        assert list(second.left_behind()) == []


def test_a_journal_that_is_closed_keeps_what_was_not_committed(location: IndexLocation) -> None:
    with Journal(location) as journal:
        for model in ("begun", "finished"):
            assert journal.claim(model, "r1")
        journal.keep([_row("finished")])
    with Journal(location) as journal:
        assert journal.claim("begun", "r1")
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:  # this process, which still lives, is the dead writer's
        assert pool.apply(_found, (str(location),)) == []


def _found(uri: str) -> list[str]:
    with Journal(IndexLocation.of(uri)) as journal:
        return [row.model for _, rows in journal.left_behind() for row in rows]


def test_a_silent_writer_of_another_machine_is_dead_after_a_while(
    location: IndexLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(module, "_machine", lambda: "another machine")
        away = Journal(location)
        away._write_alive()
        assert away.claim("a", "r1")
    with Journal(location) as journal:
        assert not journal.claim("a", "r1"), "it was heard of just now"
        monkeypatch.setattr(module, "DEAD_SECONDS", -1.0)
        assert journal.claim("a", "r1")


def test_released_models_leave_nothing(location: IndexLocation) -> None:
    with Journal(location) as journal:
        for number in range(5):
            assert journal.claim(f"m{number}", "r1")
            journal.keep([_row(f"m{number}")])
        journal.release([(f"m{number}", "r1") for number in range(5)])
        assert [n for n in location.names("work") if not n.endswith("/alive")] == []
    assert location.names("work") == []


def test_a_reused_process_id_is_another_writer(location: IndexLocation, other: _Other) -> None:
    other.kill()
    (path,) = [n for n in location.names("work") if n.endswith("/alive")]
    told = location.read(path).decode()
    forged = told.replace(str(other.process.pid), str(os.getpid()))
    import obstore

    obstore.put(location.store, path, forged.encode())
    with Journal(location) as journal:
        assert len(list(journal.left_behind())) == 1
