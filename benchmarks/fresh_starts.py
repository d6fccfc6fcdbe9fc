"""What ships, asked about networks that took part in nothing: who began alike and is no kin, and who is kin.

    python benchmarks/fresh_starts.py --seed 1 [--out docs/results/fresh-starts.json]

The families of the standard zoo on Fashion-MNIST under another seed: bases, children of a base, one of them disguised
(its neurons permuted, then trained on; the model in between is thrown away), two networks from
each base's initial weights, one trained on the same pictures in another order, one on others, and two thieves of each
base, one of another architecture. Every model is asked about twice, with its kin indexed and away, at several false
discovery rates. Nothing here was used to fit or to choose anything.

Pairs that are no kin are counted by what they are: said to share weights (true of one start alone), and claimed, that
is said to share learned ones.
Needs Fashion-MNIST (see `provray.testbed.pictures`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import provray
from provray.ancestry.snapshot import Snapshot
from provray.ancestry.verdict import judge
from provray.crawl.crawl import crawl
from provray.crawl.reading import read_index
from provray.crawl.settings import PoolSettings
from provray.index.table import FingerprintTable
from provray.sources import open_source
from provray.testbed.build import Item, Progress, build
from provray.testbed.folders import Record
from provray.testbed.zoo_plan import Plan
from provray.testbed.zoo_vision import (
    ARCHITECTURES,
    compressed,
    evasions,
    networks,
    same_start,
    thefts,
    trained_children,
)

RATES = (0.01, 0.05, 0.1, 0.2)
AGAIN, ELSEWHERE = "same start, same data", "same start, other data"
ROBBED, OTHERS = "thief and victim", "others"
CHILDREN, DISGUISED, BETWEEN = "children", "permuted and trained on", ".permuted"


def items(seed: int) -> list[Item]:
    """Bases, their children, networks that only began as they did, and thieves."""
    plan = Plan("fresh starts", seed)
    for architecture in ARCHITECTURES:
        for base in networks(plan, "fashion", architecture, longer=0.5):
            trained_children(plan, base, only=("fine-tune", "new-head"))
            compressed(plan, base, only=("int4", "prune-80"))
            evasions(plan, base, only=("permuted",))
            trained_children(
                plan, replace(base, model=f"{base.model}{BETWEEN}"), only=("fine-tune",)
            )
            same_start(plan, base)
            thefts(plan, base, budgets=(2000,), hard=(False,))
    return plan.items


def _began(record: Record) -> str:
    """The base whose initial weights a model goes back to."""
    if record.relation == "stolen":
        return record.model
    return record.model.split(" start ")[0].split(".")[0]


def _kind(one: Record, other: Record) -> str:
    """What two models are to each other that are no kin."""
    if _began(one) == _began(other):
        return AGAIN if "again" in one.model + other.model else ELSEWHERE
    robbed = any(
        a.relation == "stolen" and b.model in a.parents for a, b in ((one, other), (other, one))
    )
    return ROBBED if robbed else OTHERS


def _child(record: Record) -> tuple[str, Sequence[str]]:
    """What kind of child a model is (empty: none), and the parents that are looked for."""
    if not record.parents or record.relation == "stolen":
        return "", ()
    if record.parents[0].endswith(BETWEEN):
        return DISGUISED, [_began(record)]
    return CHILDREN, record.parents


def ask(records: Sequence[Record], snapshot: Snapshot, rate: float) -> Counter[str]:
    """Pairs looked at and claimed, by what they are; children asked about, and whose parent was found."""
    found: Counter[str] = Counter()
    named = {r.model: r for r in records}
    family = {r.model: r.model if " start " in r.model else _began(r) for r in records}
    fingerprints = {f.model: f for f in snapshot.profiles(list(family))}
    for record in records:
        kin = {m for m, of in family.items() if of == family[record.model]}
        suspect = fingerprints[record.model]
        kind, parents = _child(record)
        near = judge(suspect, snapshot, leave_out=[record.model], fdr=rate, top_k=len(family))
        away = judge(suspect, snapshot, leave_out=sorted(kin), fdr=rate, top_k=len(family))
        claimed = {c.model for c in away.candidates if c.inherits}
        sharing = {c.model for c in away.candidates if c.shares}
        found["asked without kin"] += 1
        found["asked without kin, any claim"] += bool(claimed)
        for other in family.keys() - kin:
            pair = _kind(record, named[other])
            found[f"{pair}: pairs"] += 1
            found[f"{pair}: said to share weights"] += other in sharing
            found[f"{pair}: claimed"] += other in claimed
        if kind:
            found[kind] += 1
            found[f"{kind}, parent said to share weights"] += any(
                c.model in parents and c.shares for c in near.candidates
            )
            found[f"{kind}, parent claimed"] += any(
                c.model in parents and c.inherits for c in near.candidates
            )
            found[f"{kind}, parent first"] += bool(
                near.ancestors and near.ancestors[0].model in parents
            )
            found[f"{kind}, any claim that is no kin"] += any(
                c.inherits and c.model not in kin for c in near.candidates
            )
    return found


def measure(zoo: Path, seed: int) -> dict[str, Any]:
    """Build, crawl and ask."""

    def told(progress: Progress) -> None:
        print(f"{progress.done}/{progress.total} {progress.model}", file=sys.stderr)

    made = build(zoo, items(seed), workers=2, progress=told)
    records = [record for record in made if not record.model.endswith(BETWEEN)]
    for record in made:
        if record not in records:
            shutil.rmtree(zoo / "indexed" / record.model)
    table = FingerprintTable.create(zoo / "index")
    report = crawl([open_source(str(zoo / "indexed"))], table, pool=PoolSettings(workers=2))
    assert not report.failures, report.failures
    snapshot = read_index(zoo / "index")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, no GPU",
        "command": f"python benchmarks/fresh_starts.py --seed {seed}",
        "provray": provray.__version__,
        "models": len(records),
        "rates": {str(rate): dict(sorted(ask(records, snapshot, rate).items())) for rate in RATES},
    }


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(measure(Path(folder), given.seed), indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # deltalake's runtime aborts some interpreters at exit
