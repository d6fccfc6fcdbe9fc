"""`provray zoo build`: model families with known lineage."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from provray.cli.console import out, status

if TYPE_CHECKING:
    from provray.testbed.build import Progress
    from provray.testbed.folders import Record

app = typer.Typer(
    no_args_is_help=True,
    help="Model families with known lineage: the ground truth that verdicts are scored on.",
)


@app.command("build")
def build_command(
    folder: Annotated[Path, typer.Argument(help="Folder of the zoo.", show_default=False)],
    spec: Annotated[
        str,
        typer.Option(
            help="`small`: some 40 models on digits and news, about a minute on two cores. `standard`: over 800 "
            "models, also on Fashion-MNIST and with real ones, up to an hour with its scores."
        ),
    ] = "small",
    workers: Annotated[int, typer.Option(min=1, help="Models made at once.")] = 2,
    seed: Annotated[int, typer.Option(help="Another seed gives other networks of one plan.")] = 0,
) -> None:
    """Build a zoo, or go on with one: models that are there are kept.

    Writes complete model folders below DIR/indexed and their lineage into DIR/truth.parquet.
    """
    try:
        from provray.testbed.assets import MissingAsset
        from provray.testbed.zoo import build_zoo
    except ModuleNotFoundError as error:
        raise ValueError(
            f"zoos need {error.name}: install the testbed extra, pip install 'provray[testbed]'"
        ) from error

    began = time.monotonic()
    with status("planning …") as shown:

        def show(progress: Progress) -> None:
            minutes = (time.monotonic() - began) / 60
            shown.update(
                f"{progress.done}/{progress.total} models, {minutes:.0f} min: {progress.model}"
            )

        try:
            records = build_zoo(folder, spec, seed=seed, workers=workers, progress=show)
        except RuntimeError as error:
            if isinstance(error.__cause__, MissingAsset):
                raise ValueError(str(error.__cause__)) from error
            raise
    _print(records)
    out.print(f"truth: [bold]{folder / 'truth.parquet'}[/]", soft_wrap=True)


@app.command("probes")
def probes_command(
    folder: Annotated[Path, typer.Argument(help="A built zoo.", show_default=False)],
) -> None:
    """Write probe sets of the zoo's own domains: what to look for theft with.

    DIR/probes/domain-digits.parquet and so on, one for each domain, from pictures and texts that no model was
    trained on; for `provray crawl DIR/indexed --probes …`.
    """
    from provray.probes import write_probes
    from provray.testbed.domain_probes import domain_probes
    from provray.testbed.folders import read_truth
    from provray.testbed.scoreboard.cases import data_of

    for probes in domain_probes({data_of(record) for record in read_truth(folder)}).values():
        path = folder / "probes" / f"{probes.name}.parquet"
        write_probes(probes, path)
        out.print(f"{probes.modality}: [bold]{path}[/] {probes.digest[:12]}", soft_wrap=True)


@app.command("fit")
def fit_command(
    folder: Annotated[
        Path,
        typer.Argument(help="A standard zoo, crawled by `provray eval`.", show_default=False),
    ],
    into: Annotated[Path, typer.Option("--out", help="Folder for the two files.")],
) -> list[Path]:
    """Fit what verdicts are calibrated by: weights of the scores, nulls, direction.

    provray ships the files that this makes of the standard zoo, in provray/ancestry/data. DNA on probes of the
    zoo's own domains is measured first where it is missing (about ten minutes on two cores).
    """
    from provray.testbed.fitting.verdict import read_evidence, write_shipped

    with status("reading fingerprints, measuring what is missing …") as shown:
        evidence = read_evidence(
            folder, lambda done, total: shown.update(f"probes of the domain {done}/{total}")
        )
    into.mkdir(parents=True, exist_ok=True)
    paths = write_shipped(evidence, into)
    for path in paths:
        out.print(f"[bold]{path}[/] {path.stat().st_size} bytes", soft_wrap=True)
    return paths


def _print(records: list[Record]) -> None:
    """How many models of each relation, and what they cost."""
    counts = Counter(record.relation for record in records)
    table = Table("relation", "models", "CPU time", box=None, header_style="bold")
    for relation, count in counts.most_common():
        seconds = sum(r.seconds for r in records if r.relation == relation)
        table.add_row(relation, str(count), f"{seconds:.0f} s")
    total = sum(record.seconds for record in records)
    table.add_row("[bold]all[/]", f"[bold]{len(records)}[/]", f"[bold]{total:.0f} s[/]")
    out.print(table)
