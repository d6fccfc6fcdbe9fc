"""An index brought up to date, as a job: `provray crawl` of what changed since the same was last refreshed.

    refresh.py SOURCE... --index URI [--all] [--keep-days N] [options of `provray crawl`]

--all looks at everything, as the first refresh does. --keep-days compacts the index afterwards, as `provray compact`
does; without it no version is deleted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from provray.cli.as_job import crawl_models, json_command, run_job
from provray.index.location import IndexLocation

_MARGIN = timedelta(hours=1)
"""By how much the clocks of a source and of this machine may differ; what is indexed already costs nothing."""
_STAMP = "%Y%m%dT%H%M%SZ"


def work(arguments: list[str]) -> Any:
    """Crawl, remember when that began, compact."""
    parser = argparse.ArgumentParser(exit_on_error=False, add_help=False, allow_abbrev=False)
    parser.add_argument("--index")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--keep-days")
    given, rest = parser.parse_known_args(arguments)
    if not given.index:
        raise ValueError("which index? Name it with --index")
    location = IndexLocation.of(given.index)
    began = datetime.now(UTC)
    asked_before = _last(location, rest)
    since = None if given.all or "--since" in rest else asked_before
    only = ["--since", (since - _MARGIN).strftime("%Y-%m-%dT%H:%M:%S")] if since else []
    crawled = crawl_models(*rest, "--index", given.index, *only)
    location.write_new(f"{_folder(rest)}/{began.strftime(_STAMP)}", json.dumps(rest).encode())
    result = {"since": only[1] if only else None, "crawl": crawled, "compact": None}
    if given.keep_days:
        result["compact"] = json_command(
            "compact", "--index", given.index, "--keep-days", given.keep_days
        )
    return result


def _folder(rest: Sequence[str]) -> str:
    """Where is kept when this was refreshed: other sources or options have seen other models."""
    return f"refreshed/{hashlib.sha256(json.dumps(list(rest)).encode()).hexdigest()[:16]}"


def _last(location: IndexLocation, rest: Sequence[str]) -> datetime | None:
    names = location.names(_folder(rest)) if location.holds_table() else []
    if not names:
        return None
    return datetime.strptime(names[-1].rpartition("/")[2], _STAMP).replace(tzinfo=UTC)


if __name__ == "__main__":
    run_job("refresh", work)
