"""What a question costs beyond fingerprinting the suspect, and its ratio to the bare FAISS search it rests on.

    python benchmarks/query.py ZOO --models 300 --out docs/results/query-benchmark.json

An index of so many models drawn from the zoo, held in memory as a service holds it; each of 100 other models of
the zoo is the suspect. One thread. `cold` reads the candidates' full fingerprints from the table, `warm` has them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.search_vector import behaviour_vector, weights_vector
from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.ancestry.verdict import judge
from provray.index.table import FingerprintTable
from provray.testbed.folders import read_truth
from provray.testbed.scoreboard.board import zoo_fingerprints

SUSPECTS = 100
_COUNT = 40


def _milliseconds(
    ask: Callable[[Fingerprint], Any], suspects: Sequence[Fingerprint]
) -> list[float]:
    taken = []
    for suspect in suspects:
        began = time.perf_counter()
        ask(suspect)
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def _told(taken: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(taken)), 2),
        "p95": round(float(np.percentile(taken, 95)), 2),
    }


def _bare(snapshot: Snapshot, suspect: Fingerprint) -> None:
    """The searches alone, vectors made beforehand left aside: they cost microseconds."""
    for readout in ("weights", "biases"):
        vector = weights_vector(suspect, readout)
        if vector is not None and readout in snapshot.searches:
            snapshot.searches[readout].search(vector, _COUNT)
    if suspect.dna is not None and suspect.modality in snapshot.searches:
        vector = behaviour_vector(suspect, snapshot.cohorts)
        snapshot.searches[suspect.modality].search(vector, _COUNT)


def measure(zoo: Path, models: int) -> dict[str, Any]:
    """Milliseconds of a question, cold and warm, and of its searches."""
    torch.set_num_threads(1)
    records = read_truth(zoo)
    known = zoo_fingerprints(FingerprintTable.open(zoo / "index"), records, [])
    order = np.random.default_rng(5).permutation(len(known))
    members = [known[int(n)] for n in order[:models]]
    suspects = [known[int(n)] for n in order[models : models + SUSPECTS]]
    with tempfile.TemporaryDirectory() as folder:
        table = FingerprintTable.create(Path(folder))
        rows = [r for m in members for r in (m.weights, m.dna, m.gif) if r is not None]
        table.append(rows)
        snapshot = open_snapshot(Path(folder), {r.space for r in rows})
        cold = _milliseconds(lambda s: judge(s, snapshot), suspects)
        warm = _milliseconds(lambda s: judge(s, snapshot), suspects)
        bare = _milliseconds(lambda s: _bare(snapshot, s), suspects)
        related = sum(bool(judge(s, snapshot).ancestors) for s in suspects)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, one thread",
        "command": f"python benchmarks/query.py ZOO --models {models}",
        "models": models,
        "suspects": len(suspects),
        "suspects with an ancestor named": related,
        "milliseconds": {"cold": _told(cold), "warm": _told(warm), "FAISS alone": _told(bare)},
        "ratio to FAISS": round(float(np.median(warm) / np.median(bare)), 1),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(argv)
    text = json.dumps(measure(given.zoo, given.models), indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # deltalake's runtime aborts some interpreters at exit
