"""The verdict scored on families it was not fitted on: `docs/results/verdict.{json,md,png}`.

    python benchmarks/strangers.py --index STRANGERS --count 4200        (unrelated networks; an hour and more on
    one core)
    python benchmarks/verdict.py ZOO --strangers STRANGERS --out docs/results        (after `make zoo`; two cores)

Whatever is fitted (weights of scores, nulls, direction, gaps of theft) is fitted on one fold of families and
scored on the other. Intervals are 95 % over families.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import platform
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provray.ancestry.fingerprint import Fingerprint, assemble
from provray.ancestry.relatives import relatives
from provray.index.table import FingerprintTable
from provray.testbed.fitting import direction
from provray.testbed.fitting.verdict import Evidence, read_evidence
from provray.testbed.scoreboard import verdict_report, verdict_score
from provray.testbed.scoreboard.lineage_score import Rules, score_lineages
from provray.testbed.scoreboard.parts import fold_cohorts
from provray.testbed.scoreboard.verdicts import (
    Outcome,
    Said,
    ask_fold,
    discover_fold,
    discoveries,
    fit_for,
)

FDR = 0.05


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_HELD: dict[str, Any] = {}
"""What each process works on: `evidence`, `strangers`."""


def _hold(file: str) -> None:
    """Called once in each process: the table's runtime does not survive a fork, so everything is read again."""
    _HELD.update(pickle.loads(Path(file).read_bytes()))


def _ask(fold: int) -> list[Said]:
    return ask_fold(_HELD["evidence"], fold, FDR, _say)


def _discover(fold: int) -> list[Outcome]:
    return discover_fold(_HELD["evidence"], fold, _HELD["strangers"], progress=_say)


def _lineages(removed: float) -> Any:
    evidence = _HELD["evidence"]
    rules = [_rules(evidence, fold) for fold in (0, 1)]
    return score_lineages(evidence.records, evidence.fingerprints, rules, removed)


def _rules(evidence: Evidence, fold: int) -> Rules:
    """What decides in this fold: nulls, weights, direction and cohorts of the other one."""
    fitted = fit_for(evidence, fold)
    outside = [
        f for f, of in zip(evidence.fingerprints, evidence.pairs.folds, strict=True) if of != fold
    ]
    cohorts = {**fold_cohorts(outside, "dna"), **fold_cohorts(outside, "gif")}
    return Rules(
        lambda members: relatives(members, cohorts, fitted.calibration, {}, FDR),
        fitted.direction_of,
    )


def measure(zoo: Path, strangers: Path | None) -> dict[str, Any]:
    """Every figure, as plain data."""
    evidence = read_evidence(zoo)
    others: list[Fingerprint] = []
    if strangers is not None:
        table = FingerprintTable.open(strangers)
        others = assemble(table.rows({row.space for row in table.facts()}))
    _say(f"{len(evidence.records)} models, {len(others)} strangers")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(
            2,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_hold,
            initargs=(f"{folder}/held",),
        ) as pool,
    ):
        Path(folder, "held").write_bytes(pickle.dumps({"evidence": evidence, "strangers": others}))
        said = [s for part in pool.map(_ask, (0, 1)) for s in part]
        lineages = dict(zip((0.0, 0.2), pool.map(_lineages, (0.0, 0.2)), strict=True))
        outcomes = [o for part in pool.map(_discover, (0, 1)) for o in part]
    _say("scores")
    error, bins = verdict_score.score_calibration(evidence)
    ways = direction.score_direction(direction.make_pairs(evidence.fingerprints, evidence.records))
    found = {
        "protocol": {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores, no GPU, {platform.machine()}",
            "command": "python benchmarks/verdict.py ZOO --strangers STRANGERS --out docs/results",
            "models": len(evidence.records),
            "strangers": len(others),
            "data": evidence.digest,
            "fdr": FDR,
        },
        "inheritance": verdict_score.score_inheritance(evidence),
        "unseen": verdict_score.score_unseen(evidence),
        "theft": verdict_score.score_theft(evidence.questions),
        "calibration": {"error": error, "bins": bins},
        "direction": ways,
        "lineages": lineages,
        "answers": verdict_report.summarise(said),
        "twins": verdict_report.false_kin(said, evidence),
        "discoveries": discoveries(outcomes),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    return value.item() if hasattr(value, "item") else asdict(value)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, write JSON, page and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--strangers", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(argv)
    found = measure(given.zoo, given.strangers)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "verdict.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    verdict_report.write(found, given.out)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # deltalake's runtime aborts some interpreters at exit
