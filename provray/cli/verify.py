"""`provray verify`: whether an index is sound."""

from __future__ import annotations

import typer
from rich.markup import escape

from provray.cli.console import err, out, print_json
from provray.cli.options import Index, Json


def verify_command(index: Index, as_json: Json = False) -> None:
    """Check table, vectors, probe sets, spaces and caches of an index, and say in plain words what is damaged.

    Reads everything once. Exit code 0 if the index is sound, 1 if something is damaged, 2 if there is no index.
    """
    from provray.ancestry.verify_caches import verify_caches  # FAISS takes a moment to import
    from provray.index.location import BadIndex, IndexLocation
    from provray.index.table import FingerprintTable
    from provray.index.verify import verify_index

    location = IndexLocation.of(index)
    with err.status("reading the whole index …"):
        findings = list(verify_index(location))
        version = None
        try:
            table = FingerprintTable.open(location)
            version = table.version
            findings.extend(verify_caches(table))
        except BadIndex as error:
            if not findings:
                raise
            err.print(f"[yellow]caches not compared[/]: {escape(str(error))}", soft_wrap=True)
    if as_json:
        print_json(
            {
                "index": {"uri": str(location), "version": version},
                "sound": not findings,
                "findings": [vars(finding) for finding in findings],
            }
        )
    else:
        for finding in findings:
            out.print(
                f"[red]damaged[/] [bold]{escape(finding.where)}[/]: {escape(finding.says)}. "
                f"[dim]What to do: {escape(finding.remedy)}[/]",
                soft_wrap=True,
            )
        count = "1 thing is" if len(findings) == 1 else f"{len(findings)} things are"
        said = f"[red]{count} damaged[/]" if findings else "[green]sound[/]"
        out.print(
            f"index [bold]{escape(str(location))}[/] at version {version}: {said}", soft_wrap=True
        )
    if findings:
        raise typer.Exit(1)
