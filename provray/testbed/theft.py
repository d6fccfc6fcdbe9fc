"""Stealing an image classifier through its outputs alone.

The thief sees no weights and no labels: it sends queries, gets probabilities or only labels back, and
trains a network of its own, from other initial weights, to answer alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from provray.testbed.digits import generator, mixtures
from provray.testbed.vision import Training, normalise, probabilities, train

#: Images in [0, 1] to class probabilities: all that a victim shows.
Oracle = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Budget:
    """How much a theft may cost: queries to the victim, the share that is random pixels, training."""

    queries: int
    noise: float
    training: Training


def oracle_of(victim: PreTrainedModel) -> Oracle:
    """Return what a victim shows to the world."""
    return lambda images: probabilities(victim, images)


def query_inputs(images: Tensor, budget: Budget, seed: int) -> Tensor:
    """Return the thief's queries: all its own images, then mixtures of them and random pixels."""
    own = images[: budget.queries]
    rest = budget.queries - len(own)
    if rest <= 0:
        return own
    return torch.cat([own, mixtures(images, rest, seed, noise=budget.noise)])


def steal(
    victim: Oracle, thief: PreTrainedModel, images: Tensor, budget: Budget, *, hard: bool, seed: int
) -> tuple[Tensor, Tensor]:
    """Train `thief` in place to answer as `victim` does on queries made from `images`; return queries and answers.

    `hard` keeps only the most probable label of each answer.
    """
    queries = query_inputs(images, budget, seed)
    replies = victim(queries)
    targets = replies.argmax(1) if hard else replies
    train(thief, queries, targets, budget.training, seed=seed, momentum=0.1)
    return queries, targets


def harden(
    model: PreTrainedModel,
    images: Tensor,
    targets: Tensor,
    training: Training,
    *,
    reach: float,
    seed: int,
) -> None:
    """Go on training `model` against an adversary that moves every pixel by up to `reach`.

    One signed gradient step from a random start (fast adversarial training, Wong et al. 2020). Thieves do
    this to move decision boundaries away from the victim's.
    """
    draw = generator(seed, 15)

    def attacked(rows: Tensor) -> Tensor:
        inputs = images[rows]
        start = reach * (2 * torch.rand(inputs.shape, generator=draw) - 1)
        moved = (inputs + start).clamp(0, 1).requires_grad_()
        loss = F.cross_entropy(model(pixel_values=normalise(moved)).logits, targets[rows])
        (slope,) = torch.autograd.grad(loss, moved)
        step = (start + 1.25 * reach * slope.sign()).clamp(-reach, reach)
        return (inputs + step).clamp(0, 1)

    model.train()
    steps = max(1, round(training.epochs * len(images) / training.batch))
    optimiser = torch.optim.AdamW(model.parameters(), lr=training.rate, weight_decay=0.01)
    for _ in range(steps):
        rows = torch.randint(len(images), (training.batch,), generator=draw)
        inputs = attacked(rows)
        loss = F.cross_entropy(model(pixel_values=normalise(inputs)).logits, targets[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()


def agreement(first: Sequence[int], second: Sequence[int]) -> float:
    """Return the share of inputs to which two models gave the same label."""
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} answers cannot be compared")
    return sum(a == b for a, b in zip(first, second, strict=True)) / len(first)
