"""Thousands of tiny models in one crawl: does it stay as fast and as small, and what does it add to each?

    python benchmarks/many_models.py --count 5000 --out docs/results [--workers 1]

Writes `many-models.json` and its part of `crawl.md`; how each figure is made stands there. The models have random
weights: nothing is said about what they are, only about what carries them. Some ten minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from crawl_models import tiny_folder
from crawl_report import write_page
from crawl_run import Ran, Run, run

BARE = 300
"""Models of the bare loop: half of them before the crawl, half after it."""
WARM = 3
"""Models before the bare loop's clock starts, one of each kind: a long crawl imports a model's class once."""
STEP = 1000
ROLES = ("driver", "workers", "raylet", "gcs", "rest of Ray")


def measure(work: Path, count: int, workers: int) -> dict[str, Any]:
    """All figures, as plain data."""
    folder = work / "models"
    tiny_folder(folder, count)
    chosen = np.random.default_rng(0).choice(count, min(BARE, count), replace=False)
    names = [f"{number:05}" for number in chosen]
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    load = os.getloadavg()[0]
    before = _bare(folder, work / "before", halves[0])
    ran = run(Run("crawl", str(folder), str(work / "crawl"), workers, few_probes=True))
    after = _bare(folder, work / "after", halves[1])
    few = work / "few"
    tiny_folder(few, min(BARE, count))
    profiled = run(
        Run("crawl", str(few), str(work / "profiled"), workers, few_probes=True, profile=True)
    ).figures
    figures = ran.figures
    return {
        "protocol": {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, two cores, 24 GiB, no GPU",
            "command": f"python benchmarks/many_models.py --count {count} --out docs/results --workers {workers}",
            "models": count,
            "workers": workers,
            "bare": len(before["each"]) + len(after["each"]),
            "load before": load,
        },
        "statuses": figures["statuses"],
        "seconds": {part: value for part, value in figures.items() if part.startswith("seconds")},
        "added": added(ran, (before, after), workers),
        "thousands": thousands(figures["begun"], figures["finishes"]),
        "memory": {role: memory(ran, role) for role in ROLES},
        "processes": ran.tree.used(),
        "driver, milliseconds a model": {
            part: 1000 * seconds / profiled["models"] for part, seconds in profiled["parts"].items()
        },
    }


def _bare(folder: Path, work: Path, names: Sequence[str]) -> dict[str, Any]:
    warm = [f"{number:05}" for number in range(WARM)]
    models = (*warm, *names)
    wanted = Run(
        "bare", str(folder), str(work), few_probes=True, models=models, unmeasured=len(warm)
    )
    return run(wanted).figures


def added(ran: Ran, bare: Sequence[Mapping[str, Any]], workers: int) -> dict[str, Any]:
    """Milliseconds of a worker's time per model, and what of it is not the model's own load and compute; the same in
    CPU time, of all processes."""
    figures, count = ran.figures, ran.figures["models"]
    each = [seconds for half in bare for seconds in half["each"]]
    busy = [seconds for half in bare for seconds in half["each, CPU"]]
    taken = 1000 * workers * figures["seconds from first begun to last committed"] / count
    own = 1000 * statistics.mean(each)
    return {
        "milliseconds": taken,
        "own milliseconds": own,
        "added milliseconds": taken - own,
        "standard error": 1000 * statistics.stdev(each) / len(each) ** 0.5,
        "added with start and end": 1000 * workers * figures["seconds"] / count - own,
        "own CPU milliseconds": 1000 * statistics.mean(busy),
        "CPU milliseconds": {role: _steady(ran, role) for role in ROLES},
    }


def _steady(ran: Ran, role: str) -> float:
    """CPU milliseconds of a role per model, between a twentieth of the models and the last of them."""
    finishes = ran.figures["finishes"]
    looks = [(look.at, look.seconds[role]) for look in ran.tree.looks if role in look.seconds]
    done = np.searchsorted(finishes, [at for at, _ in looks])
    used = np.array([seconds for _, seconds in looks])
    running = (done >= len(finishes) // 20) & (done < len(finishes))
    models = done[running][-1] - done[running][0]
    return float(1000 * (used[running][-1] - used[running][0]) / models)


def thousands(begun: float, finishes: Sequence[float]) -> list[float]:
    """Seconds of each full thousand of models."""
    marks = [begun, *finishes[STEP - 1 :: STEP]]
    return [end - begin for begin, end in pairwise(marks)]


def memory(ran: Ran, role: str) -> dict[str, float]:
    """MiB of the largest process of a role: when a twentieth of the models was done, at the end, at its peak, and the
    slope of a line through the second half, per thousand models."""
    finishes = np.array(ran.figures["finishes"])
    looks = [(look.at, look.resident[role]) for look in ran.tree.looks if role in look.resident]
    done = np.searchsorted(finishes, [at for at, _ in looks])
    held = np.array([resident for _, resident in looks]) / 2**20
    running = (done >= len(finishes) // 20) & (done < len(finishes))
    late = running & (done >= len(finishes) // 2)
    return {
        "start": float(held[running][0]),
        "end": float(held[running][-1]),
        "peak": ran.tree.used()[role]["peak bytes"] / 2**20,
        "slope": float(np.polyfit(done[late], held[late], 1)[0] * 1000),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work:
        found = measure(Path(work), given.count, given.workers)
    text = json.dumps(found, indent=1)
    print(text, file=sys.stderr)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "many-models.json").write_text(text + "\n", encoding="utf-8")
    write_page(given.out)


if __name__ == "__main__":
    main()
