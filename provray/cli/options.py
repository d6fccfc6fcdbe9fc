"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from provray.probes import ProbeSet, read_probes

Index = Annotated[
    str,
    typer.Option(
        "--index",
        help="Folder of the index, or s3://bucket/prefix.",
        metavar="URI",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Probes = Annotated[
    list[Path] | None,
    typer.Option(
        "--probes",
        help="Probe set (Parquet, from `provray probes build`) to use instead of the index's own; may be repeated, "
        "one per modality.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Fingerprint workers. Default: one per core and --threads."
    ),
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Compute threads of each worker.")]
Gpus = Annotated[
    float,
    typer.Option("--gpus-per-worker", min=0, help="GPUs of each worker; a fraction shares one."),
]
Address = Annotated[
    str | None, typer.Option("--address", help="Ray cluster to join; default: a private one here.")
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", help="Torch device of the workers. Default: cuda with GPUs, else cpu."
    ),
]
Dtype = Annotated[
    str, typer.Option("--dtype", help="float32, or bfloat16 for autocast on a GPU.", metavar="TYPE")
]
TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit", min=1, help="Seconds after which a model is given up as `timeout`."
    ),
]


def read_all(paths: list[Path] | None) -> list[ProbeSet]:
    """The probe sets of these files."""
    return [read_probes(path) for path in paths or []]
