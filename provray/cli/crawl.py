"""`provray crawl`: fingerprint what is not yet indexed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from provray.cli import workers as worker_options
from provray.cli.console import out, print_json, style_of
from provray.cli.crawl_progress import JsonLines, ProgressBar
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
from provray.crawl.settings import GIB, STAGES, Fetching, Stage
from provray.index.settings import index_settings
from provray.index.table import FingerprintTable
from provray.sources import open_source
from provray.sources.fetch import default_scratch

_WORK = "Work"
_REMOTE = "Remote sources"


def crawl_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="A folder tree, hf://org/name[@revision], hf://org, hf://?task=…&library=…&tag=…&sort=…&limit=…, "
            "hf-cache:// (what huggingface_hub downloaded before), s3://bucket/prefix, or a .txt file that lists "
            "any of them.",
            show_default=False,
        ),
    ],
    index: Index,
    probes: Probes = None,
    stages: Annotated[
        str,
        typer.Option(
            help="What to compute, by commas. `weights` alone runs no model; later crawls fill in the rest.",
            rich_help_panel=_WORK,
        ),
    ] = ",".join(STAGES),
    sample: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Sketch the weights from at most so many blocks of 65,536 values of each tensor: far less to fetch "
            "with `--stages weights`, somewhat less certain. 0: all. Default: as the index was begun.",
            show_default=False,
            rich_help_panel=_WORK,
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="Only models that changed then or later (UTC).",
            rich_help_panel=_WORK,
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Try models again that failed before.", rich_help_panel=_WORK
        ),
    ] = False,
    workers: Workers = None,
    threads: Threads = 1,
    gpus_per_worker: Gpus = 0.0,
    device: Device = None,
    dtype: Dtype = "float32",
    time_limit: TimeLimit = 1800.0,
    worker_memory: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="GIB",
            help="Memory a worker may take; what needs more is `too_large`. 0: no limit. Default on a CPU: an equal "
            "share of 90 %.",
            show_default=False,
        ),
    ] = None,
    max_size: Annotated[
        float,
        typer.Option(min=0, metavar="GIB", help="Weights of the largest model that is taken on."),
    ] = 16.0,
    disk: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="GIB",
            help="Disk that a worker may fill with fetched models; each is deleted after use.",
            rich_help_panel=_REMOTE,
        ),
    ] = 20.0,
    scratch: Annotated[
        Path | None,
        typer.Option(
            help="Folder for fetched models. Default: below the temporary folder.",
            rich_help_panel=_REMOTE,
        ),
    ] = None,
    address: Address = None,
    log_json: Annotated[
        bool,
        typer.Option(
            "--log-json", help="JSON lines on standard error instead of the progress bar."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Fingerprint every model of SOURCE that the index does not know yet.

    A model that cannot be fingerprinted becomes a row with its reason (see `provray show`); it never stops the
    crawl. Killed at any moment, the same command goes on where it was; two at once share the work.
    """
    from provray.crawl.crawl import crawl  # torch and Ray take seconds to import

    wanted = _stages(stages)
    pool, compute = worker_options.settings(
        workers, threads, gpus_per_worker, time_limit, device, dtype, worker_memory, max_size
    )
    moment = since.replace(tzinfo=UTC) if since else None
    opened = [open_source(source, since=moment) for source in sources]
    given = read_all(probes)
    table = FingerprintTable.create(index)
    settings = index_settings(table, sample)
    fetching = Fetching(scratch or default_scratch(), int(disk * GIB))
    log = JsonLines() if log_json else ProgressBar()
    with log:
        report = crawl(
            opened,
            table,
            settings=settings,
            probes=given,
            stages=wanted,
            retry_failed=retry_failed,
            may_be_empty=moment is not None,
            compute=compute,
            pool=pool,
            fetching=fetching,
            address=address,
            progress=log,
        )
    if isinstance(log, JsonLines):
        log.write("summary", **report_to_json(report, index))
    if as_json:
        print_json(report_to_json(report, index))
    elif not log_json:
        print_report(report, index)


def _stages(text: str) -> tuple[Stage, ...]:
    asked = {part.strip() for part in text.split(",") if part.strip()}
    unknown = asked - set(STAGES)
    if unknown or not asked:
        raise ValueError(f"--stages takes some of {','.join(STAGES)}, got {text!r}")
    return tuple(stage for stage in STAGES if stage in asked)


def report_to_json(report: CrawlReport, index: str) -> dict[str, Any]:
    """The object that `provray crawl --json` prints."""
    return {
        "index": {"uri": index, "version": report.version},
        "listed": report.listed,
        "skipped": report.skipped,
        "recovered": report.recovered,
        "statuses": dict(report.statuses),
        "failures": [{"model": m, "status": s, "reason": r} for m, s, r in report.failures],
        "seconds": round(report.seconds, 3),
        "stage_seconds": {stage: round(s, 3) for stage, s in report.stage_seconds.items()},
        "fetched_bytes": report.fetched_bytes,
    }


def print_report(report: CrawlReport, index: str) -> None:
    """What a crawl did, for people."""
    done = sum(report.statuses.values())
    parts = [
        f"[{style_of(s)}]{n} {s}[/]"
        for s, n in sorted(report.statuses.items(), key=lambda x: -x[1])
    ]
    recovered = (
        f", {report.recovered} taken over from an interrupted crawl" if report.recovered else ""
    )
    out.print(
        f"{report.listed} models listed, {report.skipped} already indexed{recovered}, {done} fingerprinted"
        + (f": {', '.join(parts)}" if parts else "")
        + f" in {report.seconds:.1f} s; index [bold]{index}[/] is at version {report.version}",
        soft_wrap=True,
    )
    if done:
        spent = ", ".join(f"{stage} {s:.1f} s" for stage, s in report.stage_seconds.items())
        fetched = f"; {report.fetched_bytes / 1e6:,.1f} MB fetched" if report.fetched_bytes else ""
        out.print(f"[dim]of workers' time: {spent}{fetched}[/]", soft_wrap=True)
