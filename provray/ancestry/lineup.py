"""Models side by side, as arrays: all that is compared of many models with one suspect, and nothing else of them.

A question looks at some sixty models and speaks of a few. Of the many only this is read, without a row of any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from provray.ancestry.components import components
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.shared_tensors import ContentTable, table_of
from provray.fingerprints.weights import READOUTS

F32 = npt.NDArray[np.float32]
_SAME_FAMILY = 0.4
"""Cosine of weights sketches above which two models count as one family."""


class Layout(NamedTuple):
    """What a row's vectors are: rows of one layout can be stacked."""

    kind: str
    space: str
    modality: str
    readouts: tuple[str, ...]


class Measured(NamedTuple):
    """Rows of one layout. numbers: whose they are, by place in the lineup; vectors: (models, readouts, dimensions)."""

    layout: Layout
    numbers: npt.NDArray[np.intp]
    vectors: F32


@dataclass(frozen=True)
class Lineup:
    """Models in one order. types: of architecture, None where no config was seen. contents: what their tensors hold.
    rows: their vectors."""

    models: Sequence[str]
    revisions: Sequence[str]
    types: Sequence[str | None]
    contents: ContentTable
    rows: Sequence[Measured]

    def __len__(self) -> int:
        return len(self.models)

    def of_kind(self, kind: str) -> list[Measured]:
        """The rows of a kind."""
        return [rows for rows in self.rows if rows.layout.kind == kind]

    @cached_property
    def families(self) -> list[int]:
        """A family number for each model: models that share weights, directly or through others, share it.

        Whether they learned anything in common is not asked: two networks of one start count as one family too.
        """
        links = list(self.contents.links())
        for readout in READOUTS:
            held = [m for m in self.of_kind("weights") if readout in m.layout.readouts]
            if held:
                numbers = np.concatenate([m.numbers for m in held])
                parts = [m.vectors[:, m.layout.readouts.index(readout)] for m in held]
                sketches = np.concatenate(parts) if len(parts) > 1 else parts[0]
                near = np.triu(sketches @ sketches.T > _SAME_FAMILY, 1)
                rows, columns = np.nonzero(near)
                links.extend(zip(numbers[rows].tolist(), numbers[columns].tolist(), strict=True))
        return components(len(self), links)


def line_up(fingerprints: Sequence[Fingerprint]) -> Lineup:
    """These models, in this order."""
    held: dict[Layout, list[tuple[int, F32]]] = {}
    for number, f in enumerate(fingerprints):
        for row in (f.weights, f.dna, f.gif):
            if row is not None and row.readouts:
                layout = Layout(row.kind, row.space, row.modality, row.readouts)
                held.setdefault(layout, []).append((number, row.vectors))
    return Lineup(
        [f.model for f in fingerprints],
        [f.revision for f in fingerprints],
        [f.model_type for f in fingerprints],
        table_of([f.contents for f in fingerprints]),
        [
            Measured(
                layout,
                np.array([number for number, _ in rows]),
                np.stack([vectors for _, vectors in rows]),
            )
            for layout, rows in held.items()
        ],
    )
