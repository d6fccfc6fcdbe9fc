"""`provray probes`: build and look at probe sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from provray.cli.console import out, print_json
from provray.cli.options import Json
from provray.fingerprints.settings import STRATA
from provray.probes import (
    DEFAULT_COUNT,
    MODALITIES,
    ProbeSet,
    default_probes,
    probes_from_images,
    probes_from_texts,
    read_probes,
    write_probes,
)

app = typer.Typer(
    no_args_is_help=True,
    help="Probe sets: the fixed inputs every model is asked about.\n\n"
    "The default sets serve to find inherited weights of any model. Whoever looks for stolen behaviour adds a set "
    "of the victim's own domain: `provray probes build --images DIR` or `--texts FILE`.",
)


@app.command("build")
def build_command(
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder of images to make a set of your own from."),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option("--texts", help="Text file, one text a line, to make a set from.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the set.")] = None,
    count: Annotated[
        int, typer.Option("--count", min=8, max=10_000, help="Probes in each of the three strata.")
    ] = DEFAULT_COUNT,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the Parquet files.")] = Path(
        "probes"
    ),
    as_json: Json = False,
) -> None:
    """Build probe sets: your own from `--images` or `--texts`, or else provray's default ones.

    The default sets come out with the same digest on every machine, or it is an error.
    """
    if images is not None and texts is not None:
        raise ValueError("give --images or --texts, not both: a probe set has one modality")
    if images is not None:
        built = [probes_from_images(images, name or images.name, count)]
    elif texts is not None:
        built = [probes_from_texts(texts, name or texts.stem, count)]
    else:
        built = [default_probes(modality) for modality in MODALITIES]
    described = []
    for probes in built:
        path = folder / f"{probes.name}.parquet"
        write_probes(probes, path)
        described.append({**_describe(probes), "path": str(path)})
    _print(described, as_json)


@app.command("show")
def show_command(
    files: Annotated[list[Path], typer.Argument(help="Probe set files.")], as_json: Json = False
) -> None:
    """Show what probe sets hold, after checking them against their digests."""
    _print([{**_describe(read_probes(path)), "path": str(path)} for path in files], as_json)


def _describe(probes: ProbeSet) -> dict[str, object]:
    counts = Counter(p.stratum for p in probes.probes)
    return {
        "name": probes.name,
        "modality": probes.modality,
        "digest": probes.digest,
        "strata": {stratum: counts[stratum] for stratum in STRATA},
    }


def _print(described: list[dict[str, object]], as_json: bool) -> None:
    if as_json:
        print_json({"probe_sets": described})
        return
    table = Table("name", "modality", *STRATA, "digest", "file", box=None, header_style="bold")
    for one in described:
        strata: dict[str, int] = one["strata"]  # type: ignore[assignment]
        table.add_row(
            str(one["name"]),
            str(one["modality"]),
            *(str(strata[s]) for s in STRATA),
            str(one["digest"])[:16],
            str(one["path"]),
        )
    out.print(table)
