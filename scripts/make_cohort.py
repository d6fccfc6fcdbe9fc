"""Make `provray/ancestry/data/cohort.safetensors`: the reference cohort for indexes too small to have their own.

    python scripts/make_cohort.py WORK_FOLDER

Trains unrelated image and text models from scratch (`provray.testbed.cohort`), fingerprints them on the default
probe sets, and keeps the mean unit vector of every readout. No model, seed or data of it appears in a score. Takes
about five minutes on two cores; run it again whenever a space changes (settings, probes, format).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import provray
from provray.ancestry.cohort import MINIMUM, mean_by_family
from provray.ancestry.fingerprint import assemble
from provray.crawl.crawl import crawl
from provray.crawl.settings import PoolSettings
from provray.index.table import FingerprintTable
from provray.sources import open_source
from provray.testbed.cohort import build_cohort


def main(folder: Path) -> None:
    """Train, fingerprint, average, write."""
    build_cohort(folder, progress=lambda p: print(f"{p.done}/{p.total} {p.model}", flush=True))
    table = FingerprintTable.create(folder / f"index-{provray.__version__}")
    report = crawl([open_source(str(folder / "indexed"))], table, pool=PoolSettings(workers=2))
    print(dict(report.statuses), report.failures)
    kept: dict[str, np.ndarray] = {}
    fingerprints = assemble(table.rows({row.space for row in table.facts()}))
    for kind in ("dna", "gif"):
        for space in sorted({getattr(f, kind).space for f in fingerprints}):
            members = [f for f in fingerprints if getattr(f, kind).space == space]
            means, size = mean_by_family(members, kind)
            if size < MINIMUM:
                raise SystemExit(f"only {size} unrelated models in {space}, {MINIMUM} are needed")
            print(space, size, "models,", len(means), "readouts")
            kept[f"{space}/size"] = np.array([size], np.float32)
            kept.update(
                {f"{space}/{name}": mean.astype(np.float32) for name, mean in means.items()}
            )
    target = Path(provray.__file__).parent / "ancestry" / "data" / "cohort.safetensors"
    target.parent.mkdir(exist_ok=True)
    save_file(kept, target)
    print(target, target.stat().st_size, "bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
