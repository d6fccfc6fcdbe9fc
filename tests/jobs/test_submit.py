"""What is submitted: its id, its package, its resources; and what a job says where there is no cluster."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package

from tests.jobs.cluster import ROOT

JOBS = ("crawl", "refresh", "rebuild", "lineage", "evaluate", "fit")
SUBMIT: dict[str, Any] = runpy.run_path(str(ROOT / "jobs" / "submit.py"))


def packed(folder: Path, into: Path) -> ZipFile:
    """As Ray packs it when a job is submitted."""
    settings = yaml.safe_load((ROOT / "jobs" / "runtime_env.yaml").read_text())
    create_package(str(folder), into, include_gitignore=True, excludes=settings["excludes"])
    return ZipFile(into)


def test_the_package_is_small_and_holds_the_code(tmp_path: Path) -> None:
    made = packed(ROOT, tmp_path / "package.zip")
    names = set(made.namelist())
    assert {f"jobs/{job}.py" for job in JOBS} < names
    assert {"provray/crawl/bulk.py", "provray/ancestry/data/calibration.safetensors"} < names
    assert {name.split("/")[0] for name in names} == {"jobs", "provray"}
    assert not [name for name in names if "__pycache__" in name]
    assert (tmp_path / "package.zip").stat().st_size < 5_000_000


def test_whatever_else_lies_there_stays(tmp_path: Path) -> None:
    kept = {"jobs/crawl.py", "provray/index/row.py", "provray/serve/page/a.js"}
    left = {
        *(".git/objects/x", ".venv/bin/python", ".cache/zoo/x", "data/x", "my-index/table/x"),
        *("tests/jobs/x.py", "docs/images/x.png", "demo-out/x", "provray/__pycache__/x.pyc"),
    }
    for name in kept | left:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text("x")
    assert set(packed(tmp_path / "tree", tmp_path / "package.zip").namelist()) == kept


def test_the_id_is_of_name_arguments_and_period() -> None:
    made = SUBMIT["submission_id"]
    first = made("crawl", ["models", "--index", "i"], "")
    assert first == made("crawl", ["models", "--index", "i"], "")
    others = {
        made("refresh", ["models", "--index", "i"], ""),
        made("crawl", ["models", "--index", "j"], ""),
        made("crawl", ["models --index i"], ""),
        made("crawl", ["models", "--index", "i"], "2026-11-26"),
    }
    assert len(others - {first}) == 4
    assert set(SUBMIT["JOBS"]) == set(JOBS)
    assert {name for name, job in SUBMIT["JOBS"].items() if job.dated} == {
        "refresh",
        "rebuild",
        "lineage",
    }


@pytest.mark.parametrize("job", JOBS)
def test_outside_a_cluster_a_job_ends_with_a_summary_that_says_so(job: str) -> None:
    """And joins nobody's cluster that happens to run on this machine."""
    ran = subprocess.run(
        [sys.executable, ROOT / "jobs" / f"{job}.py", "--index", "x"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 2
    summary = json.loads(ran.stdout.splitlines()[-1])
    assert (summary["job"], summary["state"]) == (job, "failed")
    assert "no job of a Ray cluster" in summary["error"]
