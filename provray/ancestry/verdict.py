"""From scores to an answer with a stated error rate, on two axes: inherited weights and inherited behaviour.

The axes are judged apart. Weights first: which indexed models share any with the suspect (false discovery rate
held over
the whole index), which of those share something learned and not just a start, and which of those the suspect comes
from. Only if no weights are inherited does behaviour speak: it names a victim of theft only on probes of the victim's
domain, and only if the suspect answers like it as like no other; else it says `related`, no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from provray.ancestry.calibration import Calibration, shipped_calibration
from provray.ancestry.candidate import STOLEN, Candidate, Evidence
from provray.ancestry.contradictions import Contradiction, contradictions
from provray.ancestry.direction import direction
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.kin import Kin
from provray.ancestry.lineage import DirectionOf
from provray.ancestry.lineup import Lineup
from provray.ancestry.placement import Placement, place
from provray.ancestry.relation import guess_relation
from provray.ancestry.resemblance import Resemblance, stand_out
from provray.ancestry.scores import behaviour_score, compare
from provray.ancestry.snapshot import Snapshot
from provray.ancestry.warnings import warnings_of
from provray.ancestry.weighing import Weighed, weigh
from provray.ancestry.wording import axis_words, behaviour_evidence, verdict_words, weights_evidence

Verdict = Literal["copy", "ancestor", "descendant", "sibling", "related", "none"]
FDR = 0.05
NEAREST = 24
"""Candidates that each search gives at least: by weights, by biases, by behaviour."""
RELATIVES = 48
"""Relatives that are placed in one lineage with the suspect, the nearest ones."""
ALIKE = 0.5
"""Mean of the behaviour scores from which two models are said to behave alike. No error rate rests on it."""


@dataclass(frozen=True)
class Answer:
    """What is said of a suspect.

    says: the verdict in a sentence; axes: what each axis shows, in words. ancestors: parents first, then theirs.
    candidates: all that were looked at, best first. resemblance: the model it answers like most, where that was asked.
    contradictions: where its card says otherwise.
    """

    verdict: Verdict
    says: str
    axes: Mapping[str, str] = field(default_factory=dict)
    ancestors: tuple[Candidate, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    resemblance: Resemblance | None = None
    fdr: float = FDR
    contradictions: tuple[Contradiction, ...] = ()
    warnings: tuple[str, ...] = ()


def judge(
    suspect: Fingerprint,
    snapshot: Snapshot,
    *,
    top_k: int = 10,
    leave_out: Iterable[str] = (),
    fdr: float = FDR,
    near: Iterable[str] | None = None,
    calibration: Calibration | None = None,
    direction_of: DirectionOf = direction,
) -> Answer:
    """The answer for a suspect. leave_out: models not to compare with (the suspect itself, say). near: its candidates,
    where `nearest` looked for those of several suspects together. calibration, direction_of: what provray ships, unless
    something else is to be scored.

    Raises SpaceMismatch if the suspect's fingerprint lives in another space than the index, ValueError for an fdr
    outside 0 to .5.
    """
    calibration = calibration or shipped_calibration()
    seen = examine(
        suspect,
        snapshot,
        top_k=top_k,
        leave_out=leave_out,
        fdr=fdr,
        near=near,
        calibration=calibration,
    )
    return conclude(seen, snapshot, top_k, fdr, calibration, direction_of)


@dataclass(frozen=True)
class Examined:
    """A suspect held against its nearest. candidates: what each of them shows, best first, without evidence in words.
    tests: how many models the index has for it."""

    suspect: Fingerprint
    candidates: Weighed
    tests: int


def examine(
    suspect: Fingerprint,
    snapshot: Snapshot,
    *,
    top_k: int = 10,
    leave_out: Iterable[str] = (),
    fdr: float = FDR,
    near: Iterable[str] | None = None,
    calibration: Calibration | None = None,
) -> Examined:
    """The first half of `judge`, with the same arguments: scores, and what they show. Raises what `judge` raises."""
    if not 0 < fdr <= 0.5:
        raise ValueError(f"fdr must be above 0 and at most 0.5, got {fdr}")
    left_out = set(leave_out)
    names = nearest([suspect], snapshot, top_k)[0] if near is None else near
    others = snapshot.gallery.line_up(n for n in names if n not in left_out)
    tests = max(snapshot.models - len(left_out), len(others), 1)
    calibration = calibration or shipped_calibration()
    return Examined(suspect, weigh(suspect, others, snapshot, calibration, fdr, tests), tests)


def read_relatives(seen: Iterable[Examined], snapshot: Snapshot, top_k: int = 10) -> None:
    """Read whom `conclude` will speak of, of all these suspects at once: the snapshot remembers them, and ten rows cost
    little more to read than one."""
    snapshot.profiles({m for s in seen for m in s.candidates.relatives(top_k)[:RELATIVES]})


def conclude(
    seen: Examined,
    snapshot: Snapshot,
    top_k: int = 10,
    fdr: float = FDR,
    calibration: Calibration | None = None,
    direction_of: DirectionOf = direction,
) -> Answer:
    """The second half of `judge`: the answer for what was examined, with the same arguments."""
    suspect, candidates = seen.suspect, seen.candidates.first(top_k)
    calibration = calibration or shipped_calibration()
    relatives = [c for c in candidates if c.inherits][:RELATIVES]
    others = {f.model: f for f in snapshot.profiles(c.model for c in relatives)}
    resemblance = None
    if relatives:
        kin = snapshot.kin([suspect, *others.values()], direction_of)
        verdict, candidates = _by_weights(suspect, others, candidates, relatives, kin)
    else:
        candidates = list(seen.candidates)
        resemblance = _resemblance(
            suspect, seen.candidates.others, candidates, snapshot, calibration
        )
        verdict, candidates = _by_behaviour(candidates, resemblance, fdr)
    ancestors = [c for c in candidates if c.axis]

    told = {c.model: c for c in (*ancestors[:top_k], *candidates[:top_k])}
    explained = {model: _explained(c, fdr, seen.tests) for model, c in told.items()}
    return Answer(
        verdict,
        verdict_words(verdict, ancestors, [c for c in candidates if c.relation]),
        axis_words(candidates, resemblance, fdr),
        tuple(explained[c.model] for c in ancestors[:top_k]),
        tuple(explained[c.model] for c in candidates[:top_k]),
        resemblance,
        fdr,
        _contradictions(suspect, verdict, ancestors, others, snapshot),
        warnings_of(suspect, snapshot, calibration),
    )


def nearest(
    suspects: Sequence[Fingerprint], snapshot: Snapshot, top_k: int = 10
) -> list[list[str]]:
    """The models that `judge` compares with each of these suspects: one pass over the index for all of them, which
    costs little more than for one."""
    return snapshot.candidates_of(suspects, max(2 * top_k, NEAREST))


def copies(
    suspect: Fingerprint, snapshot: Snapshot, models: Iterable[str], fdr: float = FDR
) -> Answer:
    """The answer for a suspect whose weights are bit-identical to those of these models: nothing else is compared."""
    bare = replace(suspect, dna=None, gif=None)
    said = Evidence(
        "weights",
        "weights digest",
        1.0,
        1.0,
        0.0,
        None,
        True,
        "every tensor is bit-identical to this model's",
    )
    others = snapshot.profiles(models)
    found = tuple(
        Candidate(
            other.model,
            other.revision,
            compare(bare, other, snapshot.cohorts),
            score=1.0,
            probability=1.0,
            p_value=0.0,
            q_value=0.0,
            shares=True,
            inherits=True,
            axis="weights",
            relation="copy",
            direction=direction(bare, other),
            evidence=(said,),
        )
        for other in others
    )
    return Answer(
        "copy",
        verdict_words("copy", found, ()),
        {"weights": "every tensor is bit-identical", "behaviour": "the same, as the weights are"},
        found,
        found,
        fdr=fdr,
        contradictions=contradictions(
            suspect.declared,
            "copy",
            [(o.model, o.declared) for o in others],
            [o.model for o in others],
        ),
    )


def _contradictions(
    suspect: Fingerprint,
    verdict: Verdict,
    ancestors: Sequence[Candidate],
    others: Mapping[str, Fingerprint],
    snapshot: Snapshot,
) -> tuple[Contradiction, ...]:
    """Where the card says otherwise. Of weights alone: a theft is nothing that a card could have declared."""
    by_weights = [c for c in ancestors if c.axis == "weights"]
    inferred = verdict if by_weights or verdict != "ancestor" else "none"
    declared = [(c.model, others[c.model].declared) for c in by_weights]
    return contradictions(suspect.declared, inferred, declared, snapshot.names)


def _explained(candidate: Candidate, fdr: float, tests: int) -> Candidate:
    """With the evidence of its scores, before what else was said of it."""
    scores, shown = candidate.scores, candidate.inheritance
    evidence = (
        *weights_evidence(scores, shown, fdr, tests, candidate.inherits),
        *behaviour_evidence(scores),
        *candidate.evidence,
    )
    return replace(candidate, evidence=evidence)


def _by_weights(
    suspect: Fingerprint,
    others: Mapping[str, Fingerprint],
    candidates: Sequence[Candidate],
    relatives: Sequence[Candidate],
    kin: Kin,
) -> tuple[Verdict, list[Candidate]]:
    """The verdict of the weights, and the candidates with their place in the suspect's lineage, ancestors first."""
    placement = place(suspect, [others[c.model] for c in relatives], kin)
    placed = {c.model: _placed(suspect, others[c.model], c, placement, kin) for c in relatives}
    order = [*placement.ancestors, *placement.siblings, *placement.descendants]
    rest = [c for c in candidates if c.model not in placed]
    verdict: Verdict = (
        "ancestor" if placement.ancestors else "descendant" if placement.descendants else "sibling"
    )
    return verdict, [*(placed[model] for model in order), *rest]


