"""Everything a verdict is calibrated by, fitted on a zoo: the command behind the files in `provray/ancestry/data`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from provray.ancestry.calibration import Calibration, write_calibration
from provray.ancestry.fingerprint import Fingerprint
from provray.index.table import FingerprintTable
from provray.testbed.domain_index import domain_fingerprints
from provray.testbed.fitting import direction
from provray.testbed.fitting.calibration import fit_calibration
from provray.testbed.fitting.pairs import Pairs, make_pairs
from provray.testbed.fitting.theft import (
    Question,
    fidelity_margins,
    fit_theft,
    make_questions,
)
from provray.testbed.folders import Record, read_truth
from provray.testbed.scoreboard.board import zoo_fingerprints
from provray.testbed.scoreboard.cases import data_of
from provray.testbed.scoreboard.outputs import measure_outputs

COMMAND = "provray zoo fit ZOO"


@dataclass(frozen=True)
class Evidence:
    """What a zoo has to say: its models with their fingerprints, every pair, every question of theft."""

    records: tuple[Record, ...]
    fingerprints: tuple[Fingerprint, ...]
    pairs: Pairs
    questions: tuple[Question, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the truth and the revisions."""
        return direction.data_digest(self.fingerprints, self.records)


def read_evidence(zoo: Path, progress: Callable[[int, int], None] | None = None) -> Evidence:
    """Of a zoo that was crawled (`provray eval` or `provray crawl` into ZOO/index).

    progress: told how many of the missing models were measured. Raises FileNotFoundError for a folder that is no
    zoo, BadIndex for one that was not crawled.
    """
    records = read_truth(zoo)
    fingerprints = zoo_fingerprints(FingerprintTable.open(zoo / "index"), records, [])
    revisions = {f.model: f.revision for f in fingerprints if f.revision}
    domains = sorted({data_of(record) for record in records})
    outputs = measure_outputs(zoo, records, revisions, domains)
    return Evidence(
        tuple(records),
        tuple(fingerprints),
        make_pairs(fingerprints, records),
        tuple(
            make_questions(
                records,
                domain_fingerprints(zoo, progress=progress),
                fidelity_margins(records, outputs),
            )
        ),
    )


def fit(evidence: Evidence, folds: Collection[int] = (0, 1)) -> Calibration:
    """The calibration that these folds give."""
    facts = {"command": COMMAND, "data": evidence.digest, "models": str(len(evidence.records))}
    made = fit_calibration(evidence.pairs, folds, **facts)
    return fit_theft(made, evidence.questions, folds)


def write_shipped(evidence: Evidence, folder: Path) -> list[Path]:
    """Fit on all folds and write what provray ships: `calibration.safetensors`, `direction.safetensors`."""
    calibration = folder / "calibration.safetensors"
    write_calibration(fit(evidence), calibration)
    path = folder / "direction.safetensors"
    direction.write(path, evidence.fingerprints, evidence.records, COMMAND)
    return [calibration, path]
