"""Making a classifier forget a class, really and only nearly, with what it looked like on the way.

Real unlearning trains anew without the class: what comes out never saw it. Approximate unlearning starts from the
reference that did. The three usual ways (Golatkar, Achille & Soatto, "Eternal sunshine of the spotless net", CVPR 2020,
compare them) are here: go on with the remaining classes (`finetune`), climb the loss of the forgotten class and repair
the rest (`ascend`), give its images random other labels and repair (`confuse`).

Every function yields `Snapshot`s while it trains, and leaves the model it starts from as it is. Images are float32
in [0, 1].
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import t as student_t
from torch import Tensor
from transformers import PreTrainedModel

from provray.testbed.digits import generator
from provray.testbed.vision import normalise, probabilities

ASCENT_CAP = 3.0
"""Loss of a forgotten image, in units of ln(classes), above which `ascend` climbs no further: it is long forgotten."""

FEWEST_STEPS = 5


@dataclass(frozen=True)
class Effort:
    """How much training: `steps` batches of `batch` images with AdamW, one-cycle learning rate peaking at `rate`.

    Raises ValueError for fewer than `FEWEST_STEPS`: the rate could not rise and fall.
    """

    steps: int
    batch: int
    rate: float

    def __post_init__(self) -> None:
        if self.steps < FEWEST_STEPS:
            raise ValueError(f"{self.steps} steps are too few: at least {FEWEST_STEPS}")


@dataclass(frozen=True)
class Division:
    """Training images and labels without the class to forget, and those of that class. Labels keep their numbers."""

    images: Tensor
    labels: Tensor
    forgotten_images: Tensor
    forgotten_labels: Tensor
    forgotten: int


@dataclass(frozen=True)
class Snapshot:
    """A copy of the model after `step` steps, in evaluation mode."""

    step: int
    model: PreTrainedModel


@dataclass(frozen=True)
class Knowledge:
    """What a model knows of held-out images: share of the forgotten class's images given that class, share of all other
    images given their class, and share of those other images given the forgotten class."""

    forgotten: float
    kept: float
    mistaken: float


Loss = Callable[[PreTrainedModel, int, torch.Generator], Tensor]
"""Loss of one batch: the model, the number of the step, where to draw from."""


def divide(images: Tensor, labels: Tensor, forgotten: int) -> Division:
    """Take class `forgotten` out. Raises ValueError if it has no images, or no other class has."""
    of_class = labels == forgotten
    if not of_class.any() or of_class.all():
        raise ValueError(
            f"class {forgotten} has {int(of_class.sum())} of {len(labels)} images: nothing to divide"
        )
    return Division(
        images[~of_class], labels[~of_class], images[of_class], labels[of_class], forgotten
    )


def learn(
    model: PreTrainedModel,
    images: Tensor,
    labels: Tensor,
    effort: Effort,
    *,
    seed: int,
    keep: Collection[int] = (),
) -> Iterator[Snapshot]:
    """Train a copy of `model` on images and their labels. Yields it after the steps in `keep` and after the last one.

    Step 0 is the model as it came. On a `Division`'s images with fresh weights this is real unlearning; on all
    images it makes the reference.
    """

    def loss(trained: PreTrainedModel, step: int, draw: torch.Generator) -> Tensor:
        return _cross_entropy(trained, *_some(images, labels, effort.batch, draw))

    return _descend(model, loss, effort, seed=seed, keep=keep)


def finetune(
    reference: PreTrainedModel,
    division: Division,
    effort: Effort,
    *,
    seed: int,
    keep: Collection[int] = (),
) -> Iterator[Snapshot]:
    """Go on training the reference on the remaining classes alone, and hope that it forgets. Yields as `learn` does."""
    return learn(reference, division.images, division.labels, effort, seed=seed, keep=keep)


def ascend(
    reference: PreTrainedModel,
    division: Division,
    effort: Effort,
    *,
    ascent: int,
    seed: int,
    keep: Collection[int] = (),
) -> Iterator[Snapshot]:
    """Climb the loss of the forgotten class for the first `ascent` steps, then repair on the remaining classes.

    Yields as `learn` does. Raises ValueError if there are not more steps than `ascent`.
    """
    _require_repair(ascent, effort)

    def loss(trained: PreTrainedModel, step: int, draw: torch.Generator) -> Tensor:
        if step >= ascent:
            return _cross_entropy(
                trained, *_some(division.images, division.labels, effort.batch, draw)
            )
        images, labels = _some(
            division.forgotten_images, division.forgotten_labels, effort.batch, draw
        )
        logits = trained(pixel_values=normalise(images)).logits
        cap = ASCENT_CAP * float(torch.tensor(float(logits.shape[1])).log())
        return -F.cross_entropy(logits, labels, reduction="none").clamp_max(cap).mean()

    return _descend(reference, loss, effort, seed=seed, keep=keep)


def confuse(
    reference: PreTrainedModel,
    division: Division,
    effort: Effort,
    *,
    confusion: int,
    seed: int,
    keep: Collection[int] = (),
) -> Iterator[Snapshot]:
    """Teach the forgotten class random other labels for `confusion` steps, then repair on the remaining classes.

    Half of a confusing batch are remaining images with their true labels. Yields as `learn` does. Raises ValueError if
    there are not more steps than `confusion`.
    """
    _require_repair(confusion, effort)
    others = division.labels.unique()

    def loss(trained: PreTrainedModel, step: int, draw: torch.Generator) -> Tensor:
        if step >= confusion:
            return _cross_entropy(
                trained, *_some(division.images, division.labels, effort.batch, draw)
            )
        half = effort.batch // 2
        images, labels = _some(division.images, division.labels, effort.batch - half, draw)
        wrong, _ = _some(division.forgotten_images, division.forgotten_labels, half, draw)
        random = others[torch.randint(len(others), (half,), generator=draw)]
        return _cross_entropy(trained, torch.cat([images, wrong]), torch.cat([labels, random]))

    return _descend(reference, loss, effort, seed=seed, keep=keep)


def approximations(
    reference: PreTrainedModel,
    division: Division,
    gentle: Effort,
    hard: Effort,
    *,
    first: int,
    fractions: Sequence[float],
    seed: int,
) -> dict[str, Iterator[Snapshot]]:
    """The four approximate ways by name, three with `gentle` effort, the last by fine-tuning with `hard` effort.

    `first`: steps of ascent and of confusion. Snapshots come after these `fractions` of each one's steps.
    """
    short, long = (
        [round(fraction * effort.steps) for fraction in fractions] for effort in (gentle, hard)
    )
    return {
        "fine-tuned": finetune(reference, division, gentle, seed=seed, keep=short),
        "random labels, repair": confuse(
            reference, division, gentle, confusion=first, seed=seed + 1, keep=short
        ),
        "ascent, repair": ascend(
            reference, division, gentle, ascent=first, seed=seed + 2, keep=short
        ),
        "fine-tuned hard": finetune(reference, division, hard, seed=seed + 3, keep=long),
    }


def knowledge(model: PreTrainedModel, images: Tensor, labels: Tensor, forgotten: int) -> Knowledge:
    """What `model` knows of these images; ValueError if they do not hold the forgotten class and others."""
    of_class = labels == forgotten
    if not of_class.any() or of_class.all():
        raise ValueError(f"images of class {forgotten} and of others are needed to tell them apart")
    given = probabilities(model, images).argmax(1)
    right = (given == labels).float()
    return Knowledge(
        float(right[of_class].mean()),
        float(right[~of_class].mean()),
        float((given[~of_class] == forgotten).float().mean()),
    )


@dataclass(frozen=True)
class Separation:
    """How well a distance tells real from approximate unlearning. `auc`: share of (real, approximate) pairs of one cell
    of which the real one is farther, mean over cells; its 95 % interval is over bootstrap samples of the cells. `gap`:
    nearest real minus farthest approximate one of a cell, mean over cells, with Student's 95 % interval; `lowest_gap`:
    of the worst cell."""

    auc: float
    auc_interval: tuple[float, float]
    gap: float
    gap_interval: tuple[float, float]
    lowest_gap: float


def separation(
    cells: Sequence[tuple[Sequence[float], Sequence[float]]], *, draws: int = 2000, seed: int = 7
) -> Separation:
    """How well distances to a reference tell real from approximate unlearning.

    cells: for every independent repetition (seed, architecture) the distances of its really and of its
    approximately unlearned models. Raises ValueError for fewer than two cells or an empty side.
    """
    if len(cells) < 2 or not all(real and approximate for real, approximate in cells):
        raise ValueError("separation needs two cells or more, with models on both sides of each")
    aucs = []
    for real, approximate in cells:
        difference = np.subtract.outer(np.array(real), np.array(approximate))
        aucs.append(float(np.mean((difference > 0) + 0.5 * (difference == 0))))
    drawn = np.random.default_rng(seed).integers(len(cells), size=(draws, len(cells)))
    low, high = np.quantile(np.array(aucs)[drawn].mean(axis=1), (0.025, 0.975))
    gaps = np.array([min(real) - max(approximate) for real, approximate in cells])
    mean = float(gaps.mean())
    half = float(student_t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps)))
    return Separation(
        float(np.mean(aucs)),
        (float(low), float(high)),
        mean,
        (mean - half, mean + half),
        float(gaps.min()),
    )


def _require_repair(first: int, effort: Effort) -> None:
    if not 0 < first < effort.steps:
        raise ValueError(
            f"{first} of {effort.steps} steps leave nothing to forget or to repair with"
        )


def _some(
    images: Tensor, labels: Tensor, count: int, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A random batch, drawn with replacement: the forgotten class is smaller than a few batches."""
    rows = torch.randint(len(labels), (count,), generator=draw)
    return images[rows], labels[rows]


def _cross_entropy(model: PreTrainedModel, images: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(model(pixel_values=normalise(images)).logits, labels)


def _descend(
    start: PreTrainedModel, loss: Loss, effort: Effort, *, seed: int, keep: Collection[int]
) -> Iterator[Snapshot]:
    """Train a copy of `start` on `loss`, yielding copies after the steps in `keep` and after the last."""
    model = copy.deepcopy(start)
    if 0 in keep:
        yield Snapshot(0, copy.deepcopy(model).eval())
    draw = generator(seed, 31)
    torch.manual_seed(seed)  # dropout, stochastic depth
    optimiser = torch.optim.AdamW(model.parameters(), lr=effort.rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, effort.rate, total_steps=effort.steps + 1, pct_start=0.2
    )
    for step in range(effort.steps):
        # a caller may have looked at the model in between
        model.train()
        value = loss(model, step, draw)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        if step + 1 in keep or step + 1 == effort.steps:
            yield Snapshot(step + 1, copy.deepcopy(model).eval())
