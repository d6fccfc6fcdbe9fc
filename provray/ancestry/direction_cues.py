"""What tells two models apart that share inherited weights: marks of edits that lose something, and signed differences.

See `provray.ancestry.direction` for what they say together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.space import require_same
from provray.fingerprints.weights import TensorMark, is_head
from provray.index.row import Row, scale_count

MARKS = ("zeros", "lattice", "layers")
"""Edits that lose something, in the order of their names in the shipped file."""
CHANGES = ("part kept", "new head", "all changed")
"""What became of the body: some tensors bit for bit the same, none and another head, none and a head of that shape."""
CUES = ("size", "batches counted", "rank", "confidence")
"""Signed differences; each has a weight of its own for every one of `CHANGES`."""
_ZEROS = 0.002
_LATTICE = 0.0015
_ROUNDED = 2e-6
"""1 - cosine of two sketches up to which the one may be the other in bfloat16 (1.2e-6 to 1.5e-6 measured)."""
_LAST = ("natural@1", "mixed@1", "noise@1")
_RANK = 0.1
_ANSWERS = ("natural@probabilities", "mixed@probabilities")
_CONFIDENCE = 0.5
_NOTHING = 1e-3
"""A log ratio of behaviour below which two models do the same."""
_LAYER = re.compile(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)")
Marks = tuple[TensorMark, TensorMark]
Bodies = Mapping[str, TensorMark]
"""`body_marks` of a model."""


@dataclass(frozen=True)
class Comparison:
    """What tells two models apart, in one order; every sign turns with it, and nothing else.

    marks: 1 for each of `MARKS` that makes `other` the elder, -1 the younger, 0 silent. change: one of `CHANGES`, or
    empty if nothing changed. cues: one number in [-1, 1] for each of `CUES`, positive if the suspect has more.
    words: the reason behind each mark and cue that is not zero.
    """

    marks: Mapping[str, int]
    change: str
    cues: tuple[float, ...]
    words: Mapping[str, str]


def compare(suspect: Fingerprint, other: Fingerprint) -> Comparison:
    """Marks and cues of two models. Raises ValueError where either has no weights, SpaceMismatch for two spaces."""
    ours, theirs = suspect.weights, other.weights
    if ours is None or theirs is None:
        raise ValueError("direction needs the weights of both models: index them first")
    require_same(ours.space, theirs.space, what=f"{suspect.model} and {other.model}")
    body = _shared(suspect.body_marks, other.body_marks)
    matrices = [(a, b) for a, b in body if len(a.shape) >= 2]
    lines = [(a, b) for a, b in body if len(a.shape) == 1]
    apart = _apart(ours, theirs)
    words: dict[str, str] = {}
    marks = {
        "zeros": _zeros(matrices, lines, apart, words),
        "lattice": _lattice(matrices, lines, apart, words),
        "layers": _layers(suspect.body_marks, other.body_marks, words),
    }
    change = _change(body, ours, theirs)
    if not change or any(marks.values()):
        return Comparison(marks, change, (0.0,) * len(CUES), words)
    cues = (
        _size(matrices, apart, words),
        _batches(ours, theirs, words),
        _rank(suspect.dna, other.dna, words),
        _confidence(suspect, other, words),
    )
    return Comparison(marks, change, cues, words)


def _shared(ours: Bodies, theirs: Bodies) -> list[Marks]:
    """Body tensors of one name and shape."""
    return [
        (mark, theirs[name])
        for name, mark in ours.items()
        if name in theirs and theirs[name].shape == mark.shape
    ]


def _apart(ours: Row, theirs: Row) -> float:
    """1 - cosine of the sketches of matrices; 0 where a model has none."""
    if not len(ours.vectors) or not len(theirs.vectors):
        return 0.0
    a, b = (row.vectors[0].astype(np.float64) for row in (ours, theirs))
    return float(np.square(a - b).sum()) / 2 if a.any() and b.any() else 0.0


def _change(body: list[Marks], ours: Row, theirs: Row) -> str:
    kept = sum(a.digest == b.digest for a, b in body)
    if kept == len(body):
        return ""
    if kept:
        return "part kept"
    return "all changed" if _heads(ours) == _heads(theirs) else "new head"


def _heads(row: Row) -> set[tuple[str, tuple[int, ...]]]:
    """Name and shape of the tensors of the output head; a pooler comes and goes with the library's class."""
    return {
        (mark.name, mark.shape)
        for mark in row.tensors
        if is_head(mark.name) and not mark.name.startswith("pooler")
    }


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _zeros(matrices: list[Marks], lines: list[Marks], apart: float, words: dict[str, str]) -> int:
    more = _mean([a.zeros - b.zeros for a, b in matrices])
    if abs(more) < _ZEROS:
        return 0
    shares = (
        f"{_mean([a.zeros for a, _ in matrices]):.1%} of the suspect's matrices are exact zeros, "
        f"{_mean([b.zeros for _, b in matrices]):.1%} of the other's"
    )
    if not _edited(matrices, lines, apart):
        words["zeros"] = f"{shares}, but what else changed is training: it may have filled zeros in"
        return 0
    words["zeros"] = f"{shares}, and biases are the same: what was set to zero cannot be restored"
    return 1 if more > 0 else -1


