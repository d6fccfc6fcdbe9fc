"""What a job says of bad use, without a cluster to do it on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

JOB = """
import os
from provray.cli import as_job
as_job._join = lambda: None  # bad use is found before anything is asked of a cluster
as_job.run_job("crawl", lambda arguments: as_job.crawl_models(*arguments))
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["folder", "--index", "i", "--bogus"], "--bogus"),
        (["folder", "--index", "i", "--workers", "many"], "--workers"),
        (["folder"], "--index"),
        (["no-such-folder", "--index", "i"], "no-such-folder is not a directory"),
    ],
)
def test_bad_use_is_a_summary_and_the_code_of_bad_use(arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", JOB, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["job"], summary["state"]) == ("crawl", "failed")
    assert said in summary["error"]
    assert "Traceback" not in done.stderr
