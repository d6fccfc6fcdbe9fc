"""Candidates held against a suspect: what their scores show of inherited weights, and in which order they count.

All of them are compared as columns; a question speaks of a few, and only these are put together one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from provray.ancestry.calibration import Calibration
from provray.ancestry.candidate import SHARES, Candidate
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.inheritance import Shown, condition, inheritance, least_odds
from provray.ancestry.lineup import Lineup
from provray.ancestry.null import adjusted
from provray.ancestry.scores import ScoreTable, compare_all
from provray.ancestry.snapshot import Snapshot


@dataclass(frozen=True)
class Weighed:
    """Candidates, best first: who inherits, who shares no more than a start, the others. scores, shown, ranks,
    q_values: by place in the lineup. starts: adjusted p-values of those who share weights, against a common start.
    order: places, best first."""

    others: Lineup
    scores: ScoreTable
    shown: Shown
    ranks: list[float]
    q_values: list[float]
    starts: dict[int, float]
    inherits: frozenset[int]
    order: list[int]

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Candidate]:
        return map(self._candidate, self.order)

    def first(self, count: int) -> list[Candidate]:
        """So many of the best; and all who share weights, if there are more of these."""
        return [self._candidate(n) for n in self._first(count)]

    def relatives(self, count: int) -> list[str]:
        """Names of those among the `first` that inherit."""
        return [self.others.models[n] for n in self._first(count) if n in self.inherits]

    def _first(self, count: int) -> list[int]:
        return self.order[: max(count, len(self.starts))]

    def _candidate(self, number: int) -> Candidate:
        shown, shares = self.shown.of(number), number in self.starts
        inherits = number in self.inherits
        return Candidate(
            self.others.models[number],
            self.others.revisions[number],
            self.scores.of(number),
            score=self.ranks[number],
            probability=shown.probability if shown is not None and shares else 0.0,
            p_value=1.0 if shown is None else max(shown.p_shares, 0.0),
            q_value=max(self.q_values[number], self.starts.get(number, 0.0)),
            shares=shares,
            inherits=inherits,
            relation=SHARES if shares and not inherits else "",
            inheritance=shown,
        )


def weigh(
    suspect: Fingerprint,
    others: Lineup,
    snapshot: Snapshot,
    calibration: Calibration,
    fdr: float,
    tests: int,
) -> Weighed:
    """Each candidate's scores and what they show of inherited weights, best first.

    Two families of tests: sharing anything, over the `tests` models of the index; then, among those that do, sharing
    more than a start. And the odds of one of its family at least must bear that out: what one pair of networks of one
    start reaches, all their descendants reach, and a tail over pairs takes them for many.
    """
    scores = compare_all(suspect, others, snapshot.cohorts)
    conditions = [condition(suspect.model_type, theirs) for theirs in others.types]
    shown = inheritance(scores.features, conditions, calibration, snapshot.nulls)
    q_values = adjusted(shown.p_shares.tolist(), tests, others.families)
    sharing = [n for n, q in enumerate(q_values) if q <= fdr]
    starts = adjusted(shown.p_start[sharing].tolist(), len(sharing))
    likely = [
        n for n, q in zip(sharing, starts, strict=True) if q <= fdr and shown.log_odds[n] >= 0
    ]
    sure = {others.families[n] for n in likely if shown.log_odds[n] >= least_odds(fdr)}
    inherits = frozenset(n for n in likely if others.families[n] in sure)
    learned = dict(zip(sharing, starts, strict=True))
    shared = np.nan_to_num([scores.weights, scores.biases, scores.shared]).max(0).tolist()
    alike = (np.nan_to_num(scores.behaviour) / 2).tolist()
    ranks = [
        round(min(max(shared[n] if n in learned else min(alike[n], 0.5), 0.0), 1.0), 6)
        for n in range(len(others))
    ]
    order = sorted(
        range(len(others)),
        key=lambda n: (n not in inherits, n not in learned, -ranks[n], others.models[n]),
    )
    return Weighed(others, scores, shown, ranks, q_values, learned, inherits, order)