def _lattice(matrices: list[Marks], lines: list[Marks], apart: float, words: dict[str, str]) -> int:
    finer = _finer(matrices)
    if abs(finer) < _LATTICE:
        return 0
    shares = (
        f"{_mean([a.distinct for a, _ in matrices]):.1%} of the values in a row of the suspect's matrices "
        f"differ, {_mean([b.distinct for _, b in matrices]):.1%} of the other's"
    )
    if apart > _ROUNDED and not _edited(matrices, lines, apart):
        words["lattice"] = (
            f"{shares}, but what changed is not rounding alone: it may be trained since"
        )
        return 0
    words["lattice"] = f"{shares}: rounding cannot be undone"
    return 1 if finer > 0 else -1


def _finer(matrices: list[Marks]) -> float:
    return _mean([b.distinct - a.distinct for a, b in matrices])


def _edited(matrices: list[Marks], lines: list[Marks], apart: float) -> bool:
    """Whether the zeros of one model can have been made out of the other without training.

    Biases and gains must be bit for bit the same, and the models as far apart as making so many zeros costs: an
    adapter on a pruned model fills its zeros in for much less. Of normal weights, pruning a share z below the
    quantile t takes a share z - 2 t phi(t) of the squares; rounding that makes z zeros has steps of 2 t.
    """
    if not lines or any(a.digest != b.digest for a, b in lines):
        return False
    zeros = abs(_mean([a.zeros - b.zeros for a, b in matrices]))
    if not 0 < zeros < 1:
        return False
    normal = NormalDist()
    limit = normal.inv_cdf((1 + zeros) / 2)
    pruning = 1 - math.sqrt(1 - zeros + 2 * limit * normal.pdf(limit))
    rounding = limit**2 / 6
    return apart >= (rounding if abs(_finer(matrices)) >= _LATTICE else pruning) / 2


def _layers(ours: Bodies, theirs: Bodies, words: dict[str, str]) -> int:
    """Whether one has fewer layers of the same make, most of them bit for bit layers of the other."""
    a, b = list(ours.values()), list(theirs.values())
    more = len(b) - len(a)
    if not more:
        return 0
    makes = [{(_LAYER.sub("*", m.name), m.shape) for m in row} for row in (a, b)]
    if makes[0] != makes[1]:
        return 0
    fewer, all_of_them = ({m.digest for m in row} for row in ((a, b) if more > 0 else (b, a)))
    if 2 * len(fewer & all_of_them) <= len(fewer) or all_of_them <= fewer:
        return 0
    words["layers"] = (
        f"the suspect's body has {len(a)} tensors, the other's {len(b)} of the same make, and "
        f"{len(fewer & all_of_them)} are bit for bit the same: layers were dropped"
    )
    return 1 if more > 0 else -1


