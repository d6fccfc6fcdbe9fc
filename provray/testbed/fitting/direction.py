"""How much each mark and cue says of which of two models came first: fitted on a zoo, scored where it was not fitted.

Asked are all pairs of a model and a parent that share inherited weights (not the stolen, the distilled and the
copies), each in one order drawn at random: a habit of naming the first one cannot help. Fold 0 is scored with what
fold 1 gave and the other way round; so is each architecture with what all others gave. What ships is fitted on both.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from provray.ancestry.direction import LIMIT, Coefficients, judge, log_likelihood_ratio
from provray.ancestry.direction_cues import CHANGES, CUES, MARKS, Comparison, compare
from provray.ancestry.fingerprint import Fingerprint
from provray.testbed.folders import Record
from provray.testbed.scoreboard.cases import make_cases
from provray.testbed.scoreboard.metrics import Estimate, share

Floats = npt.NDArray[np.float64]
SEED = 4711
#: Share of answers by cues that must be right on families that were left out of the fit, for a threshold to be taken.
PRECISION = 0.95
_NOT_ASKED = ("stolen", "distilled", "copy")
_PARTS = 5
_STRENGTHS = (0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Pair:
    """A question of known answer. compared: suspect against other. sign: 1 if `other` is the parent, -1 if `suspect`
    is. child, method, family, fold: of the child. architecture: its `model_type`."""

    compared: Comparison
    sign: int
    child: str
    method: str
    family: int
    fold: int
    architecture: str

    @property
    def marked(self) -> bool:
        """Whether any mark speaks; cues are asked where none does."""
        return any(self.compared.marks.values())


@dataclass(frozen=True)
class Cell:
    """right: share of the answers that are right. silent: share of the questions that get none."""

    right: Estimate
    silent: Estimate


@dataclass(frozen=True)
class DirectionScores:
    """How often the arrow is right where it was not fitted.

    folds: all questions, each judged by the coefficients of the other fold; methods: the same by method of making the
    child; sources: the same by what was asked, `marks` or, where none speaks, `cues, ` and one of `CHANGES`.
    left_out: all questions, each judged by the coefficients of all other architectures; architectures: the same by
    architecture. real: children of published models, with whether the answer is right (None: no answer) and the
    log-likelihood ratio for the right one, by folds.
    """

    folds: Cell
    methods: Mapping[str, Cell]
    sources: Mapping[str, Cell]
    left_out: Cell
    architectures: Mapping[str, Cell]
    real: Mapping[str, tuple[bool | None, float]]


def make_pairs(fingerprints: Sequence[Fingerprint], records: Sequence[Record]) -> list[Pair]:
    """All questions of a zoo; fingerprints in the order of its records. A merge is asked about each parent.

    Models without weights are left out. Raises ValueError if the zoo has nothing to ask.
    """
    cases = make_cases(records)
    place = {record.model: number for number, record in enumerate(records)}
    order = np.random.default_rng(SEED)
    pairs = []
    for number, record in enumerate(records):
        if record.relation in _NOT_ASKED:
            continue
        for parent in record.parents:
            child, elder = fingerprints[number], fingerprints[place[parent]]
            turned = order.random() < 0.5
            if child.weights is None or elder.weights is None:
                continue
            suspect, other = (elder, child) if turned else (child, elder)
            pairs.append(
                Pair(
                    compare(suspect, other),
                    -1 if turned else 1,
                    record.model,
                    record.method,
                    int(cases.families[number]),
                    int(cases.folds[number]),
                    child.weights.model_type,
                )
            )
    if not pairs:
        raise ValueError("the zoo holds no child that shares weights with a parent in it")
    return pairs


def fit_direction(pairs: Sequence[Pair]) -> Coefficients:
    """Coefficients from these questions. Raises ValueError for fewer than two families."""
    if len({pair.family for pair in pairs}) < 2:
        raise ValueError("direction is fitted on at least two families: build a larger zoo")
    marks = {name: _mark(pairs, name) for name in MARKS}
    unmarked = [pair for pair in pairs if not pair.marked]
    return Coefficients(marks, _weights(unmarked), _threshold(unmarked))


def _mark(pairs: Sequence[Pair], name: str) -> float:
    """Log-likelihood ratio of a mark: families in which it is right over those in which it is ever wrong, plus one."""
    heard = [(pair.family, pair.compared.marks[name] * pair.sign) for pair in pairs]
    wrong = {family for family, sign in heard if sign < 0}
    right = {family for family, sign in heard if sign > 0} - wrong
    return math.log((len(right) + 1) / (len(wrong) + 1))


def _weights(pairs: Sequence[Pair]) -> tuple[tuple[float, ...], ...]:
    """Weights of the cues for each change."""
    rows = []
    for change in CHANGES:
        chosen = [pair for pair in pairs if pair.compared.change == change]
        rows.append(_regression(_signed(chosen), np.array([pair.family for pair in chosen])))
    return tuple(rows)


def _regression(values: Floats, families: npt.NDArray[np.intp]) -> tuple[float, ...]:
    """Logistic regression without intercept; of the strengths of `_STRENGTHS` the one that serves families best that
    are left out of it. All weights are 0 where there is nothing to learn from."""
    if not values.any():
        return (0.0,) * len(CUES)
    names = np.unique(families)
    parts = [np.isin(families, names[part::_PARTS]) for part in range(min(_PARTS, len(names)))]

    def loss(strength: float) -> float:
        total = 0.0
        for away in parts:
            if values[~away].any():
                total += float(
                    np.logaddexp(0, -(values[away] @ _logistic(values[~away], strength))).sum()
                )
        return total

    return tuple(_logistic(values, min(_STRENGTHS, key=loss)).tolist())


def _logistic(values: Floats, strength: float) -> Floats:
    """Weights that make `values @ weights` large; every row is shown in both orders."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, fit_intercept=False)
    model.fit(
        np.concatenate([values, -values]),
        np.repeat([1, 0], len(values)),
        np.full(2 * len(values), 0.5),
    )
    weights: Floats = model.coef_[0]
    return weights


