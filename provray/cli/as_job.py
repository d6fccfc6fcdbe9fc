"""A command run as a job of a Ray cluster: it joins the cluster it runs on, and its log ends in a summary.

A summary is one JSON object on one line: `job`, `state` (`succeeded`, `failed`
or `stopped`), `seconds`, and what was done (`result`) or what went wrong (`error`).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from provray.cli.app import app
from provray.crawl.cluster import join_ray, leave_ray

_FAILURES = 100
# Click's own class, or that of the click inside typer: what `typer.BadParameter` is one of.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
Work = Callable[[list[str]], Any]
"""Does the job with these arguments and returns its result as plain data."""


def run_job(name: str, work: Work) -> NoReturn:
    """Do the work of this program's arguments, print the summary, and end the process: 0, 1 for a failure of ours, 2
    for bad use or bad input."""
    began = time.monotonic()
    summary: dict[str, Any] = {"job": name, "state": "succeeded"}
    code = 0
    try:
        _join()
        summary["result"] = work(sys.argv[1:])
    except (KeyboardInterrupt, SystemExit):  # which is what Ray makes of SIGTERM
        code, summary["state"] = 1, "stopped"
        summary["error"] = "stopped; what was finished is kept, submit it again to go on"
    except (ValueError, FileNotFoundError, _UsageError) as error:
        code, summary["state"] = 2, "failed"
        summary["error"] = getattr(error, "format_message", error.__str__)()
    except Exception as error:
        traceback.print_exc()
        code, summary["state"] = 1, "failed"
        summary["error"] = f"{type(error).__name__}: {error}"
    with contextlib.suppress(Exception):
        leave_ray()
    summary["seconds"] = round(time.monotonic() - began, 3)
    sys.stderr.flush()
    sys.stdout.write(json.dumps(summary) + "\n")
    sys.stdout.flush()
    os._exit(code)  # nothing may write below the summary


def command(*arguments: str) -> Any:
    """Run a provray command in this process and return what it returns."""
    return app(list(arguments), standalone_mode=False)


def json_command(*arguments: str) -> Any:
    """Run a provray command with --json and return the object that it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        command(*arguments, "--json")
    return json.loads(printed.getvalue())


def crawl_models(*arguments: str) -> Any:
    """Run `provray crawl` and return what it reports, with the first failures only: `provray show` has them all."""
    report = json_command("crawl", *arguments)
    return {**report, "failures": report["failures"][:_FAILURES]}


def _join() -> None:
    # Ray says to a job where its cluster is. Looking for one would find whatever runs on this machine.
    if not (address := os.environ.get("RAY_ADDRESS")):
        raise ValueError(
            "this is no job of a Ray cluster: submit it with `python jobs/submit.py`, or run the provray command"
        )
    join_ray(address)
