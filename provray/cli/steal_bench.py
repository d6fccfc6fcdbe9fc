"""`provray steal-bench`: what members add to a thief, and whether provray names its victim."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table

from provray.cli.console import err, out
from provray.cli.crawl_progress import CrawlStatus
from provray.crawl.settings import available_cores

if TYPE_CHECKING:
    from provray.testbed.pictures import Pictures
    from provray.testbed.steal_bench import StealResult

#: Modules of the testbed extra, and what needs them.
_NEEDED = {
    "sklearn": "the digits",
    "scipy": "Student's t",
    "laplace": "the last-layer Laplace surrogate",
    "matplotlib": "the figure",
}


def steal_bench_command(
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for models, table, figures and the plot.")
    ] = Path("steal-bench-out"),
    pictures: Annotated[
        str, typer.Option("--pictures", help="fashion (Fashion-MNIST) or digits (scikit-learn's).")
    ] = "fashion",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Repetitions.")] = 3,
    queries: Annotated[
        int, typer.Option("--queries", min=40, help="Queries to the victim, for each seed.")
    ] = 2000,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Where to write all figures as JSON. Default: steal-bench.json in --out.",
        ),
    ] = None,
) -> None:
    """Steal one image classifier with surrogates that express uncertainty in five ways, and with a single network.

    Reports fidelity, accuracy and the variance of members' predictions over training iterations, with intervals over
    seeds, and how often provray names the victim of each. A few minutes on one thread; an interrupted run with the same
    settings goes on where it stopped.
    """
    missing = [f"{name} ({use})" for name, use in _NEEDED.items() if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"the benchmark needs {', '.join(missing)}: install the testbed extra, "
            "pip install 'provray[testbed]'"
        )
    from provray.testbed.assets import MissingAsset
    from provray.testbed.folders import write_json
    from provray.testbed.steal_bench import StealSettings, run_steal_bench
    from provray.testbed.steal_plot import draw_steal_plot
    from provray.testbed.steal_report import steal_markdown

    if pictures not in ("digits", "fashion"):
        raise ValueError(f"--pictures must be fashion or digits, got {pictures!r}")
    settings = StealSettings(pictures=cast("Pictures", pictures), queries=queries, seeds=seeds)
    try:
        with err.status("preparing …") as status:
            result = run_steal_bench(
                folder / "work",
                settings,
                doing=lambda what: status.update(f"{what} …"),
                crawling=CrawlStatus(status),
            )
    except MissingAsset as error:
        raise ValueError(str(error)) from error
    head = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {available_cores()} cores, one compute thread",
        "command": f"provray steal-bench --pictures {pictures} --seeds {seeds} --queries {queries}",
    }
    plot, text = folder / "steal-bench.png", folder / "steal-bench.md"
    draw_steal_plot(
        result.looks, plot, title=f"Stealing a classifier of {pictures} with {queries:,} queries"
    )
    lines = [f"{key}: {value}" for key, value in head.items()]
    text.write_text("\n".join([*lines, "", steal_markdown(result)]), encoding="utf-8")
    json_file = json_file or folder / "steal-bench.json"
    write_json(json_file, {**head, **asdict(result)})
    print_steal_result(result)
    for file in (text, plot, json_file):
        out.print(f"[bold]{file}[/]", soft_wrap=True)


def print_steal_result(result: StealResult) -> None:
    """Print the tables, and in words what they show."""
    from provray.testbed.steal_report import steal_tables

    for caption, headings, rows in steal_tables(result, brief=True):
        table = Table(*headings, title=caption, title_justify="left", box=None, header_style="bold")
        for row in rows:
            table.add_row(*row)
        out.print(table)
        out.print()
    for claim, words in zip(("Marginal gains?", "Growing alike?"), result.claims, strict=True):
        out.print(f"[bold]{claim}[/] {words}", soft_wrap=True)
    out.print(
        " · ".join(f"{name} {wall:.0f} s ({cpu:.0f} s CPU)" for name, wall, cpu in result.stages),
        style="dim",
    )
