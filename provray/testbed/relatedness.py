"""Does a distance between models follow how related their tasks are? The published score, and its pitfalls.

Task relatedness is measured by transfer: the affinity of task i to task j is how much a model made for i helps
with j (Zamir et al., "Taskonomy", CVPR 2018). ModelGiF (Song et al., ICCV 2023) scores a distance between models
by the Spearman correlation of each column of the distance matrix with that column of the affinities, takes the
absolute value, and averages over columns. RSA (Dwivedi & Roig, CVPR 2019) is the distance it is held against.

Two things to know about that score. The absolute value hides the sign: a column in which *distant* models transfer best
counts as much as one in which near ones do, and a distance that knows nothing does not score 0 but the mean |ρ| of
random orders, which is large for few tasks. So `signed_relatedness_score` and `chance_scores` stand beside it.
And a model's distance to itself is 0 and its own task is usually what it helps most, so the diagonal alone raises
the score.

Every matrix is n×n: row = source task, column = target task, in one order of tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, spearmanr

from provray.fingerprints.dna import DnaState
from provray.fingerprints.gif import GifState, gradient_fields
from provray.fingerprints.settings import FingerprintSettings, GifSettings
from provray.fingerprints.sketch import unit
from provray.models.adapter import ProbedModel
from provray.probes import Probe, ProbeSet

Matrix = npt.NDArray[np.float64]

_FIELDS_AT_ONCE = 16
MINIMUM_TASKS = 4
"""Without the diagonal, fewer tasks leave columns of two values, whose correlation is always ±1."""


def column_correlations(
    distance: npt.ArrayLike, affinity: npt.ArrayLike, *, diagonal: bool
) -> Matrix:
    """Spearman's ρ of distance and affinity in every column, with its sign: negative where near models transfer best.

    `diagonal`: whether a task's distance to itself counts. Returns shape (n,). Raises ValueError for matrices that
    are not square, not of one shape, not finite, smaller than `MINIMUM_TASKS`, or with a column that has no order.
    """
    d, a = _checked(distance, affinity)
    count = len(d)
    rho = np.empty(count)
    for column in range(count):
        rows = np.arange(count) if diagonal else np.delete(np.arange(count), column)
        ours, theirs = d[rows, column], a[rows, column]
        if np.ptp(ours) == 0 or np.ptp(theirs) == 0:
            raise ValueError(f"column {column} holds one value only: it orders nothing")
        rho[column] = spearmanr(ours, theirs).statistic
    return rho


def relatedness_score(
    distance: npt.ArrayLike, affinity: npt.ArrayLike, diagonal: bool = False
) -> float:
    """The published score: mean over columns of |ρ|, in [0, 1]. The absolute value hides the sign, see the module.

    Raises ValueError as `column_correlations` does.
    """
    return float(np.abs(column_correlations(distance, affinity, diagonal=diagonal)).mean())


def signed_relatedness_score(
    distance: npt.ArrayLike, affinity: npt.ArrayLike, diagonal: bool = False
) -> float:
    """Mean over columns of −ρ, in [−1, 1]: 1 if the nearest model always transfers best, about 0 for a random order.

    Raises ValueError as `column_correlations` does.
    """
    return float(-column_correlations(distance, affinity, diagonal=diagonal).mean())


def chance_scores(
    distance: npt.ArrayLike, affinity: npt.ArrayLike, *, draws: int, seed: int
) -> Matrix:
    """Scores without the diagonal after the tasks of `distance` were dealt out anew, rows and columns alike.

    That keeps the distances and breaks only the tie to the affinities (Mantel's test, Cancer Research 1967). Returns
    shape (draws, 2): published score, signed score. Raises ValueError as `column_correlations` does.
    """
    d, a = _checked(distance, affinity)
    ours, theirs = _rank_columns(d), _rank_columns(a)
    draw = np.random.default_rng(seed)
    found = np.empty((draws, 2))
    for at in range(draws):
        order = draw.permutation(len(d))
        rho = np.sum(ours[np.ix_(order, order)] * theirs, axis=0)
        found[at] = np.abs(rho).mean(), -rho.mean()
    return found


def resampled_scores(
    distances: Mapping[str, npt.ArrayLike], affinity: npt.ArrayLike, *, draws: int, seed: int
) -> dict[str, Matrix]:
    """Scores without the diagonal over bootstrap samples of the tasks, the same samples for every distance.

    A sample draws n tasks with replacement, as rows and as columns; a task drawn twice counts twice, and never against
    itself. Columns left with fewer than three different sources say nothing and are left out. Differences of two
    distances' scores may be taken row by row. Returns for each name shape (draws, 2): published, signed.
    Raises ValueError as `column_correlations` does.
    """
    d = np.stack([_checked(matrix, affinity)[0] for matrix in distances.values()])
    a = np.asarray(affinity, dtype=np.float64)[None]
    draw = np.random.default_rng(seed)
    found = np.empty((draws, len(d), 2))
    for at in range(draws):
        tasks = draw.integers(len(d[0]), size=len(d[0]))
        columns = [(task, tasks[tasks != task]) for task in tasks]
        rho = np.stack(
            [
                _correlations(d[:, rows, task], a[:, rows, task])
                for task, rows in columns
                if len(set(rows.tolist())) >= 3
            ]
        )
        found[at, :, 0], found[at, :, 1] = np.abs(rho).mean(axis=0), -rho.mean(axis=0)
    return {name: found[:, i] for i, name in enumerate(distances)}


@dataclass(frozen=True)
class Judgement:
    """How well a distance follows the affinities, without the diagonal unless said. Intervals: 95 % over bootstrap
    samples of the tasks. `chance`: mean published score of distances dealt out anew; `p_signed`: share of those whose
    signed score is as high, the true one counted in. `rho`: column by column, negative where near models transfer
    best."""

    score: float
    interval: tuple[float, float]
    signed: float
    signed_interval: tuple[float, float]
    with_diagonal: float
    chance: float
    p_signed: float
    rho: tuple[float, ...]


def judge(
    distances: Mapping[str, npt.ArrayLike], affinity: npt.ArrayLike, *, draws: int, seed: int
) -> tuple[dict[str, Judgement], dict[str, Matrix]]:
    """Judge every distance, and return the `resampled_scores` as well, for differences. Raises ValueError as
    `column_correlations` does."""
    spread = resampled_scores(distances, affinity, draws=draws, seed=seed)
    judged = {}
    for name, distance in distances.items():
        chance = chance_scores(distance, affinity, draws=draws, seed=seed)
        signed = signed_relatedness_score(distance, affinity)
        rho = column_correlations(distance, affinity, diagonal=False)
        judged[name] = Judgement(
            relatedness_score(distance, affinity),
            interval(spread[name][:, 0]),
            signed,
            interval(spread[name][:, 1]),
            relatedness_score(distance, affinity, diagonal=True),
            float(chance[:, 0].mean()),
            float((1 + np.sum(chance[:, 1] >= signed)) / (1 + draws)),
            tuple(rho.tolist()),
        )
    return judged, spread


def interval(values: Matrix) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def between_tasks(between: npt.ArrayLike, seeds: int) -> tuple[Matrix, list[Matrix]]:
    """Distances between tasks from distances between models: one of every task for the first seed, then for the next.

    between: (seeds·n)×(seeds·n). Returns the mean over all pairs of models of two tasks, n×n, with pairs of different
    seeds on the diagonal; and the n×n matrix of each seed alone. Raises ValueError for fewer than two seeds, or models
    that do not divide by them.
    """
    whole = np.asarray(between, dtype=np.float64)
    if seeds < 2 or whole.ndim != 2 or len(whole) % seeds or whole.shape[0] != whole.shape[1]:
        raise ValueError(
            f"distances of shape {whole.shape} are not between models of {seeds} seeds"
        )
    count = len(whole) // seeds
    blocks = whole.reshape(seeds, count, seeds, count)
    single = [blocks[i, :, i].copy() for i in range(seeds)]
    mean: Matrix = blocks.mean(axis=(0, 2))
    same = np.mean([np.diag(block) for block in single], axis=0)
    mean[np.diag_indices(count)] = (np.diag(mean) * seeds - same) / (seeds - 1)
    return mean, single


def dissimilarities(features: npt.ArrayLike) -> Matrix:
    """1 − Pearson correlation of the features of every pair of inputs, N×d to the N(N−1)/2 pairs i < j.

    The representational dissimilarity matrix of Kriegeskorte et al. (2008). An input whose features are all equal
    correlates with nothing: its pairs get 1. Raises ValueError for features that are no finite N×d with N ≥ 3.
    """
    f = np.asarray(features, dtype=np.float64)
    if f.ndim != 2 or len(f) < 3 or not np.isfinite(f).all():
        raise ValueError(
            f"features must be finite, N×d with at least three inputs, got shape {f.shape}"
        )
    centred = f - f.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    direction = np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
    pairs: Matrix = 1.0 - (direction @ direction.T)[np.triu_indices(len(f), 1)]
    return pairs


def rsa_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """1 − Spearman's ρ of two models' `dissimilarities` over the same inputs (Dwivedi & Roig 2019); in [0, 2].

    Raises ValueError if they are not of one length or one of them is constant.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"dissimilarities of shapes {a.shape} and {b.shape} are not comparable")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise ValueError("constant dissimilarities order nothing")
    return float(1.0 - spearmanr(a, b).statistic)


