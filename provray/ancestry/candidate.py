"""One indexed model held against the suspect, and the evidence that was weighed."""

from __future__ import annotations

from dataclasses import dataclass

from provray.ancestry.direction import Direction
from provray.ancestry.inheritance import Inheritance
from provray.ancestry.null import Null
from provray.ancestry.scores import Scores

STOLEN = "distilled or stolen"
SHARES = "shares weights"


@dataclass(frozen=True)
class Evidence:
    """One score that was looked at.

    axis: `weights` or `behaviour`. limit: the value an unrelated pair exceeds with the probability that the verdict
    allows, None where that is not one number. null: what it was held against. decided: whether it is one of those the
    verdict rests on. text: what it means, in words.
    """

    axis: str
    score: str
    value: float
    limit: float | None
    p_value: float
    null: Null | None
    decided: bool
    text: str


@dataclass(frozen=True)
class Candidate:
    """One indexed model held against the suspect.

    score: what candidates are ranked by, 0 to 1. probability: that what the relation says holds, calibrated on families
    of known lineage. p_value: that an unrelated model shows as much; q_value: the same, corrected for the size of the
    index. shares: whether any weights are shared; inherits: whether learned ones are. axis: the axis that names it an
    ancestor, empty if none does. relation: `fine-tune`, `new head`, `pruned`, `quantised`, `merged`, `copy`,
    `distilled or stolen`, `sibling`, `descendant`, `shares weights`, `behaves alike`, or empty. direction: which
    came first, None where that was not asked.
    """

    model: str
    revision: str
    scores: Scores
    score: float
    probability: float
    p_value: float
    q_value: float
    shares: bool = False
    inherits: bool = False
    axis: str = ""
    relation: str = ""
    direction: Direction | None = None
    evidence: tuple[Evidence, ...] = ()
    inheritance: Inheritance | None = None
