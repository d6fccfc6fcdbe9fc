"""Upkeep of an index: small files joined, superseded rows and old versions removed, while crawls go on appending.

Every step is a commit of its own and leaves an index that holds the same newest rows, so it may be cut off anywhere.
"""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import obstore
import pyarrow.compute as pc
from deltalake.exceptions import CommitFailedError, DeltaError
from obstore.exceptions import BaseError

from provray.index.journal import Journal
from provray.index.location import BadIndex
from provray.index.row import Key
from provray.index.table import KEY_COLUMNS, FingerprintTable

_TRIES = 5
_KEYS_PER_COMMIT = 200
_TURN = ("compaction", "")
"""What a compaction claims in the journal: no model has an empty revision."""
_PAUSE = 0.2


class BadRetention(ValueError):
    """Versions cannot be kept for that long, or for so short a time."""


@dataclass(frozen=True)
class Upkeep:
    """What was done. `rows_removed`: superseded ones. `rows_left`: superseded ones that another writer's commits kept
    from being removed. `files_before`, `files_after`: of the newest version. `files_deleted`: of versions that are
    gone. `caches_deleted`: FAISS caches of such versions on this machine."""

    version: int
    rows_removed: int
    rows_left: int
    files_before: int
    files_after: int
    files_deleted: int
    caches_deleted: int


def compact(
    table: FingerprintTable, keep_days: int, waiting: Callable[[], None] = lambda: None
) -> Upkeep:
    """Compact the index and move `table` to its newest version. Versions that were the newest within the last
    `keep_days` days stay readable. waiting: called if another compaction has to end first.

    Raises BadRetention for less than a day (files that a crawl is just writing belong to no version yet) or for longer
    than the log remembers, BadIndex if the index cannot be read or written.
    """
    most = _remembered_days(table)
    if not 1 <= keep_days <= most:
        raise BadRetention(
            f"versions of {table.location} can be kept for 1 to {most} days, got {keep_days}"
        )
    try:
        with _in_turn(table, waiting):
            table.refresh()
            before = _files(table)
            removed, left = _remove_superseded(table)
            _retried(table, table.delta.optimize.compact)
            table.refresh()
            table.delta.create_checkpoint()
            deleted = _vacuum(table, keep_days)
        caches = _delete_caches(table, keep_days)
    except (OSError, DeltaError, BaseError) as error:
        raise BadIndex(
            f"cannot compact the index at {table.location}: {table.location.why(error)}; "
            "what was done so far is sound, run it again"
        ) from error
    return Upkeep(table.version, removed, left, before, _files(table), deleted, caches)


@contextmanager
def _in_turn(table: FingerprintTable, waiting: Callable[[], None]) -> Iterator[None]:
    """One compaction at a time. Of two that rewrite the same files deltalake 1.6 refuses the second, but not always:
    now and then both were committed, and every row was there twice."""
    with Journal(table.location) as journal:
        if not journal.claim(*_TURN):
            waiting()
            while not journal.claim(*_TURN):
                time.sleep(_PAUSE)
        try:
            yield
        finally:
            journal.release([_TURN])


def _files(table: FingerprintTable) -> int:
    return len(table.delta.file_uris())


def _remembered_days(table: FingerprintTable) -> int:
    """How long the log remembers files that were replaced. Beyond that they look like files of no version."""
    said = table.delta.metadata().configuration.get("delta.deletedFileRetentionDuration") or ""
    days = re.fullmatch(r"interval (\d+) days?", said)
    return int(days[1]) if days else 7


def _remove_superseded(table: FingerprintTable) -> tuple[int, int]:
    """Remove rows of a key that has a newer one; returns how many were removed, and how many could not be."""
    removed = 0
    for predicate in list(_superseded(table)):
        metrics = _retried(table, partial(table.delta.delete, predicate))
        if metrics is None:
            break
        removed += int(metrics.get("num_deleted_rows", 0))
    table.refresh()
    return removed, sum(_superseded(table).values())