def _placed(
    suspect: Fingerprint,
    other: Fingerprint,
    candidate: Candidate,
    placement: Placement,
    kin: Kin,
) -> Candidate:
    """A relative with what it is to the suspect."""
    if candidate.model in placement.siblings:
        return replace(candidate, relation="sibling")
    came = kin.direction(suspect, other)
    if candidate.model in placement.descendants:
        return replace(candidate, relation="descendant", direction=replace(came, said="descendant"))
    edge = placement.parents.get(candidate.model)
    if edge is None:
        # what a pair shows by itself does not count where the way between is known
        between = ", ".join(placement.parents)
        came = replace(came, said="ancestor", reasons=(f"an ancestor of {between}",))
        return replace(
            candidate, axis="weights", relation=guess_relation(suspect, other), direction=came
        )
    said: Literal["ancestor", "unknown"] = "ancestor" if edge.direction_known else "unknown"
    came = replace(came, said=said, reasons=tuple(dict.fromkeys((*came.reasons, *edge.reasons))))
    return replace(candidate, axis="weights", relation=edge.relation, direction=came)


def _resemblance(
    suspect: Fingerprint,
    others: Lineup,
    candidates: Sequence[Candidate],
    snapshot: Snapshot,
    calibration: Calibration,
) -> Resemblance | None:
    """The model that the suspect answers like as like no other; None if its probes are not of anyone's domain."""
    if suspect.dna is None or snapshot.default_probes(suspect.dna.probes):
        return None
    numbers = dict(zip(others.models, others.families, strict=True))
    return stand_out({c.model: c.scores for c in candidates}, numbers, calibration)


