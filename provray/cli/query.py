"""`provray query`: which indexed model is this one's ancestor?"""

from __future__ import annotations

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
    from provray.ancestry.verdict import Candidate
    from provray.crawl.ask import Reply

_SAID = {
    "copy": "bit-identical weights under another name",
    "ancestor": "inherits weights from an indexed model",
    "related": "behaves like an indexed model, but no inherited weights are shown: "
    "distilled, stolen, or only trained alike",
    "none": "no indexed model is shown to be its ancestor",
}


def query_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Folder of the model to ask about.", show_default=False
        ),
    ],
    index: Index,
    top_k: Annotated[
        int, typer.Option("--top-k", min=1, max=1000, help="Candidates to show.")
    ] = 10,
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

    Verdicts: `copy` (bit-identical weights), `ancestor` (inherited weights), `related` (behaves alike, no inherited
    weights shown), `none`. Exit code 0 for every answer, also `none`.
    """
    from provray.crawl.ask import Asker, reply_to_json  # torch and Ray take seconds to import

    pool, compute = worker_options.settings(
        workers, threads, gpus_per_worker, time_limit, device, dtype
    )
    with (
        err.status("fingerprinting the model and searching the index …"),
        Asker(index, probes=read_all(probes), compute=compute, pool=pool, address=address) as asker,
    ):
        reply = asker.ask(model, top_k)
    if as_json:
        print_json(reply_to_json(reply))
    else:
        print_reply(reply)


def print_reply(reply: Reply) -> None:
    """An answer for people: the verdict in words, the ancestors' evidence, the candidates in a table."""
    answer = reply.answer
    out.print(
        f"[{style_of(answer.verdict)}]{answer.verdict}[/]: [bold]{reply.model}[/] {_SAID[answer.verdict]}",
        soft_wrap=True,
    )
    for ancestor in answer.ancestors[:3]:
        out.print(f"  [bold]{ancestor.model}[/] ({ancestor.relation}), score {ancestor.score:.3f}")
        for evidence in ancestor.evidence:
            sign = "≥" if evidence.decided else "<"
            out.print(
                f"    {evidence.axis}: {evidence.score} {evidence.value:.3f} {sign} "
                f"{evidence.threshold:g}, {evidence.text}",
                style=None if evidence.decided else "dim",
                soft_wrap=True,
            )
    table = Table(
        "candidate", "score", "weights", "noise by depth", "probabilities", "GiF", box=None
    )
    for candidate in answer.candidates:
        table.add_row(*_cells(candidate))
    if answer.candidates:
        out.print(table)
    out.print(
        f"{reply.models} models in {reply.index} at version {reply.version}",
        style="dim",
        soft_wrap=True,
    )
    for warning in answer.warnings:
        err.print(f"[yellow]warning[/]: {warning}", soft_wrap=True)


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
        f"{candidate.score:.3f}",
        _number(candidate.scores.weights),
        " ".join(f"{value:.2f}" for _, value in ordered) or "–",
        _number(dna.get("mixed@probabilities")),
        " ".join(f"{value:.2f}" for value in gif.values()) or "–",
    ]


def _depth(readout: str) -> float:
    numerator, _, denominator = readout.split("@")[1].partition("/")
    return float(numerator) / float(denominator or 1)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
