"""Submit a job to a Ray cluster with `ray job submit`, once.

    python jobs/submit.py [OPTIONS] NAME [ARGUMENTS OF THE JOB]...

The submission id is made of the name, the arguments and the period, so whoever submits the same again is told how the
first one is doing. A job that failed or was stopped is submitted again as its next attempt.

On standard output comes one JSON object: `submission_id`, `submitted`, `status`, `summary`; everything else goes to
standard error. Exit code: 0 if the job runs or succeeded, 1 if it failed, 2 if it could not be submitted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GIB = 1 << 30
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Job:
    """What a job's own process reserves; its workers reserve their own. dated: whether a day's submission is another
    than the next day's, since what it works on moves on."""

    cpus: float
    gib: float
    dated: bool = False


# Who waits for workers reserves no CPU: workers that ask for all CPUs of a cluster would wait for it for ever.
JOBS = {
    "crawl": Job(0, 2),
    "refresh": Job(0, 2, dated=True),
    "rebuild": Job(1, 2, dated=True),
    "lineage": Job(0, 2, dated=True),
    "evaluate": Job(0, 2),
    "fit": Job(0, 2),
}


@dataclass(frozen=True)
class Attempt:
    """A submission that the cluster knows."""

    id: str
    number: int
    status: str


def submission_id(name: str, arguments: Sequence[str], period: str) -> str:
    """Of the first attempt. The same name, arguments and period always give the same."""
    digest = hashlib.sha256(json.dumps([name, list(arguments), period]).encode()).hexdigest()
    return f"provray-{name}-{digest[:16]}"


def attempts(client: Any, first: str) -> list[Attempt]:
    """The attempts of a submission, in order."""
    found = []
    for job in client.list_jobs():
        match = re.fullmatch(rf"{re.escape(first)}(?:-(\d+))?", job.submission_id or "")
        if match:
            found.append(Attempt(match[0], int(match[1] or 1), str(job.status)))
    return sorted(found, key=lambda attempt: attempt.number)


def summary(client: Any, job: str) -> Any:
    """The last line of a job's log, None where that is no summary."""
    lines = [line for line in client.get_job_logs(job).splitlines() if line.strip()]
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
    return found if isinstance(found, dict) and "job" in found else None


def command(given: argparse.Namespace, job: str) -> list[str]:
    """The `ray job submit` that submits it."""
    beside = Path(sys.executable).with_name("ray")
    kind = JOBS[given.name]
    gib = kind.gib if given.driver_memory is None else given.driver_memory
    return [
        str(beside) if beside.exists() else "ray",
        *("job", "submit", "--submission-id", job),
        *(("--address", given.address) if given.address else ()),
        *("--working-dir", str(ROOT), "--runtime-env", str(ROOT / "jobs" / "runtime_env.yaml")),
        *("--entrypoint-num-cpus", f"{kind.cpus:g}"),
        *("--entrypoint-memory", str(int(gib * GIB))),
        *(("--no-wait",) if given.no_wait else ()),
        # ray joins and quotes what comes after the dashes by itself
        *("--", "python", f"jobs/{given.name}.py", *given.arguments),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Submit, wait, tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", help="of the dashboard; default: RAY_API_SERVER_ADDRESS")
    parser.add_argument("--no-wait", action="store_true", help="tell the id and go")
    parser.add_argument(
        "--period",
        help="another period is another submission; default: the UTC date for "
        + ", ".join(name for name, job in JOBS.items() if job.dated),
    )
    parser.add_argument(
        "--driver-memory",
        type=float,
        metavar="GIB",
        help="memory that the job's own process reserves; default: 2",
    )
    parser.add_argument("name", choices=JOBS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args(argv)
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.exceptions import AuthenticationError  # Ray reads them when it is imported
    from ray.job_submission import JobSubmissionClient

    period = given.period
    if period is None:
        period = datetime.now(UTC).date().isoformat() if JOBS[given.name].dated else ""
    try:
        client = JobSubmissionClient(given.address)
        first = submission_id(given.name, given.arguments, period)
        known = attempts(client, first)
    except AuthenticationError as error:
        _say(f"the cluster refuses: {error}")
        return 2
    except (ConnectionError, RuntimeError) as error:
        _say(f"cannot ask the cluster: {error}")
        return 2
    if known and known[-1].status in ("PENDING", "RUNNING", "SUCCEEDED"):
        _say(f"{known[-1].id} is there already, {known[-1].status}: nothing is submitted")
        return _tell(client, known[-1].id, submitted=False)
    job = first if not known else f"{first}-{known[-1].number + 1}"
    run = command(given, job)
    _say(shlex.join(run))
    subprocess.run(run, stdout=sys.stderr, check=False)
    try:
        client.get_job_status(job)
    except RuntimeError as error:
        _say(f"{job} was not submitted: {error}")
        return 2
    if not given.no_wait:
        # The log may break off before the job ends: a proxy between, a dashboard that restarts.
        while not client.get_job_status(job).is_terminal():
            time.sleep(_POLL_SECONDS)
    return _tell(client, job, submitted=True)


def _tell(client: Any, job: str, *, submitted: bool) -> int:
    status = client.get_job_status(job)
    told = {
        "submission_id": job,
        "submitted": submitted,
        "status": str(status),
        "summary": summary(client, job) if status.is_terminal() else None,
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return 0 if str(status) in ("PENDING", "RUNNING", "SUCCEEDED") else 1


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
