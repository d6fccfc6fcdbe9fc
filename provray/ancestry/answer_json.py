"""An answer as plain data: the one object that `query --json` prints and the service returns."""

from __future__ import annotations

from typing import Any

from provray.ancestry.candidate import Candidate, Evidence
from provray.ancestry.contradictions import Contradiction
from provray.ancestry.direction import Direction
from provray.ancestry.inheritance import features
from provray.ancestry.null import LEVELS, Null
from provray.ancestry.verdict import Answer


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """Verdict, ancestors, candidates, the nulls they were held against, contradictions and warnings."""
    return {
        "fdr": answer.fdr,
        "verdict": answer.verdict,
        "says": answer.says,
        "axes": dict(answer.axes),
        "ancestors": [candidate_to_json(c) for c in answer.ancestors],
        "candidates": [candidate_to_json(c) for c in answer.candidates],
        "nulls": _nulls(answer),
        "contradictions": [contradiction_to_json(c) for c in answer.contradictions],
        "warnings": list(answer.warnings),
    }


def candidate_to_json(candidate: Candidate) -> dict[str, Any]:
    """A candidate with every score kept apart and the evidence that was weighed."""
    scores = candidate.scores
    return {
        "model": candidate.model,
        "revision": candidate.revision,
        "relation": candidate.relation,
        "axis": candidate.axis,
        "score": candidate.score,
        "probability": _rounded(candidate.probability),
        "p_value": candidate.p_value,
        "q_value": candidate.q_value,
        "shares_weights": candidate.shares,
        "inherits": candidate.inherits,
        "direction": None if candidate.direction is None else _direction(candidate.direction),
        "evidence": [evidence_to_json(e) for e in candidate.evidence],
        "scores": {
            "weights": _rounded(scores.weights),
            "biases": _rounded(scores.biases),
            "shared": _rounded(scores.shared),
            "dna": {name: _rounded(value) for name, value in scores.dna.items()},
            "gif": {name: _rounded(value) for name, value in scores.gif.items()},
        },
    }


def evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """One piece of evidence, with what it was held against."""
    return {
        "axis": evidence.axis,
        "score": evidence.score,
        "value": _rounded(evidence.value),
        "limit": _rounded(evidence.limit),
        "p_value": evidence.p_value,
        "null": None if evidence.null is None else null_to_json(evidence.null),
        "decided": evidence.decided,
        "text": evidence.text,
    }


def null_to_json(null: Null) -> dict[str, Any]:
    """What a null rests on; its quantiles are given once for each axis."""
    return {
        "origin": null.origin,
        "condition": null.condition,
        "pairs": null.pairs,
        "families": null.families,
    }


def contradiction_to_json(found: Contradiction) -> dict[str, str]:
    """A disagreement between a card and the evidence."""
    return {
        "kind": found.kind,
        "declared": found.declared,
        "inferred": found.inferred,
        "text": found.text,
    }


def _direction(direction: Direction) -> dict[str, Any]:
    return {
        "said": direction.said,
        "log_likelihood_ratio": _rounded(direction.log_likelihood_ratio),
        "reasons": list(direction.reasons),
        "priors": list(direction.priors),
    }


def _nulls(answer: Answer) -> dict[str, Any]:
    """For each axis the null that says most of the best candidate, its quantiles, and every candidate's value there."""
    found: dict[str, Any] = {"weights": None, "behaviour": None}
    for axis in found:
        listed = [e for c in answer.candidates for e in c.evidence if e.axis == axis and e.null]
        # the biases tell most where they are there: they are what was learned
        best = min(listed, key=lambda e: (e.score != "biases", e.p_value), default=None)
        if best is None or best.null is None:
            continue
        found[axis] = {
            **null_to_json(best.null),
            "score": best.score,
            "quantiles": [
                [round(float(level), 4), round(float(value), 6)]
                for level, value in zip(LEVELS, best.null.quantiles, strict=True)
            ],
            "limit": _rounded(best.limit),
            "value": _rounded(best.value),
            "p_value": best.p_value,
            "values": [
                [c.model, value]
                for c in answer.candidates
                if (value := _value(c, best)) is not None
            ],
        }
    return found


def _value(candidate: Candidate, best: Evidence) -> float | None:
    if best.axis == "weights":
        return _rounded(features(candidate.scores).get(best.score))
    return next((_rounded(e.value) for e in candidate.evidence if e.score == best.score), None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