def _superseded(table: FingerprintTable) -> dict[str, int]:
    """Predicates that hold for superseded rows alone, and for how many.

    They say "older than the newest", so rows that others append meanwhile are hit only if they are older still.
    """
    rows = table.delta.to_pyarrow_dataset().to_table(columns=[*KEY_COLUMNS, "created"])
    counted = rows.group_by(list(KEY_COLUMNS)).aggregate([("created", "max"), ("created", "count")])
    several = counted.filter(pc.greater(counted["created_count"], 1))
    newest = {_key(plain): plain["created_max"] for plain in several.to_pylist()}
    older: Counter[Key] = Counter()
    for plain in rows.filter(pc.is_in(rows["model"], several["model"])).to_pylist():
        if _key(plain) in newest and plain["created"] < newest[_key(plain)]:
            older[_key(plain)] += 1
    keys = sorted(older)
    return {
        " OR ".join(_older_than(key, newest[key]) for key in some): sum(older[k] for k in some)
        for start in range(0, len(keys), _KEYS_PER_COMMIT)
        if (some := keys[start : start + _KEYS_PER_COMMIT])
    }


def _key(plain: Mapping[str, Any]) -> Key:
    return plain["model"], plain["revision"], plain["space"]


def _older_than(key: Key, newest: datetime) -> str:
    instant = newest.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    same = [f"{column} = {_quoted(value)}" for column, value in zip(KEY_COLUMNS, key, strict=True)]
    limit = f"""arrow_cast('{instant}', 'Timestamp(Microsecond, Some("UTC"))')"""
    return f"({' AND '.join([*same, f'created < {limit}'])})"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _retried(
    table: FingerprintTable, commit: Callable[[], dict[str, Any]]
) -> dict[str, Any] | None:
    """Metrics of a commit that rewrites files; None if the rewriting of others got in its way time after time."""
    for attempt in range(_TRIES):
        try:
            table.refresh()
            return commit()
        except CommitFailedError:
            time.sleep(0.5 * 2**attempt)
    return None


def _vacuum(table: FingerprintTable, keep_days: int) -> int:
    """Delete files that no kept version holds; returns how many."""
    settings: dict[str, Any] = {
        "retention_hours": keep_days * 24,
        "enforce_retention_duration": False,
        "full": True,  # also what killed writers left behind
    }
    # The log goes on naming files that are long deleted, and each vacuum is two commits that ask for new caches.
    there = set(table.location.names("table"))
    found = table.delta.vacuum(dry_run=True, **settings)
    gone = [path for path in found if f"table/{unquote(path)}" in there]
    if gone:
        table.delta.vacuum(dry_run=False, **settings)
        table.refresh()
    return len(gone)


def _delete_caches(table: FingerprintTable, keep_days: int) -> int:
    """Delete this machine's caches of versions that are gone, and what was never finished; returns how many."""
    limit = datetime.now(UTC) - timedelta(days=keep_days)
    gone = 0
    for folder in sorted(_cache_folders(table)):
        named = re.match(r"v(\d+)-", folder.name)
        if named:
            version = int(named[1])
            stale = version > table.version or _replaced_before(table, version, limit)
        else:
            stale = datetime.fromtimestamp(folder.stat().st_mtime, UTC) < limit
        if stale:
            shutil.rmtree(folder, ignore_errors=True)
            gone += 1
    return gone


def _cache_folders(table: FingerprintTable) -> list[Path]:
    root = table.location.cache_folder
    return [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []


def _replaced_before(table: FingerprintTable, version: int, limit: datetime) -> bool:
    """Whether the version after this one was committed before `limit`."""
    if version == table.version:
        return False
    try:
        after = obstore.head(table.location.store, f"table/_delta_log/{version + 1:020}.json")
    except FileNotFoundError:
        return True
    return after["last_modified"] < limit