@dataclass(frozen=True)
class Behaviour:
    """What distances between two models are made of. `vectors`: the stored DNA and GiF vectors by readout, unit norm;
    `fields`: the GiF fields before they are sketched, by scalar, probes×points×positions, unit norm; `states`: the
    pooled last states on natural probes, N×d."""

    vectors: Mapping[str, npt.NDArray[np.float32]]
    fields: Mapping[str, npt.NDArray[np.float64]]
    states: npt.NDArray[np.float64]


def behaviour(model: ProbedModel, probes: ProbeSet, settings: FingerprintSettings) -> Behaviour:
    """Ask a loaded model all probes, as a crawl does, and keep what a crawl throws away as well."""
    dna, gif, states = DnaState(settings.dna), GifState(settings.gif), []
    for shard in probes.shards():
        out = model.readouts(model.prepare(shard.probes))
        dna.add(shard.stratum, [p.id for p in shard.probes], out.hidden, out.probabilities)
        if shard.stratum == "natural":
            states.append(out.hidden[-1].double().numpy())
    asked = probes.stratum(settings.gif.stratum)[: settings.gif.probes]
    fields = fields_of(model, asked, settings.gif, gif)
    made, sketch = dna.finish(), gif.finish()
    vectors = [*zip(made.readouts, made.vectors, strict=True)]
    vectors += zip(sketch.readouts, sketch.vectors, strict=True)
    return Behaviour(dict(vectors), fields, np.concatenate(states))


