"""What a crawl tells of itself, while it runs and when it is over."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from provray.sources import ModelRef


@dataclass
class CrawlReport:
    """What a crawl did. `statuses`: models by outcome; `skipped`: already in the index; `version`: of the table."""

    listed: int = 0
    skipped: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0
    version: int = 0


class Progress:
    """What a crawl tells of itself while it runs; every method may be overridden, none has to be."""

    def planned(self, total: int, skipped: int) -> None:
        """The worklist is known."""

    def started(self, ref: ModelRef) -> None:
        """A worker took a model."""

    def finished(self, model: str, status: str, reason: str) -> None:
        """A model is done, for better or worse."""
