"""Writers that die: the index opens, holds whole batches only, none that was acknowledged is lost, and takes more."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable

from provray.index.location import IndexLocation
from provray.index.table import FingerprintTable
from provray.index.upkeep import compact
from provray.index.verify import verify_index
from tests.index.writers import batch_of, start_writer

KILLS = 10


@pytest.fixture(params=["disk", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> IndexLocation:
    if request.param == "disk":
        return IndexLocation.of(tmp_path / "index")
    return IndexLocation.of(f"s3://{request.getfixturevalue('s3_bucket')}/index")


def _raw_rows(location: IndexLocation) -> list[tuple[str, str]]:
    """(model, space) of every row, also of those that newer ones replace."""
    delta = DeltaTable(location.table_uri, storage_options=location.storage_options)
    data = delta.to_pyarrow_dataset().to_table(columns=["model", "space"])
    return list(zip(data["model"].to_pylist(), data["space"].to_pylist(), strict=True))


def _rows_of(name: str, numbers: int) -> set[tuple[str, str]]:
    return {(row.model, row.space) for n in range(numbers) for row in batch_of(name, n)}


def test_writers_killed_at_any_moment_leave_whole_batches(location: IndexLocation) -> None:
    """Ten writers, each killed somewhere in its commits, one after the other while the next is already waiting."""
    FingerprintTable.create(location)
    moments = random.Random(7)
    committed: set[tuple[str, str]] = set()
    waiting = start_writer(location.uri, "writer0", 10_000, os.environ)
    for kill in range(KILLS):
        process, pipe = waiting
        waiting = start_writer(location.uri, f"writer{kill + 1}", 10_000, os.environ)
        assert pipe.recv() == "ready"
        pipe.send("go")
        assert pipe.recv() == 0
        time.sleep(moments.uniform(0, 0.15))
        process.kill()
        process.join(30)
        acknowledged = 1
        while pipe.poll():
            try:
                acknowledged = pipe.recv() + 1
            except EOFError:
                break
        rows = _raw_rows(location)
        own = {row for row in rows if row[0].startswith(f"writer{kill}/")}
        # One more than acknowledged may have arrived: it was committed, and the writer died before it could say so.
        assert own in (
            _rows_of(f"writer{kill}", acknowledged),
            _rows_of(f"writer{kill}", acknowledged + 1),
        )
        committed |= own
        assert len(rows) == len(set(rows)) == len(committed)
        table = FingerprintTable.open(location)
        table.append(batch_of(f"after{kill}", 0))
        committed |= _rows_of(f"after{kill}", 1)
    waiting[0].kill()
    waiting[0].join(30)
    assert set(_raw_rows(location)) == committed
    assert list(verify_index(location)) == []
    compact(FingerprintTable.open(location), keep_days=1)
    assert sorted(_raw_rows(location)) == sorted(committed)
    assert list(verify_index(location)) == []


def test_two_writers_and_a_compaction_at_once_lose_nothing_and_double_nothing(
    location: IndexLocation,
) -> None:
    batches = 24
    table = FingerprintTable.create(location)
    writers = [start_writer(location.uri, name, batches, os.environ) for name in ("left", "right")]
    for _, pipe in writers:
        assert pipe.recv() == "ready"
    for _, pipe in writers:
        pipe.send("go")
    while any(process.is_alive() for process, _ in writers):
        compact(table, keep_days=1)
    for process, _ in writers:
        process.join(30)
        assert process.exitcode == 0
    table.refresh()
    done = [commit["operation"] for commit in reversed(table.delta.history())]
    assert "WRITE" in done[done.index("OPTIMIZE") :]  # they did meet
    expected = _rows_of("left", batches) | _rows_of("right", batches)
    assert sorted(_raw_rows(location)) == sorted(expected)
    assert {key[::2] for key in FingerprintTable.open(location).keys("ok")} == expected
    assert list(verify_index(location)) == []
