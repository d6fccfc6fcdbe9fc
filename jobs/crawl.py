"""`provray crawl` as a job: the same arguments."""

from __future__ import annotations

from typing import Any

from provray.cli.as_job import json_command, run_job


def work(arguments: list[str]) -> Any:
    """Crawl; an event is a line of the log."""
    return json_command("crawl", *arguments, "--log-json")


if __name__ == "__main__":
    run_job("crawl", work)
