"""How the time of a bulk lineage grows with the index: made-up models in families of five, three sizes.

    python benchmarks/bulk.py --out docs/results        (some minutes on two cores)

Everything is counted that `provray lineage --bulk` does once Ray runs: opening the index, starting workers, judging
every model, putting all families in order, writing. CPU seconds are those of the workers at work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from serve_index import FAMILY, make_index

from provray.crawl.bulk import BulkSummary, lineage_of_all, read_lineage
from provray.crawl.cluster import join_ray

SIZES = (500, 2_000, 8_000)


def measure(models: int, workers: int) -> dict[str, Any]:
    """One size. Raises AssertionError if an arrow is missing or wrong: a fast wrong answer is no figure."""
    with tempfile.TemporaryDirectory() as folder:
        make_index(Path(folder), models)
        summary = lineage_of_all(folder, workers=workers)
        _check(summary)
    return {
        "models": models,
        "seconds": summary.seconds,
        "seconds_per_model": round(summary.seconds / models, 5),
        "cpu_seconds": summary.cpu_seconds,
        "cpu_seconds_per_model": round(summary.cpu_seconds / models, 5),
        "families": summary.families,
        "edges": summary.edges,
    }


def _check(summary: BulkSummary) -> None:
    assert summary.failed == 0
    assert summary.families == summary.models // FAMILY
    for edge in read_lineage(summary)["edges"]:
        assert edge["parent"].split("/")[0] == edge["child"].split("/")[0], edge


def slope(found: Sequence[dict[str, Any]], figure: str) -> float:
    """Of the figure against the number of models, both as logarithms: 1 is linear."""
    sizes, values = (np.log([f[name] for f in found]) for name in ("models", figure))
    return round(float(np.polyfit(sizes, values, 1)[0]), 3)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all sizes, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(argv)
    join_ray()
    load = os.getloadavg()[0]
    found = []
    for models in given.sizes:
        found.append(measure(models, given.workers))
        print(json.dumps(found[-1]), flush=True)
    whole = {
        "protocol": {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores, no GPU, {platform.machine()}",
            "command": "python benchmarks/bulk.py --out docs/results",
            "workers": given.workers,
            "load_before": round(load, 2),
        },
        "sizes": found,
        "slope": slope(found, "seconds"),
        "slope_cpu": slope(found, "cpu_seconds"),
    }
    print(f"slope {whole['slope']}, of CPU seconds {whole['slope_cpu']}")
    if given.out is not None:
        path = given.out / "bulk.json"
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
