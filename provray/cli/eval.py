"""`provray eval`: the scoreboard of a zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from provray.cli.console import out, status
from provray.cli.crawl_progress import CrawlStatus
from provray.cli.options import Probes, read_all

if TYPE_CHECKING:
    from provray.testbed.scoreboard.board import Board


def eval_command(
    zoo: Annotated[Path, typer.Argument(help="A zoo of `provray zoo build`.", show_default=False)],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every figure to this file.")
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Write JSON, Markdown and a picture to this folder."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the files in --out.")] = "scoreboard",
    probes: Probes = None,
    workers: Annotated[int, typer.Option(min=1, help="Models looked at at once.")] = 2,
) -> Any:
    """Score every kind of evidence on models of known lineage.

    The zoo is crawled into ZOO/index (kept for the next time). Families belong to two folds: what is fitted on one is
    scored on the other. Shown are thefts, then what keeps the weights, each with a 95 % interval over families.
    """
    try:
        from provray.testbed.scoreboard.board import evaluate
        from provray.testbed.scoreboard.report import board_json, write_board
    except ModuleNotFoundError as error:
        raise ValueError(
            f"eval needs {error.name}: install the testbed extra, pip install 'provray[testbed]'"
        ) from error
    from provray.testbed.folders import write_json

    command = f"provray eval {zoo.name}" + "".join(f" --probes {p.name}" for p in probes or [])
    given = read_all(probes)
    with status("reading the zoo …") as shown:
        board = evaluate(
            zoo,
            probes=given,
            workers=workers,
            crawling=CrawlStatus(shown),
            measuring=lambda done, total, model: shown.update(
                f"outputs for baselines {done}/{total}"
            ),
        )
    print_board(board)
    if json_file is not None:
        write_json(json_file, board_json(board, command))
        out.print(f"figures: [bold]{json_file}[/]", soft_wrap=True)
    if out_folder is not None:
        for path in write_board(board, out_folder, name, command):
            out.print(f"written: [bold]{path}[/]", soft_wrap=True)
    return board


def print_board(board: Board) -> None:
    """The pooled figures of every score, and strangers taken for relatives."""
    from provray.testbed.scoreboard.board import LOGISTIC
    from provray.testbed.scoreboard.report import MEASURES, POOLED, SHOWN, score_order

    out.print(
        f"{board.models} models, {board.questions} questions of {board.families} families, "
        f"{board.candidates} candidates; two folds, 95 % intervals over families"
    )
    for kind in POOLED[:-1]:
        if kind not in board.cells[LOGISTIC]:
            continue
        table = Table(
            f"score on {kind}", *MEASURES.values(), box=None, header_style="bold", show_edge=False
        )
        for score in score_order(board):
            cell = board.cells[score].get(kind)
            if cell is not None and (score in SHOWN or not score.startswith(("dna", "gif"))):
                table.add_row(score, *(str(getattr(cell, measure)) for measure in MEASURES))
        out.print(table)
        out.print()
    table = Table("asked about", f"taken for a relative ({LOGISTIC})", "questions", box=None)
    for asked, estimate in board.accepted[LOGISTIC].items():
        table.add_row(asked, str(estimate), str(estimate.count))
    out.print(table)
    for model, why, reason in board.failed:
        out.print(f"[red]{why}[/] {model}: {reason}", soft_wrap=True)
