"""What a source of models is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from provray.models.errors import ModelError


@dataclass(frozen=True)
class ModelRef:
    """One model at one revision.

    model: its name in the index. location: local directory with its files. revision: content
    digest. declared: what its card says (`base_model`, `license`, `name`): shown, never used as
    evidence. problem: why it cannot be read at all; revision is then empty.
    """

    model: str
    location: str
    revision: str
    declared: Mapping[str, Any]
    problem: ModelError | None = None


class Source(Protocol):
    """A place that lists models, always in the same order."""

    def models(self) -> Iterator[ModelRef]:
        """The models found, each with its revision."""