def _size(matrices: list[Marks], apart: float, words: dict[str, str]) -> float:
    """By how much the suspect's matrices are larger, in units of what unrelated steps of that length would add."""
    logs = [math.log(a.rms) - math.log(b.rms) for a, b in matrices if a.rms > 0 and b.rms > 0]
    larger = _mean(logs)
    if apart < 1e-9 or abs(larger) < _NOTHING * apart:
        return 0.0
    words["size"] = (
        f"the suspect's matrices are {100 * abs(larger):.2g} % {'larger' if larger > 0 else 'smaller'} (root mean "
        f"square; training without strong weight decay would make the younger's {100 * apart:.2g} % larger)"
    )
    return _odd(larger / apart)


def _batches(ours: Row, theirs: Row, words: dict[str, str]) -> float:
    """1 if the suspect's batch normalisation has counted more batches. A scalar's rms is its value."""
    counts = [
        {m.name: m.rms for m in row.tensors if m.name.endswith("num_batches_tracked")}
        for row in (ours, theirs)
    ]
    names = sorted(counts[0].keys() & counts[1].keys())
    a, b = (_mean([count[name] for name in names]) for count in counts)
    if a == b:
        return 0.0
    words["batches counted"] = (
        f"the suspect's normalisation counted {a:.0f} batches, the other's {b:.0f}: training counts up"
    )
    return 1.0 if a > b else -1.0


def _rank(ours: Row | None, theirs: Row | None, words: dict[str, str]) -> float:
    """How much higher the effective rank (trace² / norm²) of the suspect's last hidden states is."""
    a, b = _scales(ours, theirs, _LAST)
    higher = _mean([2 * ((u[1] - u[0]) - (v[1] - v[0])) for u, v in zip(a, b, strict=True)])
    if abs(higher) < _NOTHING:
        return 0.0
    words["rank"] = (
        f"the effective rank of the suspect's last hidden states is {math.exp(abs(higher)):.2f} times "
        f"{'higher' if higher > 0 else 'lower'}: a new task keeps fewer directions"
    )
    return _odd(higher / _RANK)


def _confidence(suspect: Fingerprint, other: Fingerprint, words: dict[str, str]) -> float:
    """How much more the suspect's probabilities spread over inputs (trace), where both have a head of one shape."""
    if suspect.weights is None or other.weights is None:
        return 0.0
    if _heads(suspect.weights) != _heads(other.weights):
        return 0.0
    a, b = _scales(suspect.dna, other.dna, _ANSWERS)
    wider = _mean([u[1] - v[1] for u, v in zip(a, b, strict=True)])
    if abs(wider) < _NOTHING:
        return 0.0
    words["confidence"] = (
        f"the suspect's probabilities spread {math.exp(abs(wider)):.2f} times "
        f"{'more' if wider > 0 else 'less'}: longer training is surer of its answers"
    )
    return _odd(wider / _CONFIDENCE)


def _scales(
    ours: Row | None, theirs: Row | None, names: tuple[str, ...]
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Log norm and log trace of these readouts, of each model; nothing where two models were asked other probes.

    Raises ValueError for a row that lacks some of them.
    """
    if ours is None or theirs is None or ours.space != theirs.space:
        return [], []
    found = []
    for row in (ours, theirs):
        if len(row.scales) != (wanted := scale_count(row.kind, len(row.readouts))):
            raise ValueError(
                f"the {row.kind} row of {row.model} holds {len(row.scales)} scales, not {wanted}: `provray verify` "
                "names all that is damaged; crawl the model into a new index, or open an older version"
            )
        pairs = zip(row.readouts, row.scales[::2], row.scales[1::2], strict=True)
        found.append({name: (n, t) for name, n, t in pairs if n > 0 and t > 0})
    kept = [name for name in names if name in found[0] and name in found[1]]
    a, b = ([(math.log(f[name][0]), math.log(f[name][1])) for name in kept] for f in found)
    return a, b


def _odd(value: float) -> float:
    """tanh, odd to the last bit."""
    return math.copysign(math.tanh(abs(value)), value)
