"""Every indexed model as a suspect: its answer as a small row, with the pairs that a lineage is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from provray.ancestry.candidate import Candidate
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.snapshot import Snapshot
from provray.ancestry.verdict import Answer, Examined, conclude, copies, examine, nearest
from provray.ancestry.weighing import Weighed
from provray.index.row import Row

_ANCESTOR = pa.struct(
    [
        ("model", pa.string()),
        ("relation", pa.string()),
        ("axis", pa.string()),
        ("direction", pa.string()),
        ("score", pa.float64()),
        ("probability", pa.float64()),
        ("p_value", pa.float64()),
        ("q_value", pa.float64()),
    ]
)
_PAIR = pa.struct(
    [
        ("model", pa.string()),
        ("p_shares", pa.float64()),
        ("p_start", pa.float64()),
        ("log_odds", pa.float64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("revision", pa.string()),
        ("reason", pa.string()),
        ("verdict", pa.string()),
        ("says", pa.string()),
        ("ancestors", pa.list_(_ANCESTOR)),
        ("contradictions", pa.list_(pa.string())),
        ("warnings", pa.list_(pa.string())),
        ("pairs", pa.list_(_PAIR)),
        ("digests", pa.list_(pa.uint64())),
    ]
)
"""A model's row. `reason`: why there is no answer, empty where there is one. `ancestors`: parents first. `pairs`:
relatives by weights, as far as one of all pairs could count. `digests`: of its tensors that tell something."""


class Everyone:
    """The models of one snapshot, asked about as the service is asked about an indexed one: not compared with
    themselves, nor with what was read from the same place at the same revision."""

    def __init__(self, snapshot: Snapshot, facts: Iterable[Row], fdr: float, top_k: int) -> None:
        self._snapshot, self._fdr, self._top_k = snapshot, fdr, top_k
        self._at: dict[tuple[str, str], set[str]] = {}
        self._places: dict[str, set[tuple[str, str]]] = {}
        for row in facts:
            if row.location:
                place = (row.location, row.revision)
                self._at.setdefault(place, set()).add(row.model)
                self._places.setdefault(row.model, set()).add(place)

    def rows(self, models: Sequence[str]) -> Iterator[dict[str, Any]]:
        """A row of `SCHEMA` for each of these models; what cannot be judged has a reason."""
        suspects = self._snapshot.profiles(models)
        near = nearest(suspects, self._snapshot, self._top_k)
        for suspect, found in zip(suspects, near, strict=True):
            row = {"model": suspect.model, "revision": suspect.revision, "reason": ""}
            try:
                row |= self._judged(suspect, found)
            except Exception as error:  # one damaged model is no reason to stop for all others
                row["reason"] = f"{type(error).__name__}: {error}"
            yield row

    def itself(self, suspect: Fingerprint) -> set[str]:
        """The names of this very model."""
        places = self._places.get(suspect.model, ())
        same = (self._at[place] for place in places if place[1] == suspect.revision)
        return {suspect.model}.union(*same)

    def _judged(self, suspect: Fingerprint, near: Sequence[str]) -> dict[str, Any]:
        seen = self._examined(suspect, near)
        answer = self._answer(seen)
        return {
            "verdict": answer.verdict,
            "says": answer.says,
            "ancestors": [_ancestor(c) for c in answer.ancestors],
            "contradictions": [c.text for c in answer.contradictions],
            "warnings": list(answer.warnings),
            "pairs": _pairs(seen.candidates, self._fdr),
            "digests": [int(digest, 16) for digest in suspect.telling_digests],
        }

    def _examined(self, suspect: Fingerprint, near: Sequence[str]) -> Examined:
        return examine(
            suspect,
            self._snapshot,
            top_k=self._top_k,
            leave_out=self.itself(suspect),
            fdr=self._fdr,
            near=near,
        )

    def _answer(self, seen: Examined) -> Answer:
        if twins := self._snapshot.twins(seen.suspect, self.itself(seen.suspect)):
            return copies(seen.suspect, self._snapshot, twins[: self._top_k], self._fdr)
        return conclude(seen, self._snapshot, self._top_k, self._fdr)


def _ancestor(candidate: Candidate) -> Mapping[str, Any]:
    return {
        "model": candidate.model,
        "relation": candidate.relation,
        "axis": candidate.axis,
        "direction": None if candidate.direction is None else candidate.direction.said,
        "score": candidate.score,
        "probability": candidate.probability,
        "p_value": candidate.p_value,
        "q_value": candidate.q_value,
    }


def _pairs(weighed: Weighed, fdr: float) -> list[Mapping[str, Any]]:
    """What each pair shows of inherited weights, where that can count, however many pairs there are."""
    shown = weighed.shown
    p_shares, p_start, log_odds = (
        column.tolist() for column in (shown.p_shares, shown.p_start, shown.log_odds)
    )
    return [
        {
            "model": weighed.others.models[n],
            "p_shares": p_shares[n],
            "p_start": p_start[n],
            "log_odds": log_odds[n],
        }
        for n in weighed.order
        if p_shares[n] <= fdr
    ]
