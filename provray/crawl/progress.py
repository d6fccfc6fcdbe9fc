"""What a crawl tells of itself, while it runs and when it is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from provray.index.row import Row
from provray.sources import ModelRef
from provray.sources.fetch import Fetched


@dataclass
class CrawlReport:
    """What a crawl did.

    statuses: models by outcome. skipped: already in the index. recovered: models whose rows an interrupted crawl had
    left. version: of the table. stage_seconds: of workers, by stage and `fetch`, added up. fetched_bytes: that
    travelled.
    """

    listed: int = 0
    skipped: int = 0
    recovered: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0
    version: int = 0
    stage_seconds: Counter[str] = field(default_factory=Counter)
    fetched_bytes: int = 0

    def count(self, rows: Sequence[Row]) -> None:
        """Add a finished model."""
        status, reason = outcome(rows)
        self.statuses[status] += 1
        if status != "ok":
            self.failures.append((rows[0].model, status, reason))
        for row in rows:
            self.stage_seconds[row.kind] += row.seconds  # type: ignore[assignment]


class Progress:
    """What a crawl tells of itself while it runs; every method may be overridden, none has to be."""

    def recovered(self, models: int) -> None:
        """Models that an interrupted crawl had finished are in the table now."""

    def planned(self, total: int, skipped: int) -> None:
        """So many models to do are known by now, and so many that are done already. Both grow during the listing."""

    def started(self, ref: ModelRef) -> None:
        """A worker took a model."""

    def fetched(self, fetched: Fetched) -> None:
        """A remote model lies on a worker's disk."""

    def finished(self, rows: Sequence[Row]) -> None:
        """A model is done, for better or worse: see `outcome`."""

    def committed(self, version: int, models: int) -> None:
        """So many models are in the table, which is at this version now."""

    def queued(self, waiting: int) -> None:
        """So many models are listed or fetched and wait for a worker."""

    def worker_lost(self, late: bool) -> None:
        """A worker died, or was killed because it was late. Another takes its place."""

    def elsewhere(self, models: int) -> None:
        """Nothing is left but models that another crawl of this index is doing."""


class Several(Progress):
    """Tells several listeners the same, in order."""

    def __init__(self, *listeners: Progress) -> None:
        for name in [name for name in vars(Progress) if not name.startswith("_")]:
            told = [getattr(listener, name) for listener in listeners]
            setattr(self, name, partial(_tell, told))


def _tell(told: Sequence[Callable[..., None]], *arguments: object) -> None:
    for each in told:
        each(*arguments)


def outcome(rows: Sequence[Row]) -> tuple[str, str]:
    """A model's outcome: ok if all its rows are, else status and reason of the first failure."""
    for row in rows:
        if row.status != "ok":
            return row.status, row.reason
    return "ok", ""
