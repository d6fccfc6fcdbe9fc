"""Processes that append to an index until they are killed or done."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from provray.index.row import Row
from provray.index.table import FingerprintTable
from tests.index.small import unit_row

_CONTEXT = multiprocessing.get_context("spawn")
KINDS = ("weights", "dna", "gif")


def batch_of(name: str, number: int) -> list[Row]:
    """Two models of three kinds: six rows, and so a file in each of three partitions."""
    return [
        unit_row(f"{name}/{number}{half}", number % 8, kind=kind, space=f"{kind}-1")
        for half in "ab"
        for kind in KINDS
    ]


def start_writer(
    uri: str, name: str, batches: int, environment: Mapping[str, str]
) -> tuple[BaseProcess, Connection]:
    """A process that waits for a word, then appends batches, and sends each one's number when it is committed."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(
        target=_write, args=(uri, name, batches, dict(environment), theirs), daemon=True
    )
    process.start()
    theirs.close()
    return process, ours


def _write(
    uri: str, name: str, batches: int, environment: Mapping[str, str], pipe: Connection
) -> None:
    os.environ.update(environment)
    table = FingerprintTable.create(uri)
    pipe.send("ready")
    pipe.recv()
    for number in range(batches):
        table.append(batch_of(name, number))
        pipe.send(number)
