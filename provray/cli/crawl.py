"""`provray crawl`: fingerprint what is not yet indexed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.status import Status

from provray.cli import workers as worker_options
from provray.cli.console import err, out, print_json, style_of
from provray.cli.options import (
    Address,
    Device,
    Dtype,
    Gpus,
    Index,
    Json,
    Probes,
    Threads,
    TimeLimit,
    Workers,
    read_all,
)
from provray.crawl.progress import CrawlReport
from provray.crawl.progress import Progress as CrawlProgress
from provray.index.table import FingerprintTable
from provray.sources import ModelRef, open_source


def crawl_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folder trees. A model is a folder with config.json and *.safetensors, at any depth.",
            show_default=False,
        ),
    ],
    index: Index,
    probes: Probes = None,
    workers: Workers = None,
    threads: Threads = 1,
    gpus_per_worker: Gpus = 0.0,
    device: Device = None,
    dtype: Dtype = "float32",
    time_limit: TimeLimit = 1800.0,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Fingerprint every model of SOURCE that the index does not know yet.

    A model that cannot be fingerprinted becomes a row with its reason (see `provray show`); it never stops the
    crawl. Running the same command again computes only what is new.
    """
    from provray.crawl.crawl import crawl  # torch and Ray take seconds to import

    pool, compute = worker_options.settings(
        workers, threads, gpus_per_worker, time_limit, device, dtype
    )
    opened = [open_source(source) for source in sources]
    given = read_all(probes)
    table = FingerprintTable.create(index)
    with ProgressBar() as progress:
        report = crawl(
            opened,
            table,
            probes=given,
            compute=compute,
            pool=pool,
            address=address,
            progress=progress,
        )
    if as_json:
        print_json(report_to_json(report, index))
    else:
        print_report(report, index)


class ProgressBar(CrawlProgress):
    """A crawl's progress on standard error, with the names of what is being fingerprinted."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("fingerprinting"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[current]}", style="dim"),
            console=err,
            transient=True,
        )
        self._task = self._bar.add_task(
            "", total=None, current="listing models and starting workers …"
        )

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def planned(self, total: int, skipped: int) -> None:
        """Show how much there is to do."""
        self._bar.update(self._task, total=total)

    def started(self, ref: ModelRef) -> None:
        """Show what a worker took."""
        self._bar.update(self._task, current=ref.model)

    def finished(self, model: str, status: str, reason: str) -> None:
        """Count a model; say at once what went wrong."""
        self._bar.advance(self._task)
        if status != "ok":
            self._bar.console.print(
                f"[{style_of(status)}]{status}[/] {model}: {reason}", soft_wrap=True
            )


def report_to_json(report: CrawlReport, index: Path) -> dict[str, object]:
    """The object that `provray crawl --json` prints."""
    return {
        "index": {"uri": str(index), "version": report.version},
        "listed": report.listed,
        "skipped": report.skipped,
        "statuses": dict(report.statuses),
        "failures": [{"model": m, "status": s, "reason": r} for m, s, r in report.failures],
        "seconds": round(report.seconds, 3),
    }


def print_report(report: CrawlReport, index: Path) -> None:
    """What a crawl did, for people."""
    done = sum(report.statuses.values())
    parts = [
        f"[{style_of(s)}]{n} {s}[/]"
        for s, n in sorted(report.statuses.items(), key=lambda x: -x[1])
    ]
    out.print(
        f"{report.listed} models listed, {report.skipped} already indexed, {done} fingerprinted"
        + (f": {', '.join(parts)}" if parts else "")
        + f" in {report.seconds:.1f} s; index [bold]{index}[/] is at version {report.version}",
        soft_wrap=True,
    )


class CrawlStatus(ProgressBar):
    """A crawl's progress as one line of a status that shows other work too."""

    def __init__(self, status: Status) -> None:
        super().__init__()
        self._status = status
        self._counts = [0, 0]

    def __enter__(self) -> CrawlStatus:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def planned(self, total: int, skipped: int) -> None:
        """Show how much there is to do."""
        self._counts = [0, total]
        self._status.update(f"starting workers to fingerprint {total} models …")

    def finished(self, model: str, status: str, reason: str) -> None:
        """Count a model."""
        self._counts[0] += 1
        self._status.update(f"fingerprinting {self._counts[0]}/{self._counts[1]}: {model}")
