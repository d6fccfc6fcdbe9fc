"""One model's fingerprint, put together from its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from provray.ancestry.shared_tensors import (
    Content,
    body_marks,
    body_size,
    learned_contents,
    telling_digests,
)
from provray.fingerprints.weights import TensorMark
from provray.index.row import Row


@dataclass(frozen=True)
class Fingerprint:
    """What is known of one model at one revision: its rows by kind, None where a kind is missing."""

    model: str
    revision: str
    weights: Row | None = None
    dna: Row | None = None
    gif: Row | None = None

    @property
    def modality(self) -> str:
        """`image`, `text`, or empty if unknown."""
        for row in (self.dna, self.gif, self.weights):
            if row is not None and row.modality:
                return row.modality
        return ""

    @property
    def model_type(self) -> str | None:
        """Its architecture by its config; None where none was seen."""
        row = self.weights or self.dna
        return None if row is None else row.model_type

    @cached_property
    def contents(self) -> Counter[Content]:
        """What its tensors hold; see `learned_contents`."""
        return Counter() if self.weights is None else learned_contents(self.weights)

    @cached_property
    def telling_digests(self) -> Counter[str]:
        """Digests of its tensors; see `shared_tensors.telling_digests`."""
        return Counter() if self.weights is None else telling_digests(self.weights)

    @cached_property
    def body_marks(self) -> dict[str, TensorMark]:
        """Its learned tensors below the head; see `shared_tensors.body_marks`."""
        return {} if self.weights is None else body_marks(self.weights)

    @cached_property
    def body_size(self) -> int:
        """How many learned values its body holds."""
        return body_size(self.contents)

    @property
    def declared(self) -> dict[str, Any]:
        """What its card says; never evidence."""
        return next((row.card for row in self._rows), {})

    @property
    def base_models(self) -> tuple[str, ...]:
        """The names that its card gives as `base_model`."""
        return next((row.base_models for row in self._rows), ())

    @property
    def spaces(self) -> tuple[str, ...]:
        """Ids of the spaces its vectors live in."""
        return tuple(row.space for row in self._rows)

    @property
    def _rows(self) -> list[Row]:
        return [row for row in (self.weights, self.dna, self.gif) if row is not None]


def assemble(rows: Iterable[Row]) -> list[Fingerprint]:
    """Fingerprints of all models in these `ok` rows; of a model with several revisions, the newest one.

    Sorted by model.
    """
    found: dict[tuple[str, str], dict[str, Row]] = {}
    newest: dict[str, tuple[bool, float, str]] = {}
    for row in rows:
        found.setdefault((row.model, row.revision), {})[row.kind] = row
        # Weights come first and once; a late second try at the behaviour makes no revision newer.
        stamp = (row.kind == "weights", row.created.timestamp(), row.revision)
        newest[row.model] = max(newest.get(row.model, stamp), stamp)
    return [
        Fingerprint(model, revision, **rows)
        for (model, revision), rows in sorted(found.items(), key=lambda item: item[0])
        if newest[model][-1] == revision
    ]
