"""Which of two models came first, once it is known that they share inherited weights.

A similarity is the same both ways; an arrow needs something that only goes one way. Three things do, more or less:

- *Edits that lose something*: exact zeros of pruning, a coarser lattice of rounding, layers that are gone. They count
  only while the rest shows that nothing was trained since (biases and gains bit for bit the same, and as much
  lost as such an edit costs; or all tensors within rounding): training fills zeros and lattices in again, and the same
  mark then points the other way.
- *A counter*: batch normalisation counts the batches it was trained on (`num_batches_tracked`).
- *Size*: a step in a direction unrelated to the weights makes them longer, so a fine-tune's matrices are a little
  larger than its parent's. Measured on small networks and six children of real ones (five larger, one smaller), so
  it is weighed apart by what changed and never says more than `LIMIT`. Strong weight decay turns it round, and so does
  averaging: a merge is smaller than each of its parts, as a parent is smaller than its fine-tune. Merges of whole
  fine-tunes were in the fit, averages of adapters were not: between an adapter's child and such an average it is wrong.

Marks weigh what a zoo of known lineage showed, by families, not pairs, Laplace-smoothed; where they are silent, a
logistic regression without intercept on signed differences is asked. Swapping the models changes the sign
and nothing else. The coefficients come from `provray.testbed.fitting.direction`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal

from safetensors.numpy import load as load_safetensors

from provray.ancestry.direction_cues import CHANGES, MARKS, Comparison, compare
from provray.ancestry.fingerprint import Fingerprint
from provray.index.row import Row

LIMIT = math.log(9.0)
"""The most that cues may say: nine to one. They were seen on small networks, and merges mirror some of them."""


@dataclass(frozen=True)
class Direction:
    """said: what `other` is of `suspect`. log_likelihood_ratio: natural log; positive: `other` came first. reasons:
    what it rests on, with numbers. priors: what cards say or people usually do; words, never part of the number."""

    said: Literal["ancestor", "descendant", "unknown"]
    log_likelihood_ratio: float
    reasons: tuple[str, ...]
    priors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coefficients:
    """marks: log-likelihood ratio of each of `MARKS`. weights: of `CUES` by `CHANGES`, one row a change.
    threshold: the least absolute log-likelihood ratio that is said aloud."""

    marks: Mapping[str, float]
    weights: tuple[tuple[float, ...], ...]
    threshold: float


def direction(suspect: Fingerprint, other: Fingerprint) -> Direction:
    """Which came first of two models that share inherited weights; `unknown` is a proper answer.

    Whether they share any is not asked here. Raises SpaceMismatch for weights of two spaces, FileNotFoundError if the
    shipped coefficients are missing.
    """
    if suspect.weights is None or other.weights is None:
        missing = suspect if suspect.weights is None else other
        return Direction("unknown", 0.0, (f"no weights of {missing.model} are indexed",))
    compared = compare(suspect, other)
    return judge(compared, shipped(), declarations(suspect, other))


def judge(
    compared: Comparison, coefficients: Coefficients, priors: tuple[str, ...] = ()
) -> Direction:
    """The answer to a comparison under these coefficients."""
    ratio = log_likelihood_ratio(compared, coefficients)
    reasons = tuple(compared.words.values())
    if abs(ratio) < coefficients.threshold or ratio == 0.0:
        return Direction("unknown", ratio, (*reasons, _silence(compared)), priors)
    return Direction("ancestor" if ratio > 0 else "descendant", ratio, reasons, priors)


def log_likelihood_ratio(compared: Comparison, coefficients: Coefficients) -> float:
    """Marks if any speaks, the strongest for each side; else the cues, at most `LIMIT` either way."""
    heard = [(sign, coefficients.marks[name]) for name, sign in compared.marks.items() if sign]
    if heard:
        elder = max((weight for sign, weight in heard if sign > 0), default=0.0)
        younger = max((weight for sign, weight in heard if sign < 0), default=0.0)
        return elder - younger
    if not compared.change:
        return 0.0
    weights = coefficients.weights[CHANGES.index(compared.change)]
    total = sum(weight * cue for weight, cue in zip(weights, compared.cues, strict=True))
    return max(-LIMIT, min(LIMIT, total))


@lru_cache(maxsize=1)
def shipped() -> Coefficients:
    """The coefficients that come with provray. Raises FileNotFoundError if this installation lacks them."""
    file = resources.files("provray.ancestry") / "data" / "direction.safetensors"
    if not file.is_file():
        raise FileNotFoundError(
            "provray/ancestry/data/direction.safetensors is missing: reinstall provray, or fit it"
        )
    tensors = load_safetensors(file.read_bytes())
    return Coefficients(
        dict(zip(MARKS, tensors["marks"].tolist(), strict=True)),
        tuple(tuple(row) for row in tensors["weights"].tolist()),
        float(tensors["threshold"][0]),
    )


def declarations(suspect: Fingerprint, other: Fingerprint) -> tuple[str, ...]:
    """What cards and custom say of the direction, labelled as such; anyone may write a card."""
    found = []
    for child, parent in ((suspect, other), (other, suspect)):
        if {parent.model, parent.model.rpartition("/")[2]} & set(child.base_models):
            found.append(f"declared: the card of {child.model} names {parent.model} as its base")
    if suspect.weights is not None and other.weights is not None:
        a, b = _vocabulary(suspect.weights), _vocabulary(other.weights)
        if a and b and a[1:] == b[1:] and a[0] != b[0]:
            found.append(
                f"custom: the embedding of {suspect.model} has {a[0]} rows, that of {other.model} {b[0]}; "
                "vocabularies are extended more often than cut"
            )
    return tuple(found)


def _vocabulary(row: Row) -> tuple[int, ...]:
    """Shape of the word embedding; empty if there is none."""
    for mark in row.tensors:
        if mark.name.endswith(("word_embeddings.weight", "embed_tokens.weight", "wte.weight")):
            return mark.shape
    return ()


def _silence(compared: Comparison) -> str:
    if any(compared.marks.values()):
        return "the marks contradict each other"
    if not compared.change:
        return "the bodies are bit for bit the same: nothing in them says which came first"
    if compared.change == "all changed":
        return (
            "no mark of an edit, and a fine-tune and a merge mirror each other: direction unknown"
        )
    return "no mark of an edit, and what else differs says too little"
