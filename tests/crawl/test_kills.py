"""Crawls whose driver or workers are killed, starved or stopped: nothing is lost, doubled, or repeated but what was
in flight; and a poisonous model costs a slot, not the crawl.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from provray.crawl.crawl import crawl
from provray.crawl.progress import Progress, outcome
from provray.crawl.settings import Compute, Fetching
from provray.index.row import Row
from provray.index.table import FingerprintTable
from provray.sources import open_source
from provray.testbed.local_hub import LocalHub
from tests.crawl.killing import (
    Driver,
    assert_same_rows,
    left_of_work,
    raw_keys,
    rows_of,
    until,
    varied_models,
)
from tests.crawl.small import POOL, small_probes, tiny_folder, working
from tests.models import tiny

MODELS = 14
KILLS = 3

DRIVER = """
import sys
import provray.crawl.crawl as crawling
from provray.cli.crawl_progress import JsonLines
from provray.crawl.settings import PoolSettings, available_cores
from provray.index.table import FingerprintTable
from provray.sources import open_source
from tests.crawl.small import small_probes

crawling._COMMIT_MODELS = 3
crawling._COMMIT_SECONDS = 600.0
models, index = sys.argv[1:]
crawling.crawl(
    [open_source(models)],
    FingerprintTable.create(index),
    probes=small_probes(),
    pool=PoolSettings(workers=min(2, available_cores()), seconds_per_model=120),
    progress=JsonLines(),
)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return varied_models(tmp_path_factory.mktemp("models"), MODELS)


