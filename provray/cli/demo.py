"""`provray demo`: the main job on a small family of real models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from provray.cli.console import err, out, style_of
from provray.cli.crawl_progress import CrawlStatus

if TYPE_CHECKING:
    from provray.testbed.demo_result import DemoResult, Question


def demo_command(
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for models, index and report.")
    ] = Path("demo-out"),
) -> None:
    """Build models with known lineage, crawl them, ask about held-out ones, and write a report.

    Everything runs on this machine, without a network, in a few minutes on two cores. Run again, it keeps the models
    and the index it finds and asks once more.
    """
    try:
        from provray.testbed.assets import MissingAsset
        from provray.testbed.demo import run_demo
        from provray.testbed.report import write_report
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the demo needs {error.name}: install the testbed extra, pip install 'provray[testbed]'"
        ) from error

    try:
        with err.status("building a family of models …") as status:
            result = run_demo(
                folder,
                building=lambda p: status.update(
                    f"building models {p.done}/{p.total}: {p.model} ({p.relation})"
                ),
                crawling=CrawlStatus(status),
                asking=lambda done, total, model: status.update(
                    f"asking about held-out models {done}/{total}: {model}"
                ),
            )
    except RuntimeError as error:
        if isinstance(error.__cause__, MissingAsset):
            raise ValueError(str(error.__cause__)) from error
        raise
    report = folder / "report.html"
    write_report(result, report)
    print_result(result)
    out.print(f"report: [bold]{report}[/]", soft_wrap=True)


def print_result(result: DemoResult) -> None:
    """Truth against verdict, hard cases first, and what it comes to."""
    table = Table(
        "held-out model",
        "truth",
        "parent",
        "verdict",
        "named",
        "score",
        "",
        box=None,
        header_style="bold",
    )
    for question in sorted(result.questions, key=_hardness):
        score = question.candidates[0].score if question.candidates else 0.0
        table.add_row(
            question.model,
            question.relation,
            question.parent or "–",
            f"[{style_of(question.verdict)}]{question.verdict}[/]",
            question.named or "–",
            f"{score:.2f}",
            {True: "[green]right[/]", False: "[bold red]wrong[/]", None: "[dim]as it falls[/]"}[
                question.right
            ],
        )
    out.print(table)
    demanded = [q for q in result.questions if q.right is not None]
    right = sum(q.right is True for q in demanded)
    out.print(
        f"{right} of {len(demanded)} right; {len(result.questions) - len(demanded)} thefts as they fell"
    )
    out.print(" · ".join(f"{name} {seconds:.0f} s" for name, seconds in result.stages), style="dim")


def _hardness(question: Question) -> tuple[int, str]:
    order = (
        "stolen",
        "distilled",
        "stranger",
        "twin",
        "pruned",
        "new head",
        "fine-tune",
        "quantised",
    )
    rank = order.index(question.relation) if question.relation in order else len(order)
    return rank, question.model
