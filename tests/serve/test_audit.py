"""The audit log: whole lines from several writers, and a file that may be rotated."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

from provray.serve.audit import AuditLog

_LINES = 200


def _write(path: Path, writer: int) -> None:
    log = AuditLog(path)
    for number in range(_LINES):
        log.write({"writer": writer, "number": number, "asked": "x" * 300})


def test_lines_of_several_processes_stay_whole_and_in_each_ones_order(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    spawned = multiprocessing.get_context("spawn")
    processes = [spawned.Process(target=_write, args=(path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 3 * _LINES
    for writer in range(3):
        numbers = [line["number"] for line in lines if line["writer"] == writer]
        assert numbers == list(range(_LINES))
    assert all(line["time"].endswith("+00:00") for line in lines)


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.write({"n": 1})
    path.rename(tmp_path / "audit.1")
    until = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < until
        log.write({"n": 2})
        time.sleep(0.05)
    assert json.loads((tmp_path / "audit.1").read_text().splitlines()[0])["n"] == 1
    log.close()


def test_no_name_breaks_a_line(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.write({"model": "a\nb\u2028c\ud800"})
    log.close()
    content = (tmp_path / "audit.jsonl").read_bytes()
    assert content.count(b"\n") == 1
    assert json.loads(content)["model"].startswith("a\nb")
