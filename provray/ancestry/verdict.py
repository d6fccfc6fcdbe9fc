"""From scores to a provisional answer, on two axes: inherited weights and inherited behaviour.

The axes are judged apart. Shared weights make an `ancestor`; alike behaviour without shared weights is `related` and
no more, since a student, a thief and a stranger trained on the same data can all look like that. The thresholds and the
data that set them are in docs/thresholds.md; a null model with a stated error rate is to replace them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.relation import guess_relation
from provray.ancestry.scores import Scores, compare
from provray.ancestry.snapshot import Snapshot

Verdict = Literal["copy", "ancestor", "related", "none"]


@dataclass(frozen=True)
class Thresholds:
    """Provisional limits; the data that set them are in docs/thresholds.md.

    weights: cosine of weights sketches from which weights count as inherited. profile: lowest score over the lower half
    of the depth profile on noise from which they count as inherited although their names or order changed.
    behaviour: mean of the behaviour scores from which two models behave alike.
    """

    weights: float = 0.4
    profile: float = 0.9
    behaviour: float = 0.5


LOWER_HALF = ("noise@0", "noise@1/6", "noise@1/3", "noise@1/2")
BEHAVIOUR = ("mixed@probabilities", "mixed@1", "noise@1")


@dataclass(frozen=True)
class Evidence:
    """One score that was looked at. `axis`: weights or behaviour; `decided`: whether it reached its threshold."""

    axis: str
    score: str
    value: float
    threshold: float
    decided: bool
    text: str


@dataclass(frozen=True)
class Candidate:
    """One indexed model held against the suspect. `score`: what candidates are ranked by, 0 to 1."""

    model: str
    revision: str
    scores: Scores
    score: float
    inherits_weights: bool
    behaves_alike: bool
    evidence: tuple[Evidence, ...]
    relation: str = ""


@dataclass(frozen=True)
class Answer:
    """What is said of a suspect: a verdict, its ancestors best first, and every candidate that was looked at."""

    verdict: Verdict
    ancestors: tuple[Candidate, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def judge(
    suspect: Fingerprint,
    snapshot: Snapshot,
    *,
    top_k: int = 10,
    leave_out: Iterable[str] = (),
    thresholds: Thresholds | None = None,
) -> Answer:
    """The answer for a suspect. leave_out: models not to compare with (the suspect itself, say).

    Raises SpaceMismatch if the suspect's fingerprint lives in another space than the index.
    """
    thresholds = thresholds or Thresholds()
    left_out = set(leave_out)
    names = snapshot.candidates(suspect, max(4 * top_k, 32))
    profiles = snapshot.profiles(name for name in names if name not in left_out)
    looked_at = [judge_pair(suspect, other, snapshot, thresholds) for other in profiles]
    looked_at.sort(key=lambda c: (-c.inherits_weights, -c.score, c.model))
    ancestors = tuple(c for c in looked_at if c.inherits_weights)
    alike = any(c.behaves_alike for c in looked_at)
    verdict: Verdict = "ancestor" if ancestors else "related" if alike else "none"
    return Answer(
        verdict, ancestors[:top_k], tuple(looked_at[:top_k]), _warnings(suspect, snapshot)
    )


def copies(suspect: Fingerprint, snapshot: Snapshot, models: Iterable[str]) -> Answer:
    """The answer for a suspect whose weights are bit-identical to those of these models."""
    said = Evidence(
        "weights", "weights digest", 1.0, 1.0, True, "every tensor is bit-identical to this model's"
    )
    found = tuple(
        Candidate(
            other.model,
            other.revision,
            compare(suspect, other, snapshot.cohorts),
            1.0,
            inherits_weights=True,
            behaves_alike=True,
            evidence=(said,),
            relation="copy",
        )
        for other in snapshot.profiles(models)
    )
    return Answer("copy", found, found)


def judge_pair(
    suspect: Fingerprint, other: Fingerprint, snapshot: Snapshot, thresholds: Thresholds
) -> Candidate:
    """One candidate's scores, and what they say on each axis."""
    scores = compare(suspect, other, snapshot.cohorts)
    evidence = []
    if scores.weights is not None:
        evidence.append(
            Evidence(
                "weights",
                "weights",
                scores.weights,
                thresholds.weights,
                scores.weights >= thresholds.weights,
                "cosine of the weights that both models hold under the same names and shapes",
            )
        )
    profile = lower_profile(scores)
    if profile is not None:
        evidence.append(
            Evidence(
                "weights",
                "lower depth profile",
                profile,
                thresholds.profile,
                profile >= thresholds.profile,
                "lowest agreement over the lower half of the layers on noise, which only inherited layers keep",
            )
        )
    behaviour = behaviour_score(scores)
    if behaviour is not None:
        evidence.append(
            Evidence(
                "behaviour",
                "behaviour",
                behaviour,
                thresholds.behaviour,
                behaviour >= thresholds.behaviour,
                "mean agreement of outputs and gradient fields; training alike can cause it",
            )
        )
    inherits = any(e.decided for e in evidence if e.axis == "weights")
    alike = any(e.decided for e in evidence if e.axis == "behaviour")
    shared = scores.weights is not None and scores.weights >= thresholds.weights
    score = _rank(scores, profile if inherits else None, behaviour, shared)
    return Candidate(
        other.model,
        other.revision,
        scores,
        round(min(max(score, 0.0), 1.0), 6),
        inherits,
        alike,
        tuple(evidence),
        guess_relation(suspect, other) if inherits else "",
    )


def _rank(scores: Scores, profile: float | None, behaviour: float | None, shared: bool) -> float:
    """What candidates are ordered by: shared weights first, since among relatives the parent is nearest in weights
    (a sibling adds its own changes to the suspect's); else what the profile shows; else half the behaviour."""
    if shared and scores.weights is not None:
        return scores.weights
    return max(0.5 * (behaviour or 0.0), 0.0) if profile is None else profile


def lower_profile(scores: Scores) -> float | None:
    """Lowest score over the lower half of the depth profile on noise; None if it was not measured."""
    values = [scores.dna[name] for name in LOWER_HALF if name in scores.dna]
    return min(values) if len(values) == len(LOWER_HALF) else None


def behaviour_score(scores: Scores) -> float | None:
    """Mean of the scores that speak of a model's outputs; None if none was measured."""
    values = [scores.dna[name] for name in BEHAVIOUR if name in scores.dna]
    values.extend(scores.gif.values())
    return sum(values) / len(values) if values else None


def _warnings(suspect: Fingerprint, snapshot: Snapshot) -> tuple[str, ...]:
    said: list[str] = []
    for row in (suspect.dna, suspect.gif):
        if row is None:
            continue
        said.extend(row.warnings)
        cohort = snapshot.cohorts.get(row.space)
        if cohort is None or cohort.origin == "none":
            families = cohort.size if cohort is not None else 0
            said.append(
                f"{row.kind} scores are not centred: the index has {families} unrelated families, fewer than 16, and "
                "no reference cohort fits its probe set; behaviour scores are less telling"
            )
        elif cohort.origin == "reference":
            said.append(
                f"{row.kind} scores are centred by the reference cohort of {cohort.size} models: the index has fewer "
                "than 16 unrelated families of its own"
            )
    if suspect.dna is None:
        said.append("no behaviour was measured: judged by weights alone")
    return tuple(dict.fromkeys(said))
