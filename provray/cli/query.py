"""`provray query`: which indexed model is this one's ancestor?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

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

if TYPE_CHECKING:
    from provray.ancestry.candidate import Candidate, Evidence
    from provray.crawl.ask import Reply


def query_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model to ask about: a folder, hf://org/name[@revision] or s3://bucket/prefix.",
            show_default=False,
        ),
    ],
    index: Index,
    top_k: Annotated[
        int, typer.Option("--top-k", min=1, max=1000, help="Candidates to show.")
    ] = 10,
    fdr: Annotated[
        float,
        typer.Option(
            "--fdr",
            min=0.000001,
            max=0.5,
            help="False discovery rate: of the relatives named, the share that may be none.",
        ),
    ] = 0.05,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Also write the answer as a page: scores against their null."),
    ] = None,
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
    """Ask which indexed models MODEL descends from.

    Verdicts: `copy` (bit-identical weights), `ancestor` (inherits what an indexed model learned, or was distilled or
    stolen from it), `descendant`, `sibling`, `related` (alike, no inheritance shown), `none`. Exit code 0 for every
    answer, also `none`.
    """
    from provray.crawl.ask import Asker, reply_to_json  # torch and Ray take seconds to import

    pool, compute = worker_options.settings(
        workers, threads, gpus_per_worker, time_limit, device, dtype
    )
    with (
        err.status("fingerprinting the model and searching the index …"),
        Asker(index, probes=read_all(probes), compute=compute, pool=pool, address=address) as asker,
    ):
        reply = asker.ask(model, top_k, fdr)
    if html is not None:
        from provray.cli.query_page import query_page
        from provray.pages.files import write_page

        write_page(query_page(reply_to_json(reply)), html)
        err.print(f"page: [bold]{html}[/]", soft_wrap=True)
    if as_json:
        print_json(reply_to_json(reply))
    else:
        print_reply(reply)


def print_reply(reply: Reply) -> None:
    """An answer for people: the verdict in words, each axis, the ancestors' evidence, the candidates in a table."""
    answer = reply.answer
    out.print(
        f"[{style_of(answer.verdict)}]{answer.verdict}[/]: [bold]{reply.model}[/]: {answer.says}",
        soft_wrap=True,
    )
    for axis, said in answer.axes.items():
        out.print(f"  {axis}: {said}", style="dim", soft_wrap=True)
    for ancestor in answer.ancestors[:3]:
        out.print(
            f"  [bold]{ancestor.model}[/] ({ancestor.relation}), probability {ancestor.probability:.3f}, "
            f"q {ancestor.q_value:.1e}",
            soft_wrap=True,
        )
        for evidence in ancestor.evidence:
            out.print(
                f"    {evidence_line(evidence)}",
                style=None if evidence.decided else "dim",
                soft_wrap=True,
            )
        if ancestor.direction is not None:
            reasons = "; ".join(ancestor.direction.reasons[:2])
            out.print(
                f"    direction: {_DIRECTION[ancestor.direction.said]}: {reasons}", soft_wrap=True
            )
    table = Table(
        "candidate", "is", "weights", "biases", "noise by depth", "answers", "GiF", box=None
    )
    for candidate in answer.candidates:
        table.add_row(*_cells(candidate))
    if answer.candidates:
        out.print(table)
    for found in answer.contradictions:
        out.print(f"[yellow]the card says otherwise[/]: {found.text}", soft_wrap=True)
    out.print(
        f"{reply.models} models in {reply.index} at version {reply.version}, false discovery rate {answer.fdr:g}",
        style="dim",
        soft_wrap=True,
    )
    for warning in answer.warnings:
        err.print(f"[yellow]warning[/]: {warning}", soft_wrap=True)


_DIRECTION = {
    "ancestor": "it came first",
    "descendant": "it came later",
    "unknown": "which came first is not shown",
}


def evidence_line(evidence: Evidence) -> str:
    """One piece of evidence with what it was held against."""
    against = ""
    if evidence.limit is not None and evidence.null is not None:
        against = (
            f" (limit {evidence.limit:.3f}: {evidence.null.condition}, {evidence.null.pairs} pairs, "
            f"{evidence.null.origin} "
            "null)"
        )
    return f"{evidence.axis}: {evidence.score} {evidence.value:.3f}{against}, {evidence.text}"


def _cells(candidate: Candidate) -> list[str]:
    dna, gif = candidate.scores.dna, candidate.scores.gif
    ordered = sorted(
        (
            (k, v)
            for k, v in dna.items()
            if k.startswith("noise@") and not k.endswith("probabilities")
        ),
        key=lambda item: _depth(item[0]),
    )
    return [
        candidate.model,
        candidate.relation or "–",
        _number(candidate.scores.weights),
        _number(candidate.scores.biases),
        " ".join(f"{value:.2f}" for _, value in ordered) or "–",
        _number(dna.get("mixed@probabilities")),
        " ".join(f"{value:.2f}" for value in gif.values()) or "–",
    ]


def _depth(readout: str) -> float:
    numerator, _, denominator = readout.split("@")[1].partition("/")
    return float(numerator) / float(denominator or 1)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
