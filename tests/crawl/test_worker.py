"""What a worker's process brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.models import tiny

_WEIGHS = """
import sys
from pathlib import Path
from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.settings import Fetching
from provray.crawl.worker import Worker
from provray.crawl.worklist import WorkItem
from provray.fingerprints.settings import FingerprintSettings
from provray.sources import open_source

models, scratch = sys.argv[1:]
worker = Worker(Fingerprinter(FingerprintSettings(), {}), {}, Fetching(Path(scratch)), 60.0, {})
(ref,) = open_source(models).models()
(row,) = worker.fingerprint(WorkItem(ref, ("weights",)))
print(row.status, row.vectors.shape, sorted({"torch", "transformers"} & sys.modules.keys()))
"""


def test_a_worker_that_only_weighs_brings_no_torch(tmp_path: Path) -> None:
    tiny.save(tmp_path / "models" / "vit", tiny.build("vit"))
    ran = subprocess.run(
        [sys.executable, "-c", _WEIGHS, tmp_path / "models", tmp_path / "scratch"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.stdout == "ok (2, 1024) []\n", ran.stderr
