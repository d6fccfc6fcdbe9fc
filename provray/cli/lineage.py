"""`provray lineage`: who descends from whom, over a whole index."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.tree import Tree

from provray.cli.console import err, out, print_json, status
from provray.cli.options import Address, Index, Json, Probes, Workers, read_all

if TYPE_CHECKING:
    from provray.ancestry.lineage import Edge, Lineage

_BULK = "Of a large index"


def lineage_command(
    index: Index,
    as_json: Json = False,
    dot: Annotated[bool, typer.Option("--dot", help="Print a graph for Graphviz.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page: families to search and unfold.")
    ] = None,
    fdr: Annotated[
        float,
        typer.Option(
            "--fdr",
            min=0.000001,
            max=0.5,
            help="False discovery rate over all pairs: of those said to share weights, the share that may not.",
        ),
    ] = 0.05,
    probes: Probes = None,
    bulk: Annotated[
        bool,
        typer.Option(
            "--bulk",
            help="Compare each model with its nearest only, on Ray workers, and write every model's answer as Parquet. "
            "With --json it prints a summary.",
            rich_help_panel=_BULK,
        ),
    ] = False,
    into: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="URI",
            help="Folder, or s3://bucket/prefix, for what --bulk writes. Default: `lineage` in the index.",
            rich_help_panel=_BULK,
        ),
    ] = None,
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Draw the lineage of everything in an index.

    By inherited weights alone: what was distilled or stolen hangs on nothing. A family whose first ancestor is not
    indexed stays a set of models side by side: a missing arrow is better than an invented one.
    """
    from provray.ancestry.calibration import shipped_calibration
    from provray.ancestry.direction import direction
    from provray.ancestry.lineage import build_lineage
    from provray.ancestry.lineage_text import lineage_dot, lineage_json
    from provray.ancestry.relatives import relatives
    from provray.crawl.reading import read_index

    if as_json and dot:
        raise ValueError("--json and --dot both print: give one of them")
    if bulk:
        _bulk(index, as_json, dot, html, fdr, probes, into, workers, address)
        return
    if into is not None or workers is not None or address is not None:
        raise ValueError("--out, --workers and --address are for --bulk: add it, or leave them out")
    with err.status("comparing all models …"):
        snapshot = read_index(index, read_all(probes))
        lineage = build_lineage(
            snapshot.profiles(snapshot.names),
            lambda members: relatives(
                members, snapshot.cohorts, shipped_calibration(), snapshot.nulls, fdr
            ),
            direction,
        )
    facts: dict[str, Any] = {
        "index": {"uri": str(index), "version": snapshot.version, "models": snapshot.models},
        "fdr": fdr,
        **lineage_json(lineage),
    }
    _page(facts, html)
    if as_json:
        print_json(facts)
    elif dot:
        typer.echo(lineage_dot(lineage))
    else:
        _print(lineage, facts)


def _bulk(
    index: str,
    as_json: bool,
    dot: bool,
    html: Path | None,
    fdr: float,
    probes: list[Path] | None,
    into: str | None,
    workers: int | None,
    address: str | None,
) -> None:
    from provray.crawl.bulk import lineage_of_all, read_lineage
    from provray.crawl.settings import available_cores

    if dot:
        raise ValueError("--dot draws a small index: leave --bulk out, or read what it writes")
    with status("comparing every model with its nearest …") as shown:
        summary = lineage_of_all(
            index,
            out=into,
            probes=read_all(probes),
            fdr=fdr,
            workers=workers or available_cores(),
            address=address,
            progress=lambda what, done, of: shown.update(f"{what} {done}/{of}"),
        )
    if html is not None:
        _page(read_lineage(summary), html)
    if as_json:
        print_json(asdict(summary))
        return
    out.print(
        f"{summary.models} models, {summary.failed} without an answer, {summary.families} families, "
        f"{summary.edges} arrows at version {summary.version}: [bold]{summary.where}[/]",
        soft_wrap=True,
    )


def _page(facts: dict[str, Any], html: Path | None) -> None:
    if html is not None:
        from provray.cli.lineage_page import lineage_page
        from provray.pages.files import write_page

        write_page(lineage_page(facts), html)
        err.print(f"page: [bold]{html}[/]", soft_wrap=True)


def _print(lineage: Lineage, facts: dict[str, Any]) -> None:
    """Families as trees; a merged model stands below its first parent, with the others named."""
    below: dict[str, list[Edge]] = {}
    for edge in lineage.edges:
        below.setdefault(edge.parent, []).append(edge)
    parents: dict[str, list[str]] = {}
    for edge in lineage.edges:
        parents.setdefault(edge.child, []).append(edge.parent)
    for members in lineage.families:
        if len(members) < 2:
            continue
        for root in (m for m in members if m not in parents):
            tree = Tree(f"[bold]{root}[/]")
            _grow(tree, root, below, parents)
            out.print(tree)
    single = sum(len(members) == 1 for members in lineage.families)
    out.print(
        f"{facts['index']['models']} models, {len(lineage.families) - single} families, {single} without kin; "
        f"{len(lineage.edges)} arrows at a false discovery rate of {facts['fdr']:g}",
        style="dim",
        soft_wrap=True,
    )


def _grow(
    tree: Tree, model: str, below: dict[str, list[Edge]], parents: dict[str, list[str]]
) -> None:
    for edge in below.get(model, []):
        if parents[edge.child][0] != model:
            continue
        also = [p for p in parents[edge.child] if p != model]
        words = [edge.relation]
        if also:
            words.append("with " + ", ".join(also))
        if not edge.direction_known:
            words.append("which came first is not known")
        branch = tree.add(f"{edge.child} [dim]{'; '.join(words)}[/]")
        _grow(branch, edge.child, below, parents)
