"""`provray lineage --bulk` as a job: the same arguments."""

from __future__ import annotations

from typing import Any

from provray.cli.as_job import json_command, run_job


def work(arguments: list[str]) -> Any:
    """Judge every model of the index and put all in order."""
    return json_command("lineage", "--bulk", *arguments)


if __name__ == "__main__":
    run_job("lineage", work)
