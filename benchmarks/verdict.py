"""The verdict scored on families it was not fitted on: `docs/results/verdict.{json,md,png}`.

    python benchmarks/strangers.py --index STRANGERS --count 4200        (unrelated networks; some forty minutes on
    two cores)
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
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
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
from provray.testbed.scoreboard.score_ranges import score_ranges
from provray.testbed.scoreboard.verdicts import (
    Outcome,
    Said,
    ask_fold,
    discover_fold,
    discoveries,
    fit_for,
)

FDR = 0.05
ANSWERS = ("answers", "twins", "lineages")


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


def read_strangers(folder: Path | None) -> list[Fingerprint]:
    """Fingerprints of an index of `benchmarks/strangers.py`."""
    if folder is None:
        return []
    table = FingerprintTable.open(folder)
    return assemble(table.rows({row.space for row in table.facts()}))


@contextmanager
def processes(evidence: Evidence, strangers: list[Fingerprint]) -> Iterator[ProcessPoolExecutor]:
    """Two processes that hold these."""
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder, "held")
        held.write_bytes(pickle.dumps({"evidence": evidence, "strangers": strangers}))
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, spawn, initializer=_hold, initargs=(str(held),)) as pool:
            yield pool


def measure(zoo: Path, strangers: Path | None, kept: dict[str, Any]) -> dict[str, Any]:
    """Every figure, as plain data; whole answers and lineages as in `kept`, if they are there."""
    evidence, others = read_evidence(zoo), read_strangers(strangers)
    _say(f"{len(evidence.records)} models, {len(others)} strangers")
    found: dict[str, Any] = {
        "protocol": {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores, no GPU, {platform.machine()}",
            "command": "python benchmarks/verdict.py ZOO --strangers STRANGERS --out docs/results",
            "models": len(evidence.records),
            "strangers": len(others),
            "data": evidence.digest,
            "fdr": FDR,
        },
    }
    with processes(evidence, others) as pool:
        if kept:
            found.update({part: kept[part] for part in ANSWERS})
        else:
            said = [s for part in pool.map(_ask, (0, 1)) for s in part]
            found["answers"] = verdict_report.summarise(said)
            found["twins"] = verdict_report.false_kin(said, evidence)
            scores = pool.map(_lineages, (0.0, 0.2))
            found["lineages"] = dict(zip((0.0, 0.2), scores, strict=True))
        outcomes = [o for part in pool.map(_discover, (0, 1)) for o in part]
    _say("scores")
    error, bins = verdict_score.score_calibration(evidence)
    ways = direction.make_pairs(evidence.fingerprints, evidence.records)
    found |= {
        "ranges": score_ranges(evidence),
        "inheritance": verdict_score.score_inheritance(evidence),
        "unseen": verdict_score.score_unseen(evidence),
        "theft": verdict_score.score_theft(evidence.questions),
        "calibration": {"error": error, "bins": bins},
        "direction": direction.score_direction(ways),
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
    parser.add_argument(
        "--keep-answers",
        action="store_true",
        help="keep whole answers and lineages of OUT/verdict.json, which take longest",
    )
    given = parser.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "verdict.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if given.keep_answers else {}
    found = measure(given.zoo, given.strangers, kept)
    (given.out / "verdict.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    verdict_report.write(found, given.out)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # deltalake's runtime aborts some interpreters at exit
