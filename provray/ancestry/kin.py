"""What models that share learned weights are to each other.

That is the same whichever of them is asked about, so of indexed models it is found once: who asks about a family asks
about its members one after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from provray.ancestry.direction import Direction
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.lineage import DirectionOf, Lineage, build_lineage


class Kin:
    """Models that are all of one family, the same ones whenever it is asked. direction_of: which of two came first;
    asked once of each pair."""

    def __init__(self, direction_of: DirectionOf) -> None:
        self._direction_of = direction_of
        self._directions: dict[tuple[str, str], Direction] = {}
        self._lineage: Lineage | None = None

    def lineage(self, members: Sequence[Fingerprint]) -> Lineage:
        """The lineage that all of them make. Raises ValueError if two have one name."""
        if self._lineage is None:
            self._lineage = build_lineage(
                members, lambda some: np.ones((len(some), len(some)), bool), self.direction
            )
        return self._lineage

    def direction(self, suspect: Fingerprint, other: Fingerprint) -> Direction:
        """Which of two members came first."""
        pair = suspect.model, other.model
        if pair not in self._directions:
            self._directions[pair] = self._direction_of(suspect, other)
        return self._directions[pair]


class KnownKin:
    """Kin of one index version, `limit` members together at most, without their fingerprints. Safe to use from several
    threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._members = 0
        self._known: dict[tuple[DirectionOf, tuple[str, ...]], Kin] = {}
        self._lock = threading.Lock()

    def of(self, models: Sequence[str], direction_of: DirectionOf) -> Kin:
        """These models, each of them as it is indexed."""
        key = direction_of, tuple(sorted(models))
        with self._lock:
            if key not in self._known:
                if self._members + len(models) > self._limit:
                    self._known.clear()
                    self._members = 0
                self._members += len(models)
                self._known[key] = Kin(direction_of)
            return self._known[key]