def fields_of(
    model: ProbedModel,
    probes: Sequence[Probe],
    settings: GifSettings,
    state: GifState | None = None,
) -> dict[str, npt.NDArray[np.float64]]:
    """GiF fields of these probes by scalar, probes×points×positions, unit norm; added to `state` if there is one."""
    found: dict[str, list[npt.NDArray[np.float32]]] = {}
    for start in range(0, len(probes), _FIELDS_AT_ONCE):
        some = probes[start : start + _FIELDS_AT_ONCE]
        rows = len(some) * settings.steps
        got = gradient_fields(model, model.prepare(some), settings, rows=rows)
        if state is not None:
            state.add([p.id for p in some], got)
        for name, values in got.by_scalar.items():
            found.setdefault(name, []).append(values)
    return {name: unit(np.concatenate(parts)) for name, parts in found.items()}


def field_distance(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """ModelGiF's distance: mean over probes and points of the path of 1 − cosine of two models' unit fields; in [0, 2].

    Raises ValueError for fields of two shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"fields of shapes {a.shape} and {b.shape} are not comparable")
    return 1.0 - float(np.mean(np.sum(a * b, axis=-1)))


def pairwise(parts: Sequence[Matrix], distance: Callable[[Matrix, Matrix], float]) -> Matrix:
    """A symmetric distance of all pairs of parts, n×n, zero on the diagonal."""
    found = np.zeros((len(parts), len(parts)))
    for i, j in combinations(range(len(parts)), 2):
        found[i, j] = found[j, i] = distance(parts[i], parts[j])
    return found


def _checked(distance: npt.ArrayLike, affinity: npt.ArrayLike) -> tuple[Matrix, Matrix]:
    d, a = np.asarray(distance, dtype=np.float64), np.asarray(affinity, dtype=np.float64)
    if d.ndim != 2 or d.shape[0] != d.shape[1] or d.shape != a.shape:
        raise ValueError(
            f"distance and affinity must be square and of one shape, got {d.shape} and {a.shape}"
        )
    if len(d) < MINIMUM_TASKS:
        raise ValueError(f"{len(d)} tasks are too few: at least {MINIMUM_TASKS}")
    if not (np.isfinite(d).all() and np.isfinite(a).all()):
        raise ValueError("distance and affinity must be finite")
    return d, a


def _rank_columns(matrix: Matrix) -> Matrix:
    """Ranks within each column but the diagonal, centred, unit norm, 0 on it: products of columns are Spearman's ρ."""
    count = len(matrix)
    off = ~np.eye(count, dtype=bool)
    ranks = np.zeros((count, count))
    for column in range(count):
        rows = off[:, column]
        within = rankdata(matrix[rows, column])
        ranks[rows, column] = within - within.mean()
    norms = np.linalg.norm(ranks, axis=0)
    if not norms.all():
        raise ValueError(f"column {int(np.argmin(norms))} holds one value only: it orders nothing")
    normed: Matrix = ranks / norms
    return normed


def _correlations(many: Matrix, one: Matrix) -> Matrix:
    """Spearman's ρ of each row of k×n with the one row of 1×n, ties allowed, shape (k,); 0 where a row is constant."""
    ranks: Matrix = rankdata(np.concatenate([many, one]), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1)
    products: Matrix = ranks[:-1] @ ranks[-1]
    scale = norms[:-1] * norms[-1]
    return np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
