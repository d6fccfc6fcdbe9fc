"""What a reader of an answer must know about how it was reached."""

from __future__ import annotations

from provray.ancestry.calibration import Calibration
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.inheritance import SAME
from provray.ancestry.snapshot import Snapshot


def warnings_of(
    suspect: Fingerprint, snapshot: Snapshot, calibration: Calibration
) -> tuple[str, ...]:
    """Plain sentences, each once."""
    said: list[str] = []
    if ("weights", SAME) not in snapshot.nulls:
        null = calibration.nulls.get(("weights", SAME))
        pairs = f" of {null.pairs} pairs" if null is not None else ""
        said.append(
            f"error rates rest on the shipped null{pairs}: the index has too few unrelated families for one of its own"
        )
    for row in (suspect.dna, suspect.gif):
        if row is None:
            continue
        said.extend(row.warnings)
        cohort = snapshot.cohorts.get(row.space)
        if cohort is None or cohort.origin == "none":
            size = cohort.size if cohort is not None else 0
            said.append(
                f"{row.kind} scores are not centred: the index has {size} unrelated families, fewer than 16, and "
                "no reference cohort fits its probe set; behaviour scores are less telling"
            )
        elif cohort.origin == "reference":
            said.append(
                f"{row.kind} scores are centred by the reference cohort of {cohort.size} models: the index has fewer "
                "than 16 unrelated families of its own"
            )
    if suspect.dna is None:
        said.append("no behaviour was measured: judged by weights alone")
    elif snapshot.default_probes(suspect.dna.probes):
        said.append(
            "theft through outputs was not asked: it needs probes of the victim's domain "
            "(`provray probes build --images DIR` or `--texts FILE`, then crawl and query with --probes)"
        )
    return tuple(dict.fromkeys(said))
