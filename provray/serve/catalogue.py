"""What one version of the index says of each model, apart from vectors: listing, search by name, details, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from provray.index.row import Row, first_failure


@dataclass(frozen=True)
class Entry:
    """The rows of one model, all revisions. `rows`: those of the newest revision, weights first."""

    model: str
    revision: str
    rows: tuple[Row, ...]
    revisions: tuple[str, ...]

    @property
    def failed(self) -> Row | None:
        """The first row that says what went wrong, if one does."""
        return first_failure(self.rows)

    @property
    def status(self) -> str:
        """`ok`, or what went wrong."""
        failed = self.failed
        return "ok" if failed is None else failed.status

    def summary(self) -> dict[str, Any]:
        """As `ModelSummary` has it."""
        failed = self.failed
        newest = self.rows[0]
        return {
            "model": self.model,
            "revision": self.revision,
            "status": self.status,
            "reason": "" if failed is None else failed.reason,
            "kinds": [row.kind for row in self.rows if row.status == "ok"],
            "modality": self._first("modality"),
            "model_type": self._first("model_type"),
            "architecture": self._first("architecture"),
            "parameters": self._first("parameters"),
            "bytes": self._first("bytes"),
            "base_model": list(newest.base_models),
            "license": str(newest.card.get("license", "")),
            "crawled": max(row.created for row in self.rows).isoformat(),
        }

    def words(self) -> str:
        """What a search looks in."""
        found = self.summary()
        shown = (self.model, found["model_type"], found["architecture"], *found["base_model"])
        return "\n".join(shown).casefold()

    def _first(self, name: str) -> Any:
        values = [getattr(row, name) for row in self.rows]
        return next((value for value in values if value), values[0])


class Catalogue:
    """All models of a version, by name."""

    def __init__(self, facts: Iterable[Row]) -> None:
        by_model: dict[str, list[Row]] = {}
        for row in facts:
            by_model.setdefault(row.model, []).append(row)
        self.entries = {model: _entry(model, rows) for model, rows in sorted(by_model.items())}
        self.places: dict[tuple[str, str], list[str]] = {}
        for entry in self.entries.values():
            location = entry.rows[0].location
            if location:
                self.places.setdefault((location, entry.revision), []).append(entry.model)
        self._listed: list[tuple[str, Entry]] | None = None

    def at(self, location: str, revision: str) -> list[str]:
        """Names under which this very model, at this place and revision, is indexed."""
        return self.places.get((location, revision), [])

    def search(
        self, words: str, status: str, after: str, limit: int
    ) -> tuple[int, list[dict[str, Any]], str | None]:
        """How many models there are with all of these words and this status, `limit` of them by name from `after` on,
        and the name that the next page begins after."""
        wanted = words.casefold().split()
        found = [
            entry
            for text, entry in self._texts()
            if all(word in text for word in wanted) and _fits(entry.status, status)
        ]
        page = [entry for entry in found if entry.model > after][: limit + 1]
        more = len(page) > limit
        page = page[:limit]
        return len(found), [e.summary() for e in page], page[-1].model if more else None

    def statuses(self) -> dict[str, int]:
        """Models by outcome."""
        return dict(Counter(entry.status for entry in self.entries.values()).most_common())

    def spaces(self, asked: Sequence[str]) -> list[dict[str, Any]]:
        """As `SpaceFacts` has them."""
        counted: Counter[tuple[str, str, str, str]] = Counter(
            (row.kind, row.space, row.modality if row.kind != "weights" else "", row.probes)
            for entry in self.entries.values()
            for row in entry.rows
            if row.status == "ok"
        )
        return [
            {
                "kind": kind,
                "space": space,
                "modality": modality,
                "probes": probes,
                "models": count,
                "asked": space in asked,
            }
            for (kind, space, modality, probes), count in sorted(counted.items())
        ]

    def _texts(self) -> list[tuple[str, Entry]]:
        if self._listed is None:
            self._listed = [(entry.words(), entry) for entry in self.entries.values()]
        return self._listed


def row_facts(row: Row) -> dict[str, Any]:
    """As `RowFacts` has it."""
    return {
        "kind": row.kind,
        "space": row.space,
        "status": row.status,
        "reason": row.reason,
        "probes": row.probes,
        "device": row.device,
        "dtype": row.dtype,
        "seconds": round(row.seconds, 3),
        "crawled": row.created.isoformat(),
        "provray": row.provray,
        "warnings": list(row.warnings),
    }


_KINDS = ("weights", "dna", "gif")


def _entry(model: str, rows: Sequence[Row]) -> Entry:
    """Of several revisions the one that was weighed last counts, as in `assemble`."""
    newest: dict[str, tuple[bool, float]] = {}
    for row in rows:
        stamp = (row.kind == "weights", row.created.timestamp())
        newest[row.revision] = max(newest.get(row.revision, stamp), stamp)
    revisions = sorted(newest, key=lambda r: (newest[r], r), reverse=True)
    own = sorted((r for r in rows if r.revision == revisions[0]), key=_order)
    return Entry(model, revisions[0], tuple(own), tuple(revisions))


def _order(row: Row) -> tuple[int, str]:
    return _KINDS.index(row.kind) if row.kind in _KINDS else len(_KINDS), row.space


def _fits(status: str, wanted: str) -> bool:
    if not wanted:
        return True
    return status != "ok" if wanted == "failed" else status == wanted