def _by_behaviour(
    candidates: Sequence[Candidate], resemblance: Resemblance | None, fdr: float
) -> tuple[Verdict, list[Candidate]]:
    """The verdict where no learned weights are shared, and the candidates, those that it speaks of first."""
    if resemblance is not None:
        candidates = [
            replace(c, evidence=(*c.evidence, *behaviour_evidence(c.scores, resemblance, fdr)))
            if c.model == resemblance.model
            else c
            for c in candidates
        ]
        if resemblance.p_value <= fdr:
            named = [
                replace(
                    c,
                    axis="behaviour",
                    relation=STOLEN,
                    probability=resemblance.probability,
                    p_value=resemblance.p_value,
                    q_value=resemblance.p_value,
                )
                for c in candidates
                if c.model == resemblance.model
            ]
            return "ancestor", [*named, *(c for c in candidates if c.model != resemblance.model)]
    started = [c for c in candidates if c.shares]
    alike = [
        replace(c, relation="behaves alike")
        for c in candidates
        if not c.shares and (behaviour_score(c.scores) or 0.0) >= ALIKE
    ]
    told = {c.model for c in (*started, *alike)}
    verdict: Verdict = "related" if told else "none"
    return verdict, [*started, *alike, *(c for c in candidates if c.model not in told)]
