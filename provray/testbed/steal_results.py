"""What `provray steal-bench` found: records, intervals, and what they say about the two claims.

Shares (fidelity, accuracy, disagreement) are 0..1. Fidelity is the share of held-out pictures to which surrogate and
victim give the same label; a surrogate's label is that of its members' mean probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Two-sided 95 % quantile of the normal distribution.
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A mean over `count` seeds with its 95 % interval (Student's t); no interval for a single seed."""

    mean: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Proportion:
    """`hits` of `count`, with Wilson's 95 % interval."""

    hits: int
    count: int
    low: float
    high: float


@dataclass(frozen=True)
class Look:
    """A surrogate of one seed at one checkpoint.

    fidelity, accuracy: of the members' mean. member_fidelity: of single members, averaged. variance: mean over inputs
    and classes of the unbiased variance of probabilities over members. disagreement: share of pairs of members,
    averaged over inputs, that name different labels. Both are 0 for the control by definition.
    """

    surrogate: str
    seed: int
    iteration: int
    fidelity: float
    accuracy: float
    member_fidelity: float
    variance: float
    disagreement: float


@dataclass(frozen=True)
class Outcome:
    """A surrogate at the end of training, over seeds. The gains are its difference to the control of the same seed
    (same queries, same initial weights); None for the control."""

    surrogate: str
    fidelity: Estimate
    accuracy: Estimate
    fidelity_gain: Estimate | None
    accuracy_gain: Estimate | None
    variance: Estimate
    disagreement: Estimate


@dataclass(frozen=True)
class Alikeness:
    """Whether members grow alike: variances averaged over seeds, and in how many of `seeds` seeds the last checkpoint
    shows less than another one. `halfway` is the last checkpoint at or before half of the training, `highest` the
    largest of the means."""

    surrogate: str
    seeds: int
    first: float
    halfway: float
    highest: float
    last: float
    below_first: int
    below_halfway: int
    disagreement_below_first: int
    disagreement_below_halfway: int


def student_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of independent values with its 95 % interval by Student's t. Raises ValueError for none."""
    count = len(values)
    if count == 0:
        raise ValueError("no values, no mean")
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, None, None, 1)
    from scipy.stats import t as student

    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = float(student.ppf(0.975, count - 1)) * math.sqrt(variance / count)
    return Estimate(mean, mean - half, mean + half, count)


def wilson_interval(hits: int, count: int) -> Proportion:
    """Return a share with its 95 % interval by Wilson's score. Raises ValueError unless 0 <= hits <= count > 0."""
    if not 0 <= hits <= count or count == 0:
        raise ValueError(f"{hits} of {count} is no share")
    square = _NORMAL_95**2
    share = hits / count
    centre = share + square / (2 * count)
    half = _NORMAL_95 * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    scale = 1 + square / count
    # 0 and 1 are reached exactly, but for rounding
    low = 0.0 if hits == 0 else (centre - half) / scale
    high = 1.0 if hits == count else (centre + half) / scale
    return Proportion(hits, count, low, high)


def surrogates_of(looks: Sequence[Look]) -> list[str]:
    """Return the surrogates looked at, in order of appearance."""
    return list(dict.fromkeys(look.surrogate for look in looks))


def outcomes(looks: Sequence[Look], control: str) -> list[Outcome]:
    """Return every surrogate at its last checkpoint, gains paired by seed with `control`."""
    end = max(look.iteration for look in looks)
    last = {(look.surrogate, look.seed): look for look in looks if look.iteration == end}
    found = []
    for name in surrogates_of(looks):
        own = [look for (surrogate, _), look in last.items() if surrogate == name]
        paired = [(look, last[control, look.seed]) for look in own]
        gains = name != control
        found.append(
            Outcome(
                name,
                student_interval([look.fidelity for look in own]),
                student_interval([look.accuracy for look in own]),
                student_interval([a.fidelity - b.fidelity for a, b in paired]) if gains else None,
                student_interval([a.accuracy - b.accuracy for a, b in paired]) if gains else None,
                student_interval([look.variance for look in own]),
                student_interval([look.disagreement for look in own]),
            )
        )
    return found


