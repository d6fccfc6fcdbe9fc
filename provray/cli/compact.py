"""`provray compact`: the upkeep of an index."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from provray.cli.console import err, out, print_json
from provray.cli.options import Index, Json


def compact_command(
    index: Index,
    keep_days: Annotated[
        int,
        typer.Option(
            "--keep-days",
            min=1,
            help="Versions that were the newest within so many days stay readable.",
        ),
    ] = 7,
    as_json: Json = False,
) -> None:
    """Join small files, remove rows that newer ones replaced, delete versions that are no longer kept.

    Crawls may go on meanwhile. Verdicts do not change; an answer that names a version older than --keep-days can no
    longer be looked up.
    """
    from provray.index.table import FingerprintTable
    from provray.index.upkeep import compact

    table = FingerprintTable.open(index)
    with err.status("compacting …") as status:
        done = compact(
            table, keep_days, lambda: status.update("waiting for another compaction to end …")
        )
    if as_json:
        print_json({"index": {"uri": str(table.location), "version": done.version}, **asdict(done)})
        return
    shown = Table("what", "before", "after", box=None, header_style="bold")
    shown.add_row("files of the newest version", str(done.files_before), str(done.files_after))
    shown.add_row("superseded rows", str(done.rows_removed + done.rows_left), str(done.rows_left))
    shown.add_row("files of versions no longer kept", str(done.files_deleted), "0")
    shown.add_row("caches of versions no longer kept", str(done.caches_deleted), "0")
    out.print(shown)
    out.print(f"index [bold]{table.location}[/] is at version {done.version}", soft_wrap=True)
    if done.rows_left:
        err.print(
            "[yellow]warning[/]: other writers were in the way of removing all superseded rows; run it again later",
            soft_wrap=True,
        )
