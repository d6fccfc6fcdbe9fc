"""`provray verify` and `provray compact`: what people and machines read, and the exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from provray.index.table import FingerprintTable
from tests.index.small import failed_row, unit_row


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Three commits, one row that a newer one replaces."""
    table = FingerprintTable.create(tmp_path / "index")
    table.append([unit_row("a", 1), failed_row("b", "crashed")])
    table.append([unit_row("b", 2, seconds=5)])
    table.append([unit_row("c", 3)])
    return tmp_path / "index"


def test_a_sound_index_is_said_to_be_sound(provray: Any, index: Path) -> None:
    ran = provray("verify", "--index", index)
    assert ran.code == 0
    assert f"{index} at version 3: sound" in ran.out


def test_damage_ends_with_one_and_says_what_to_do(provray: Any, index: Path) -> None:
    odd = np.full((1, 8), np.nan, np.float32)
    FingerprintTable.open(index).append([unit_row("lab/[odd]", vectors=odd)])
    ran = provray("verify", "--index", index)
    assert ran.code == 1
    assert "damaged lab/[odd] (weights-1): has vectors that are not finite" in ran.out
    assert "What to do: crawl the model into a new index" in ran.out
    assert "1 things damaged" not in ran.out
    as_json = provray("verify", "--index", index, "--json")
    assert as_json.code == 1
    assert as_json.json["sound"] is False
    assert as_json.json["index"] == {"uri": str(index), "version": 4}
    (finding,) = as_json.json["findings"]
    assert set(finding) == {"where", "says", "remedy"}


def test_a_lost_file_is_said_though_no_cache_can_be_compared(provray: Any, index: Path) -> None:
    (index / "cache" / "v3-abc-3").mkdir(parents=True)
    (index / "cache" / "v2-abc-3").mkdir()
    next((index / "table" / "kind=weights").glob("*.parquet")).unlink()
    ran = provray("verify", "--index", index)
    assert ran.code == 1
    assert ".parquet" in ran.out
    assert "cache/v2-abc-3" in ran.out
    assert "3 things are damaged" in ran.out


def test_compaction_says_what_it_did(provray: Any, index: Path) -> None:
    ran = provray("compact", "--index", index)
    assert ran.code == 0, ran.err
    lines = {" ".join(line.split()) for line in ran.out.splitlines()}
    assert "files of the newest version 3 1" in lines
    assert "superseded rows 1 0" in lines
    again = provray("compact", "--index", index, "--keep-days", 30, "--json").json
    assert (again["files_before"], again["files_after"], again["rows_removed"]) == (1, 1, 0)
    assert provray("show", "--index", index, "--json").json["models"] == 3


def test_a_time_that_cannot_be_kept_ends_with_two(provray: Any, index: Path) -> None:
    assert provray("compact", "--index", index, "--keep-days", 0).code == 2
    ran = provray("compact", "--index", index, "--keep-days", 400)
    assert ran.code == 2
    assert "for 1 to 365 days, got 400" in " ".join(ran.err.split())
