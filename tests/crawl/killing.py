"""Crawls in processes of their own, so that they can be killed: what they said, what survives them, what they left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deltalake import DeltaTable

from provray.index.location import IndexLocation
from provray.index.row import Key, Row
from provray.index.table import FingerprintTable
from tests.crawl.small import parent
from tests.models import tiny

_MARK = "PROVRAY_TESTS_DRIVER"
"""In the environment of a driver, and so of every process that Ray starts for it."""

_PATIENCE = 500.0
"""Seconds until something that does not happen fails a test; nothing is measured by it."""


class Driver:
    """A Python script that crawls, with a Ray cluster of its own. Its standard error goes to `log`.

    ray: folder of that cluster's files; a short path, since sockets lie in it.
    """

    def __init__(self, script: str, *arguments: object, log: Path, ray: Path) -> None:
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", script, *map(str, arguments)],
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, name: value, "RAY_TMPDIR": str(ray)},
            )

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The JSON lines of this kind that it has written so far. A line that was cut by a kill is none."""
        lines = self.log.read_text(errors="replace").split("\n")[:-1]
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if event["event"] == kind]

    def models(self, kind: str) -> list[str]:
        """The models that events of this kind are about, in order."""
        return [event["model"] for event in self.events(kind)]

    def in_flight(self) -> set[str]:
        """Models that were begun and not finished."""
        return set(self.models("started")) - set(self.models("finished"))

    def wait_for(self, kind: str, count: int = 1) -> None:
        """Wait until it has written so many lines of a kind."""

        def seen() -> bool:
            ended = self.process.poll() is not None
            enough = len(self.events(kind)) >= count
            assert enough or not ended, f"it ended too soon: {self.log.read_text()[-3000:]}"
            return enough

        until(seen)

    def finish(self, seconds: float = _PATIENCE) -> None:
        """Wait for its end, which must be a good one."""
        assert self.process.wait(seconds) == 0, self.log.read_text()[-3000:]

    def kill(self) -> None:
        """SIGKILL; nothing if it has ended."""
        self.process.kill()
        self.process.wait(_PATIENCE)

    def family(self) -> dict[int, str]:
        """Process ids and command lines of all living processes that it started, itself included."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = line.decode(errors="replace")
            except OSError:
                continue
        return found

    def stopped(self) -> bool:
        """Whether nothing of it works any more: its workers, raylets and their control store have ended.

        Ray's agents, which only report, look for their cluster for a minute more.
        """
        working = ("ray::Worker", "/raylet/raylet", "/gcs/gcs_server")
        return not any(each in line for line in self.family().values() for each in working)

    def gone(self) -> bool:
        """Whether nothing of it is left."""
        return not self.family()


def children(process: int) -> list[str]:
    """Titles of a process's children. Ray names a worker after the call that it is in."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and parent(int(entry.name)) == process:
                line = (entry / "cmdline").read_bytes().split(b"\0")[0]
                found.append(line.decode(errors="replace").strip())
    return found


def until(true: Callable[[], bool], pause: float = 0.02) -> None:
    """Wait for something to become true, with so many seconds between looks."""
    end = time.monotonic() + _PATIENCE
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(pause)


def varied_models(root: Path, count: int) -> Path:
    """Different small models that take some tenths of a second each, images and texts by turns."""
    for number in range(count):
        kind = ("vit", "bert")[number % 2]
        model = tiny.build(kind, num_hidden_layers=6 + number % 3, hidden_size=64)
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        tiny.save(root / f"m{number:02}", model)
    return root


def rows_of(index: Path) -> dict[Key, Row]:
    """The newest row of each key, `ok` ones with their vectors."""
    table = FingerprintTable.open(index)
    facts = table.facts()
    whole = {row.key: row for row in table.rows({row.space for row in facts})}
    return {row.key: whole.get(row.key, row) for row in facts}


def raw_keys(index: Path) -> list[Key]:
    """The key of every row in the table, also of those that newer ones replace."""
    data = DeltaTable(IndexLocation.of(index).table_uri).to_pyarrow_dataset()
    columns = data.to_table(columns=["model", "revision", "space"]).to_pydict()
    return list(zip(columns["model"], columns["revision"], columns["space"], strict=True))


def assert_same_rows(index: Path, undisturbed: Path) -> None:
    """Both hold the same keys with the same statuses and, to 1e-6, the same vectors; the first holds each once."""
    found, expected = rows_of(index), rows_of(undisturbed)
    assert {k: r.status for k, r in found.items()} == {k: r.status for k, r in expected.items()}
    for key, row in expected.items():
        np.testing.assert_allclose(
            found[key].vectors, row.vectors, rtol=0, atol=1e-6, err_msg=str(key)
        )
    assert sorted(raw_keys(index)) == sorted(expected)


def left_of_work(index: Path) -> list[str]:
    """Whatever crawls left of their journals."""
    return sorted(str(p.relative_to(index)) for p in (index / "work").rglob("*") if p.is_file())
