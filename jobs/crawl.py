"""`provray crawl` as a job: the same arguments."""

from __future__ import annotations

from typing import Any

from provray.cli.as_job import crawl_models, run_job


def work(arguments: list[str]) -> Any:
    """Crawl; how far it is, and each failure, is a line of the log."""
    return crawl_models(*arguments)


if __name__ == "__main__":
    run_job("crawl", work)
