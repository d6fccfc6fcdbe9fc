"""An answer as plain data: the one object that `query --json` prints and the service returns."""

from __future__ import annotations

from typing import Any

from provray.ancestry.verdict import Candidate, Evidence


def candidate_to_json(candidate: Candidate) -> dict[str, Any]:
    """A candidate with every score kept apart."""
    return {
        "model": candidate.model,
        "revision": candidate.revision,
        "score": candidate.score,
        "inherits_weights": candidate.inherits_weights,
        "behaves_alike": candidate.behaves_alike,
        "scores": {
            "weights": _rounded(candidate.scores.weights),
            "dna": {name: _rounded(value) for name, value in candidate.scores.dna.items()},
            "gif": {name: _rounded(value) for name, value in candidate.scores.gif.items()},
        },
    }


def ancestor_to_json(candidate: Candidate) -> dict[str, Any]:
    """An ancestor with the evidence that named it."""
    return {
        "model": candidate.model,
        "revision": candidate.revision,
        "relation": candidate.relation,
        "score": candidate.score,
        "evidence": [evidence_to_json(e) for e in candidate.evidence],
    }


def evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """One piece of evidence, with the threshold it was held against."""
    return {
        "axis": evidence.axis,
        "score": evidence.score,
        "value": _rounded(evidence.value),
        "threshold": evidence.threshold,
        "decided": evidence.decided,
        "text": evidence.text,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
