"""A crawl whose driver is killed twenty times, against one that nobody disturbs: `docs/results/kills.{json,md}`.

    python -m benchmarks.kills --out docs/results

From the root of the repository (it shares its drivers with the tests). Each driver has a Ray cluster of its own and is
killed with SIGKILL at a moment that a seed chooses: so long after its start, after it joined the index, after it
finished two models, stored one or wrote a file of the table. Two workers of one thread;
ten to twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from provray.index.location import IndexLocation
from provray.index.table import FingerprintTable
from provray.index.verify import verify_index
from tests.crawl.killing import (
    Driver,
    left_of_work,
    raw_keys,
    rows_of,
    until,
    varied_models,
)

SEED = 20
MODELS = 60
KILLS = 20
COMMIT_MODELS = 4
"""Instead of 32: as many commits to hit as in a crawl of five hundred models."""

_LONG = 3600.0
"""Seconds that a whole crawl may take: a busy machine is no failure."""

STAGES = {
    "start": ("after the process began: imports, opening the index", 6.0),
    "recovery": (
        "after it joined the index: commits of what others left, listing, Ray's start",
        1.0,
    ),
    "computing": ("after two models were finished", 1.5),
    "journal": ("after the first byte of a finished model's rows was stored", 0.004),
    "commit": ("after the first byte of a new file of the table was written", 0.03),
}
"""What each fifth of the kills is timed from, and up to how many seconds after it."""

DRIVER = f"""
import sys
import provray.crawl.crawl as crawling
from provray.cli.crawl_progress import JsonLines
from provray.crawl.settings import PoolSettings
from provray.index.table import FingerprintTable
from provray.sources import open_source
from tests.crawl.small import small_probes

crawling._COMMIT_MODELS = {COMMIT_MODELS}
models, index = sys.argv[1:]
crawling.crawl(
    [open_source(models)],
    FingerprintTable.create(index),
    probes=small_probes(),
    pool=PoolSettings(workers=2, seconds_per_model=300),
    progress=JsonLines(),
)
"""


@dataclass(frozen=True)
class Kill:
    """One SIGKILL. stage, delay: what it was timed from and seconds after that. age: of the driver, in seconds.

    version: of the table, after it. finished: models this driver had finished. in_flight: begun and not finished.
    waiting: finished models whose rows were in the journal and maybe not in the table. outlived: seconds that the last
    worker, raylet or control store of its cluster lived on.
    """

    stage: str
    delay: float
    age: float
    version: int
    finished: int
    in_flight: int
    waiting: int
    outlived: float


def main() -> None:
    """Run the study; prints and writes the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "token"
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        work = Path(name)
        models = varied_models(work / "models", MODELS)
        found = study(models, work)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "kills.json").write_text(json.dumps(found, indent=1) + "\n")
    page = report(found)
    (arguments.out / "kills.md").write_text(page)
    print(page)


def study(models: Path, work: Path) -> dict[str, Any]:
    """The killed crawl and the undisturbed one, and how they differ."""
    began = time.monotonic()
    calm = Driver(DRIVER, models, work / "calm", log=work / "calm.log", ray=work)
    calm.finish(_LONG)
    calm_seconds = time.monotonic() - began
    moments = random.Random(SEED)
    stages = [stage for stage in STAGES for _ in range(KILLS // len(STAGES))]
    moments.shuffle(stages)
    index = work / "killed"
    runs: list[Driver] = []
    kills: list[Kill] = []
    for number, stage in enumerate(stages):
        runs.append(Driver(DRIVER, models, index, log=work / f"{number}.log", ray=work))
        kill = kill_at(runs[-1], index, stage, moments.uniform(0, STAGES[stage][1]))
        kills.append(kill)
        print(f"{number + 1}/{KILLS}", kill, flush=True)
    runs.append(Driver(DRIVER, models, index, log=work / "last.log", ray=work))
    runs[-1].finish(_LONG)
    until(lambda: all(run.gone() for run in runs))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
        "command": "python -m benchmarks.kills --out docs/results",
        "seed": SEED,
        "models": MODELS,
        "seconds_undisturbed": round(calm_seconds, 1),
        "kills": [asdict(kill) for kill in kills],
        **compare(index, work / "calm"),
        **repeated(runs),
    }


def kill_at(driver: Driver, index: Path, stage: str, delay: float) -> Kill:
    """Kill a driver so long after it reached a stage. Raises RuntimeError if it ended before."""
    began = time.monotonic()
    before = _traces(index, stage)

    def reached() -> bool:
        if driver.process.poll() is not None:
            raise RuntimeError(f"a driver ended before {stage}: {driver.log.read_text()[-3000:]}")
        if stage == "computing":
            return len(driver.events("finished")) >= 2
        return stage == "start" or bool(_traces(index, stage) - before)

    until(reached, 0.001)
    time.sleep(delay)
    driver.kill()
    age = time.monotonic() - began
    if driver.process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"a driver ended before it was killed at {stage}")
    killed = time.monotonic()
    until(driver.stopped)
    return Kill(
        stage,
        round(delay, 4),
        round(age, 2),
        FingerprintTable.open(index).version if (index / "table").exists() else -1,
        len(driver.models("finished")),
        len(driver.in_flight()),
        len(list((index / "work").glob("*/*.rows"))),
        round(time.monotonic() - killed, 2),
    )


