"""A crawl's progress: a bar for people, JSON lines for machines, a line in another command's status."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from provray.cli.console import Lines, Updates, err, style_of
from provray.crawl.progress import Progress as CrawlProgress
from provray.crawl.progress import outcome
from provray.index.row import Row
from provray.sources import ModelRef
from provray.sources.fetch import Fetched


class ProgressBar(CrawlProgress):
    """A crawl's progress on standard error: how many are done, failed by status, the rate, the time left, what runs.
    In a log, where nothing can be drawn over, a line now and then."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("fingerprinting"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            TextColumn("{task.fields[current]}", style="dim"),
            console=err,
            transient=True,
        )
        self._task = self._bar.add_task(
            "",
            total=None,
            current="listing models and starting workers …",
            rate="",
            failed="",
        )
        self._failed: Counter[str] = Counter()
        self._lines = None if err.is_terminal else Lines()

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def recovered(self, models: int) -> None:
        """Say what an interrupted crawl had left."""
        self._bar.console.print(
            f"{models} models that an interrupted crawl had finished are in the index now"
        )

    def planned(self, total: int, skipped: int) -> None:
        """Show how much there is to do, as far as it is known."""
        self._bar.update(self._task, total=total)

    def started(self, ref: ModelRef) -> None:
        """Show what a worker took."""
        self._bar.update(self._task, current=ref.model)

    def finished(self, rows: Sequence[Row]) -> None:
        """Count a model; say at once what went wrong."""
        status, reason = outcome(rows)
        self._bar.advance(self._task)
        speed = self._bar.tasks[self._task].speed
        rate = f"{speed:.3g}/s" if speed else ""
        if status != "ok":
            self._failed[status] += 1
            self._bar.console.print(
                f"[{style_of(status)}]{status}[/] {rows[0].model}: {reason}", soft_wrap=True
            )
        failed = ", ".join(f"[{style_of(s)}]{n} {s}[/]" for s, n in self._failed.most_common())
        self._bar.update(self._task, rate=rate, failed=failed)
        if self._lines is not None:
            task = self._bar.tasks[self._task]
            of = f" of {task.total:.0f}" if task.total else ""
            words = [f"{n} {s}" for s, n in self._failed.most_common()]
            done = f"models done: {task.completed:.0f}{of}"
            self._lines.update(", ".join([done, *words]))

    def elsewhere(self, models: int) -> None:
        """Say what is waited for."""
        self._bar.update(self._task, current=f"waiting for another crawl to finish {models} models")


class CrawlStatus(CrawlProgress):
    """A crawl's progress as one line of a status that shows other work too."""

    def __init__(self, status: Updates) -> None:
        self._status = status
        self._done, self._total = 0, 0

    def planned(self, total: int, skipped: int) -> None:
        """Show how much there is to do."""
        self._total = total
        if not self._done:
            self._status.update(f"starting workers to fingerprint {total} models …")

    def finished(self, rows: Sequence[Row]) -> None:
        """Count a model."""
        self._done += 1
        self._status.update(f"fingerprinting {self._done}/{self._total}: {rows[0].model}")


class JsonLines(CrawlProgress):
    """A crawl's events as JSON lines on standard error, each with its time."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def recovered(self, models: int) -> None:
        """Rows that an interrupted crawl had left were committed."""
        self.write("recovered", models=models)

    def started(self, ref: ModelRef) -> None:
        """A worker took a model."""
        self.write("started", model=ref.model, revision=ref.revision)

    def fetched(self, fetched: Fetched) -> None:
        """A remote model was fetched."""
        self.write(
            "fetched",
            model=fetched.ref.model,
            revision=fetched.ref.revision,
            bytes=fetched.bytes,
            seconds=round(fetched.seconds, 3),
        )

    def finished(self, rows: Sequence[Row]) -> None:
        """A model is done."""
        status, reason = outcome(rows)
        self.write(
            "finished",
            model=rows[0].model,
            revision=rows[0].revision,
            status=status,
            reason=reason,
            seconds={row.kind: round(row.seconds, 3) for row in rows},
        )

    def committed(self, version: int, models: int) -> None:
        """A batch is in the table."""
        self.write("committed", version=version, models=models)

    def elsewhere(self, models: int) -> None:
        """Another crawl has what is left."""
        self.write("elsewhere", models=models)

    def write(self, event: str, **facts: Any) -> None:
        """One line."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        sys.stderr.write(json.dumps({**line, **facts}) + "\n")
        sys.stderr.flush()
