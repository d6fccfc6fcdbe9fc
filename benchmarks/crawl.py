"""What a crawl costs beside a bare loop, what a second worker brings, how much of downloading is hidden.

    provray zoo build ZOO --spec small
    python benchmarks/crawl.py --zoo ZOO --out docs/results [--models 60] [--rounds 2]

Writes `crawl.json` and its part of `crawl.md`; how each figure is made stands there. Everything runs in processes of
its own, one compute thread each, one after the other and in turn. A quarter of an hour on two quiet cores.
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
from pathlib import Path
from typing import Any

from crawl_models import zoo_folder
from crawl_report import write_page
from crawl_run import Ran, Run, run
from slow_hub import SlowHub

LATENCY, BANDWIDTH = 0.3, 20e6
"""Of the slow hub: seconds before every answer, bytes per second of all connections together."""
WORKERS = (1, 2)
_SPAN = "seconds from first begun to last committed"


def measure(zoo: Path, work: Path, models: int, rounds: int) -> dict[str, Any]:
    """Every run of every round, as plain data."""
    folder = work / "models"
    copies = zoo_folder(zoo, folder, models)
    runs: dict[str, list[dict[str, Any]]] = {}
    with SlowHub(folder, LATENCY, BANDWIDTH) as hub:
        remote = {"HF_ENDPOINT": hub.endpoint}
        # Both organisations of the folder: what is listed is the same.
        listing = work / "hub.txt"
        listing.write_text("".join(f"hf://{org.name}\n" for org in sorted(folder.iterdir())))
        for number in range(rounds):
            for kind, source, workers in _plan(folder, listing, first=number == 0):
                name = f"{kind} {'hub' if source == listing else 'folder'} {workers}"
                load = os.getloadavg()[0]
                place = work / f"{name} {number}".replace(" ", "-")
                ran = run(Run(kind, str(source), str(place), workers), remote)
                runs.setdefault(name, []).append(
                    {**_told(ran), "load before": load, "hub": vars(hub.traffic())}
                )
                print(f"{name}: {ran.figures['seconds']:.1f} s", file=sys.stderr, flush=True)
    return {
        "protocol": {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, two cores, 24 GiB, no GPU",
            "command": f"python benchmarks/crawl.py --zoo ZOO --out docs/results --models {models} --rounds {rounds}",
            "models": models,
            "copies": copies,
            "bytes": sum(f.stat().st_size for f in folder.glob("*/*/*")),
            "latency": LATENCY,
            "bandwidth": BANDWIDTH,
        },
        "summary": summary(runs),
        "runs": runs,
    }


def _plan(folder: Path, listing: Path, *, first: bool) -> list[tuple[Any, Path, int]]:
    """The runs of one round; fetching alone, which nothing else disturbs, once."""
    plan: list[tuple[Any, Path, int]] = [("bare", folder, 1)]
    for workers in WORKERS:
        plan += [("crawl", folder, workers), ("crawl", listing, workers)]
    return [*plan, ("fetch", listing, 1)] if first else plan


def _told(ran: Ran) -> dict[str, Any]:
    left_out = ("each", "each, CPU", "finishes", "begun")
    figures = {name: value for name, value in ran.figures.items() if name not in left_out}
    return {**figures, "processes": ran.tree.used()}


def summary(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The figures that are asked for: medians over rounds, and ratios of them."""

    def median(name: str, part: str = "seconds") -> float:
        return float(statistics.median(one[part] for one in runs[name]))

    def settled(name: str) -> float:
        return float(
            statistics.median(one["seconds"] - one["seconds of Ray's start"] for one in runs[name])
        )

    bare, alone = median("bare folder 1"), runs["fetch hub 1"][0]["seconds"]
    found: dict[str, Any] = {
        "bare seconds": bare,
        "one worker against the bare loop": median("crawl folder 1") / bare,
        "the same without Ray's start": settled("crawl folder 1") / bare,
        "the same from first begun to last committed": median("crawl folder 1", _SPAN) / bare,
        "fetching alone, seconds": alone,
        "two workers against one": median("crawl folder 1") / median("crawl folder 2"),
        "two workers against one from first begun to last committed": median(
            "crawl folder 1", _SPAN
        )
        / median("crawl folder 2", _SPAN),
    }
    for workers in WORKERS:
        near, far = (median(f"crawl {where} {workers}", _SPAN) for where in ("folder", "hub"))
        found[f"hidden with {workers}"] = 1 - (far - near) / (alone / workers)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--zoo", type=Path, required=True, help="a built small zoo")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--models", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args(argv)
    # Beside the zoo, on its file system: its files are linked, not copied.
    with tempfile.TemporaryDirectory(dir=given.zoo.resolve().parent) as work:
        found = measure(given.zoo.resolve(), Path(work), given.models, given.rounds)
    print(json.dumps(found["summary"], indent=1))
    (given.out / "crawl.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(given.out)


if __name__ == "__main__":
    main()