def _traces(index: Path, stage: str) -> set[Path]:
    """Files by which a stage can be seen from outside."""
    patterns = {
        "recovery": "work/*/alive*",
        "journal": "work/*/*.rows*",
        "commit": "table/kind=*/*",
    }
    return set(index.glob(patterns[stage])) if stage in patterns else set()


def compare(index: Path, calm: Path) -> dict[str, Any]:
    """How the killed crawl's table differs from the undisturbed one's."""
    found, expected = rows_of(index), rows_of(calm)
    both = found.keys() & expected.keys()
    raw = raw_keys(index)
    return {
        "rows": len(expected),
        "rows_lost": len(expected.keys() - found.keys()),
        "rows_more": len(found.keys() - expected.keys()),
        "rows_doubled": len(raw) - len(set(raw)),
        "statuses_differing": sum(found[key].status != expected[key].status for key in both),
        "largest_difference": max(
            float(np.abs(found[key].vectors - expected[key].vectors).max()) for key in both
        ),
        "left_under_work": len(left_of_work(index)),
        "complaints_of_verify": [
            str(complaint) for complaint in verify_index(IndexLocation.of(index))
        ],
    }


def repeated(runs: Sequence[Driver]) -> dict[str, Any]:
    """What was computed, and what of it more than once."""
    begun = Counter(model for run in runs for model in run.models("started"))
    finished = Counter(model for run in runs for model in run.models("finished"))
    return {
        "models_begun": sum(begun.values()),
        "models_finished": sum(finished.values()),
        "models_in_flight_at_kills": sum(len(run.in_flight()) for run in runs),
        "models_begun_again": sum(begun.values()) - len(begun),
        "models_finished_twice": sum(count > 1 for count in finished.values()),
        "models_recovered": sum(
            event["models"] for run in runs for event in run.events("recovered")
        ),
    }


def report(found: dict[str, Any]) -> str:
    """The page."""
    kills = found["kills"]
    lines = [
        f"date: {found['date']}",
        f"machine: {found['machine']}",
        f"command: {found['command']}",
        "",
        "# Twenty kills",
        "",
        f"A crawl of {found['models']} small models (images and texts by turns, some tenths of a second each, 24 "
        "probes) by two workers. Its driver, a process",
        f"with a Ray cluster of its own, is killed with SIGKILL {len(kills)} times at moments of a seed "
        f"({found['seed']}), each time started again, and at last left alone.",
        "Then its table is compared with that of a crawl that nobody disturbed. A batch is committed after "
        f"{COMMIT_MODELS} models instead of 32, so that there are",
        "commits to hit. A fifth of the kills each is timed from:",
        "",
        *(f"- {stage}: {what}, up to {most:g} s later" for stage, (what, most) in STAGES.items()),
        "",
        "| | |",
        "| --- | --- |",
        f"| rows of the undisturbed crawl | {found['rows']} |",
        f"| lost | {found['rows_lost']} |",
        f"| more than there should be | {found['rows_more']} |",
        f"| stored twice | {found['rows_doubled']} |",
        f"| with another status | {found['statuses_differing']} |",
        f"| largest difference of any number of any vector | {found['largest_difference']:.1e} |",
        f"| models in flight at the {len(kills)} kills | {found['models_in_flight_at_kills']} |",
        f"| times that a model was begun again | {found['models_begun_again']} |",
        f"| models that were finished and computed again | {found['models_finished_twice']} |",
        f"| finished models that a later crawl took from the journal of a killed one | {found['models_recovered']} |",
        f"| files left of journals | {found['left_under_work']} |",
        f"| complaints of `provray verify` | {len(found['complaints_of_verify'])} |",
        "| the last worker or raylet ended after its driver's death | "
        f"{max(k['outlived'] for k in kills):.1f} s at most |",
        "",
        "| kill | timed from | seconds after that | age of the driver, s | models finished by it | in flight "
        "| journal holds | version of the table |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {number} | {k['stage']} | {k['delay']:.3f} | {k['age']:.1f} | {k['finished']} | {k['in_flight']} | "
            f"{k['waiting']} | {k['version']} |"
            for number, k in enumerate(kills, 1)
        ),
        "",
        "A model counts as in flight if the driver said that a worker took it and not that it was finished. Ages say "
        "when, not how fast: the machine",
        "had other work too. Workers, raylet and control store end with the driver; Ray's agents, which only report, "
        "look for their cluster for a",
        "minute more. In the end no process was left. The kills are the driver's: killed workers and nodes are in "
        "`tests/crawl/test_kills.py` and",
        "`test_nodes.py`, killed writers of a table in a bucket in `tests/index/test_kills.py`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