@pytest.fixture(scope="module")
def undisturbed(models: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """The index of a crawl that nobody disturbed."""
    index = tmp_path_factory.mktemp("undisturbed") / "index"
    table = FingerprintTable.create(index)
    report = crawl([open_source(str(models))], table, probes=small_probes(), pool=POOL)
    assert report.statuses == {"ok": MODELS}
    return index


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A folder with a short path, for the files of private clusters."""
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def fat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a small architecture with 300 MB of weights, and two slim ones."""
    root = varied_models(tmp_path_factory.mktemp("fat"), 2)
    tiny.save(root / "fat", tiny.build("bert", vocab_size=1_200_000, hidden_size=64))
    return root


@pytest.fixture(scope="module")
def runs() -> Iterator[list[Driver]]:
    """Where drivers are kept. In the end nothing of them may be left: Ray's agents take a minute, so that is seen to
    after all tests of this module."""
    kept: list[Driver] = []
    yield kept
    until(lambda: all(run.gone() for run in kept))


def test_a_driver_killed_again_and_again_loses_doubles_and_repeats_nothing(
    models: Path, undisturbed: Path, runs: list[Driver], ray_folder: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    moments = random.Random(3)
    try:
        for kill in range(KILLS + 1):
            runs.append(Driver(DRIVER, models, index, log=tmp_path / f"{kill}.log", ray=ray_folder))
            if kill == KILLS:
                break
            runs[-1].wait_for("finished", moments.randint(1, 2))
            time.sleep(moments.uniform(0, 0.3))
            runs[-1].kill()
            assert runs[-1].process.returncode == -signal.SIGKILL
            until(runs[-1].stopped)
        runs[-1].finish()
    finally:
        for run in runs:
            run.kill()
    assert_same_rows(index, undisturbed)
    assert left_of_work(index) == []
    finished = Counter(model for run in runs for model in run.models("finished"))
    assert max(finished.values()) == 1, "a model that was finished is not computed again"
    in_flight = Counter(model for run in runs for model in run.in_flight())
    begun = Counter(model for run in runs for model in run.models("started"))
    assert all(begun[model] <= 1 + in_flight[model] for model in begun)
    assert all(len(run.in_flight()) <= 2 for run in runs)
    assert sum(event["models"] for run in runs for event in run.events("recovered")) > 0


class _Hunter:
    """While its context lasts, sends one signal to one worker that is inside `method`, once `ready` says so."""

    def __init__(self, method: str, signal: int, ready: Callable[[], bool] = lambda: True) -> None:
        self.hit: list[int] = []
        self._over = threading.Event()
        self._arguments = (method, signal, ready)
        self._thread = threading.Thread(target=self._hunt, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _hunt(self) -> None:
        method, number, ready = self._arguments
        while not self.hit and not self._over.wait(0.01):
            found = working(method) if ready() else []
            if found:
                os.kill(found[0], number)
                self.hit.append(found[0])


class _Order(Progress):
    """Keeps the statuses of models in the order in which they were finished."""

    def __init__(self) -> None:
        self.statuses: list[str] = []

    def finished(self, rows: Sequence[Row]) -> None:
        self.statuses.append(outcome(rows)[0])


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("method", ["fetch", "fingerprint"])
def test_a_worker_killed_over_a_remote_model_is_replaced_and_leaves_no_files(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    tiny.save(folder, tiny.build("bert", num_hidden_layers=40, hidden_size=64))
    table = FingerprintTable.create(tmp_path / "index")
    scratch = tmp_path / "scratch"
    with LocalHub(bandwidth=2e6) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        hub.push("org/m", folder)
        size = (folder / "model.safetensors").stat().st_size

        def arriving() -> bool:
            return any(scratch.rglob("model.safetensors"))

        with _Hunter(method, signal.SIGKILL, arriving) as hunter:
            report = crawl(
                [open_source("hf://org")],
                table,
                probes=small_probes(),
                pool=replace(POOL, workers=1),
                fetching=Fetching(scratch),
            )
        sent = sum(request.sent for request in hub.asked("model.safetensors"))
    assert len(hunter.hit) == 1
    assert report.statuses == {"ok": 1}
    assert sent > size, "it had to be fetched again"
    assert {row.status for row in table.facts()} == {"ok"}
    assert list(scratch.rglob("*")) == [], "the killed worker's files are gone, and its successor's"


@pytest.mark.usefixtures("ray_cluster")
def test_a_memory_bomb_is_too_large_and_costs_nobody_else(fat: Path, tmp_path: Path) -> None:
    table = FingerprintTable.create(tmp_path / "index")
    report = crawl(
        [open_source(str(fat))],
        table,
        probes=small_probes(),
        pool=POOL,
        compute=Compute(memory_bytes=300 * 2**20),
    )
    assert report.statuses == {"ok": 2, "too_large": 1}
    (failed,) = report.failures
    assert failed[0] == "fat"
    assert (
        failed[2] == "needs more memory than the 0.293 GiB a worker may take: raise --worker-memory"
    )
    assert crawl([open_source(str(fat))], table, pool=POOL).skipped == 3

    more = crawl(
        [open_source(str(fat))],
        table,
        pool=POOL,
        retry_failed=True,
        compute=Compute(memory_bytes=2 * 2**30),
    )
    assert (more.skipped, more.statuses) == (2, {"ok": 1})
    assert {row.status for row in rows_of(tmp_path / "index").values()} == {"ok"}


@pytest.mark.usefixtures("ray_cluster")
def test_a_hanging_model_holds_one_slot_until_its_time_is_up_and_is_tried_again_if_asked(
    tmp_path: Path,
) -> None:
    models = open_source(str(tiny_folder(tmp_path / "models")))
    table = FingerprintTable.create(tmp_path / "index")
    order = _Order()
    hasty = replace(POOL, seconds_per_model=15)
    with _Hunter("fingerprint", signal.SIGSTOP) as hunter:
        report = crawl([models], table, probes=small_probes(), pool=hasty, progress=order)
    assert len(hunter.hit) == 1
    assert report.statuses == {"ok": 3, "timeout": 1}
    assert order.statuses == ["ok", "ok", "ok", "timeout"]
    until(lambda: not Path(f"/proc/{hunter.hit[0]}").exists())
    (failed,) = [row for row in table.facts() if row.status == "timeout"]

    again = crawl([models], table, pool=POOL, retry_failed=True)
    assert (again.skipped, again.statuses) == (3, {"ok": 1})
    rows = rows_of(tmp_path / "index")
    assert rows[failed.key].status == "ok"
    assert len(rows) == 12
    assert raw_keys(tmp_path / "index").count(failed.key) == 2, "the failure stays on record"
