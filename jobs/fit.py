"""`provray zoo fit` as a job: the same arguments."""

from __future__ import annotations

import hashlib
from typing import Any

from provray.cli.as_job import command, run_job


def work(arguments: list[str]) -> Any:
    """Fit what verdicts are calibrated by. Told are the files with their SHA-256."""
    written = command("zoo", "fit", *arguments)
    return {"written": {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in written}}


if __name__ == "__main__":
    run_job("fit", work)