def alikeness(looks: Sequence[Look], control: str) -> list[Alikeness]:
    """Return how the members' differences change over training, for every surrogate but `control`."""
    iterations = sorted({look.iteration for look in looks})
    first, last = iterations[0], iterations[-1]
    halfway = max([i for i in iterations if 2 * i <= last], default=first)
    found = []
    for name in surrogates_of(looks):
        if name == control:
            continue
        by_seed: dict[int, dict[int, Look]] = {}
        for look in looks:
            if look.surrogate == name:
                by_seed.setdefault(look.seed, {})[look.iteration] = look
        runs = list(by_seed.values())
        means = {i: math.fsum(run[i].variance for run in runs) / len(runs) for i in iterations}
        found.append(
            Alikeness(
                name,
                len(runs),
                means[first],
                means[halfway],
                max(means.values()),
                means[last],
                sum(run[last].variance < run[first].variance for run in runs),
                sum(run[last].variance < run[halfway].variance for run in runs),
                sum(run[last].disagreement < run[first].disagreement for run in runs),
                sum(run[last].disagreement < run[halfway].disagreement for run in runs),
            )
        )
    return found


def first_claim(found: Sequence[Outcome]) -> str:
    """Say in words what the paired differences show about the claim that gains are marginal."""
    control = next(row for row in found if row.fidelity_gain is None)
    gains = {row.surrogate: row.fidelity_gain for row in found if row.fidelity_gain is not None}
    best = max(gains, key=lambda name: gains[name].mean)
    lacking = 1 - control.fidelity.mean
    share = gains[best].mean / lacking if lacking else 0.0
    said = [
        f"the {control.surrogate} agrees with the victim on {control.fidelity.mean:.1%} of the pictures",
        f"the largest mean gain is that of the {best}, {points(gains[best])}, "
        f"which is {share:.0%} of what the {control.surrogate} lacks"
        if gains[best].mean > 0
        else "none of the surrogates gains on average",
    ]
    worst = min(gains, key=lambda name: gains[name].mean)
    said.append(f"the smallest is that of the {worst}, {points(gains[worst])}")
    above = [name for name, gain in gains.items() if gain.low is not None and gain.low > 0]
    below = [name for name, gain in gains.items() if gain.high is not None and gain.high < 0]
    said.append(
        f"above zero with its whole interval: {', '.join(above) or 'none'}; "
        f"below zero: {', '.join(below) or 'none'}"
    )
    accuracy = {row.surrogate: row.accuracy_gain for row in found if row.accuracy_gain is not None}
    top = max(accuracy, key=lambda name: accuracy[name].mean)
    said.append(f"in accuracy the largest is that of the {top}, {points(accuracy[top])}")
    return _sentence(said)


def second_claim(found: Sequence[Alikeness]) -> str:
    """Say in words what the variances show about the claim that predictions grow alike."""
    runs = sum(row.seeds for row in found)
    risen = [row.surrogate for row in found if row.last >= row.halfway]
    return _sentence(
        [
            f"variance is lower at the end than halfway in {sum(row.below_halfway for row in found)} of {runs} "
            f"trainings, than at the first checkpoint in {sum(row.below_first for row in found)} "
            "(untrained members are alike, too: all are unsure)",
            f"members name different labels less often than halfway in "
            f"{sum(row.disagreement_below_halfway for row in found)} of {runs}, than at the first checkpoint in "
            f"{sum(row.disagreement_below_first for row in found)}",
            "the mean variance falls from halfway to the end for every surrogate"
            if not risen
            else f"the mean variance does not fall from halfway to the end for: {', '.join(risen)}",
        ]
    )


def _sentence(parts: Sequence[str]) -> str:
    text = ". ".join(part[0].upper() + part[1:] for part in parts)
    return f"{text}."


def points(gain: Estimate) -> str:
    """Return a difference of shares in points (hundredths) with its interval."""
    if gain.low is None or gain.high is None:
        return f"{100 * gain.mean:+.1f} points (one seed: no interval)"
    return f"{100 * gain.mean:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