def _signed(pairs: Sequence[Pair]) -> Floats:
    """Cues as if the suspect were always the child. Shape (pairs, cues)."""
    return np.array([pair.compared.cues for pair in pairs]).reshape(-1, len(CUES)) * np.array(
        [pair.sign for pair in pairs]
    ).reshape(-1, 1)


def _threshold(pairs: Sequence[Pair]) -> float:
    """The least ratio at and above which cues are right often enough, on families left out of their fit."""
    families = sorted({pair.family for pair in pairs})
    ratios = []
    for part in range(min(_PARTS, len(families))):
        away = set(families[part::_PARTS])
        fitted = Coefficients({}, _weights([p for p in pairs if p.family not in away]), 0.0)
        ratios += [
            pair.sign * log_likelihood_ratio(pair.compared, fitted)
            for pair in pairs
            if pair.family in away
        ]
    sizes = sorted({min(abs(ratio), LIMIT) for ratio in ratios if ratio})
    for least in sizes:
        said = [ratio for ratio in ratios if abs(ratio) >= least]
        if sum(ratio > 0 for ratio in said) >= PRECISION * len(said):
            return least
    # Nothing is sure enough: cues stay below it, whatever they say.
    return math.nextafter(LIMIT, math.inf)


def score_direction(pairs: Sequence[Pair]) -> DirectionScores:
    """Scores by folds and by architectures. Raises ValueError as `fit_direction`."""
    by_fold = _judged(pairs, [str(pair.fold) for pair in pairs])
    architectures = [pair.architecture for pair in pairs]
    left_out = _judged(pairs, architectures)
    sources = ["marks" if pair.marked else f"cues, {_changed(pair)}" for pair in pairs]
    return DirectionScores(
        folds=_cell(pairs, by_fold),
        methods=_cells(pairs, by_fold, [pair.method for pair in pairs]),
        sources=_cells(pairs, by_fold, sources),
        left_out=_cell(pairs, left_out),
        architectures=_cells(pairs, left_out, architectures),
        real={
            pair.child: ((ratio > 0) if said else None, ratio)
            for pair, (said, ratio) in zip(pairs, by_fold, strict=True)
            if pair.child.startswith("real/")
        },
    )


def write(
    path: Path, fingerprints: Sequence[Fingerprint], records: Sequence[Record], command: str
) -> Coefficients:
    """Fit on all of a zoo and write the file that ships; `command` is what makes it again, kept in its metadata.

    Beside it there: names of marks, changes and cues, and SHA-256 over the zoo's truth and revisions.
    """
    found = fit_direction(make_pairs(fingerprints, records))
    tensors = {
        "marks": np.array([found.marks[name] for name in MARKS]),
        "weights": np.array(found.weights),
        "threshold": np.array([found.threshold]),
    }
    metadata = {
        "command": command,
        "data": data_digest(fingerprints, records),
        "marks": ", ".join(MARKS),
        "weights": f"rows: {', '.join(CHANGES)}; columns: {', '.join(CUES)}",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata)
    return found


def data_digest(fingerprints: Sequence[Fingerprint], records: Sequence[Record]) -> str:
    """SHA-256 over the truth of a zoo and the revisions of what was fingerprinted of it."""
    lines = [
        json.dumps([asdict(record), fingerprint.revision], sort_keys=True)
        for fingerprint, record in zip(fingerprints, records, strict=True)
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _judged(pairs: Sequence[Pair], parts: Sequence[str]) -> list[tuple[bool, float]]:
    """For each question, by coefficients fitted on all other parts: whether anything is said, and the log-likelihood
    ratio for the right answer."""
    found: dict[int, tuple[bool, float]] = {}
    for part in set(parts):
        inside = [number for number, name in enumerate(parts) if name == part]
        fitted = fit_direction([p for p, name in zip(pairs, parts, strict=True) if name != part])
        for number in inside:
            answer = judge(pairs[number].compared, fitted)
            ratio = pairs[number].sign * answer.log_likelihood_ratio
            found[number] = (answer.said != "unknown", ratio)
    return [found[number] for number in range(len(pairs))]


def _cell(pairs: Sequence[Pair], judged: Sequence[tuple[bool, float]]) -> Cell:
    families = np.array([pair.family for pair in pairs], np.intp)
    said = np.array([answered for answered, _ in judged])
    right = np.array([ratio > 0 for _, ratio in judged])
    return Cell(share(right[said], families[said]), share(~said, families))


def _cells(
    pairs: Sequence[Pair], judged: Sequence[tuple[bool, float]], names: Sequence[str]
) -> dict[str, Cell]:
    """A cell for each name."""
    found = {}
    for name in sorted(set(names)):
        chosen = [number for number, given in enumerate(names) if given == name]
        found[name] = _cell([pairs[n] for n in chosen], [judged[n] for n in chosen])
    return found


def _changed(pair: Pair) -> str:
    return pair.compared.change or "nothing changed"
