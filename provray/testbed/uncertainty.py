"""Thieves that know how unsure they are: what all surrogates share, the single network, the deep ensemble.

A surrogate is trained on the victim's probabilities for its queries and then answers with M members: networks,
or draws from a posterior over networks. Its answer is the members' mean; what they disagree about is its
uncertainty. The other four ways to have members are in `uncertainty_surrogates`.

Images are float32 in [0, 1], N×1×H×W; probabilities are float32, N×k, or M×N×k for M members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from provray.testbed.digits import generator
from provray.testbed.vision import new_classifier, normalise, probabilities

_T = TypeVar("_T")
#: How many draws from its posterior a surrogate answers with, where it can draw any number.
DRAWS = 8
#: Pictures that are answered at once: more than that gains nothing for networks this small.
AT_ONCE = 500
#: How many networks a deep ensemble has (Lakshminarayanan et al., 2017, found five to be enough).
ENSEMBLE = 5


@dataclass(frozen=True)
class Trajectory:
    """A network's training: the network, left as it ended, and its state at each checkpoint, by iteration."""

    network: PreTrainedModel
    states: Mapping[int, Mapping[str, Tensor]]

    def at(self, iteration: int) -> PreTrainedModel:
        """Put the network back to a checkpoint and return it, in evaluation mode. KeyError if there is none."""
        self.network.load_state_dict(dict(self.states[iteration]))
        return self.network.eval()


@dataclass(frozen=True)
class Lessons:
    """What a thief learns from and how: the same for every surrogate of one seed.

    `queries` N×1×H×W and the victim's `replies` N×k; `architecture` is a key of ARCHITECTURES. Training takes
    `steps` iterations (one batch, one gradient step of AdamW) at a one-cycle rate that peaks at `rate`; surrogates
    are looked at after each of the iterations `checkpoints`, of which the last must be `steps`. `learned` holds
    plain networks by seed, because the control, the ensemble's first member and the network under the Laplace
    posterior are one and the same, so what sets them apart is the method alone.
    """

    queries: Tensor
    replies: Tensor
    architecture: str
    steps: int
    batch: int
    rate: float
    checkpoints: tuple[int, ...]
    learned: dict[int, Trajectory] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.checkpoints or self.checkpoints[-1] != self.steps:
            raise ValueError(f"checkpoints {self.checkpoints} must end with step {self.steps}")
        if len(self.queries) < self.batch:
            raise ValueError(f"{len(self.queries)} queries are fewer than one batch, {self.batch}")

    def network(self, seed: int) -> PreTrainedModel:
        """Return an untrained network that fits queries and replies, its weights drawn from `seed`."""
        _, channels, size, _ = self.queries.shape
        classes = self.replies.shape[1]
        return new_classifier(
            self.architecture, channels=channels, size=size, classes=classes, seed=seed
        )

    def plain(self, seed: int) -> Trajectory:
        """Return the training of a single network, computed once for each seed."""
        if seed not in self.learned:
            network = self.network(seed)
            states: dict[int, Mapping[str, Tensor]] = {}

            def keep(iteration: int) -> None:
                states[iteration] = {k: v.clone() for k, v in network.state_dict().items()}

            learn(network, self, seed, at_checkpoint=keep)
            self.learned[seed] = Trajectory(network, states)
        return self.learned[seed]


class Surrogate(Protocol):
    """A thief with members. `name` is what tables call it."""

    name: str

    @property
    def about(self) -> str:
        """How it is made, in a sentence."""

    def train(self, lessons: Lessons, seed: int, watch: Watch) -> None:
        """Learn from scratch by `seed`, calling watch(iteration, self) at every checkpoint, then stay trained."""

    def members(self, images: Tensor) -> Tensor:
        """Return the members' probabilities, M×N×k: the same draws at every call between two checkpoints."""


Watch = Callable[[int, Surrogate], None]


class Control:
    """One network, no uncertainty: what the five are held against."""

    name = "single network"

    def __init__(self) -> None:
        self.network: PreTrainedModel | None = None

    @property
    def about(self) -> str:
        """How it is made, in a sentence."""
        return "no uncertainty: the control"

    def train(self, lessons: Lessons, seed: int, watch: Watch) -> None:
        """Train one network; see Surrogate."""
        trajectory = lessons.plain(seed)
        for iteration in lessons.checkpoints:
            self.network = trajectory.at(iteration)
            watch(iteration, self)

    def members(self, images: Tensor) -> Tensor:
        """Return the network's probabilities, 1×N×k. Raises ValueError before training."""
        return probabilities(trained(self.network), images, AT_ONCE)[None]


class DeepEnsemble:
    """`size` networks that differ in initial weights and order of batches (Lakshminarayanan et al., 2017)."""

    name = "deep ensemble"

    def __init__(self, size: int = ENSEMBLE) -> None:
        self.size = size
        self.networks: tuple[PreTrainedModel, ...] = ()

    @property
    def about(self) -> str:
        """How it is made, in a sentence."""
        return f"{self.size} networks of other initial weights and batches, the first of them the control"

    def train(self, lessons: Lessons, seed: int, watch: Watch) -> None:
        """Train every network, the first one by `seed` itself; see Surrogate."""
        trajectories = [lessons.plain(seed + number) for number in range(self.size)]
        for iteration in lessons.checkpoints:
            self.networks = tuple(trajectory.at(iteration) for trajectory in trajectories)
            watch(iteration, self)

    def members(self, images: Tensor) -> Tensor:
        """Return each network's probabilities, M×N×k. Raises ValueError before training."""
        trained(self.networks or None)
        return torch.stack([probabilities(network, images, AT_ONCE) for network in self.networks])


class Logits(nn.Module):
    """A classifier as plain PyTorch has it: images in [0, 1] to logits, N×k."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images in [0, 1]."""
        logits: Tensor = self.network(pixel_values=normalise(images)).logits
        return logits


def learn(
    network: PreTrainedModel,
    lessons: Lessons,
    seed: int,
    *,
    at_checkpoint: Callable[[int], None],
    after_step: Callable[[int], None] | None = None,
    penalty: Callable[[], Tensor] | None = None,
    level: bool = False,
) -> None:
    """Train `network` in place on the lessons, soft labels by cross-entropy.

    `penalty` is added to the loss of every batch (and replaces weight decay). `level` holds the rate at `lessons.rate`
    after the warm-up instead of letting it fall. `after_step` is told of every iteration, `at_checkpoint` of the
    checkpoints, with the network in evaluation mode.
    """
    network.train()
    draw = generator(seed, 1)
    torch.manual_seed(seed)  # dropout, weights drawn anew at every step
    decay = 0.01 if penalty is None else 0.0
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=lessons.rate, weight_decay=decay, fused=True
    )
    schedule = _schedule(optimiser, lessons, level)
    order = torch.empty(0, dtype=torch.long)
    for iteration in range(1, lessons.steps + 1):
        if len(order) < lessons.batch:
            order = torch.randperm(len(lessons.queries), generator=draw)
        rows, order = order[: lessons.batch], order[lessons.batch :]
        logits = network(pixel_values=normalise(lessons.queries[rows])).logits
        loss = F.cross_entropy(logits, lessons.replies[rows])
        if penalty is not None:
            loss = loss + penalty()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        if after_step is not None:
            after_step(iteration)
        if iteration in lessons.checkpoints:
            network.eval()
            # looking must not change what is learned afterwards
            with fixed_draws(seed):
                at_checkpoint(iteration)
            network.train()
    network.eval()


def _schedule(
    optimiser: torch.optim.Optimizer, lessons: Lessons, level: bool
) -> torch.optim.lr_scheduler.LRScheduler:
    warm = 0.2
    if level:
        return torch.optim.lr_scheduler.LinearLR(
            optimiser, 1 / 25, 1.0, total_iters=max(1, round(warm * lessons.steps))
        )
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, lessons.rate, total_steps=lessons.steps + 1, pct_start=warm
    )


@contextmanager
def fixed_draws(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from `seed` within the block, and leave its own stream as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        yield


def trained(part: _T | None) -> _T:
    """Return what training makes. Raises ValueError if there was none."""
    if part is None:
        raise ValueError("the surrogate has no members yet: train it first")
    return part


def member_variance(members: Tensor) -> float:
    """Return how much members' probabilities (M×N×k) vary: the mean over inputs and classes of the variance over
    members, unbiased (divided by M − 1), so that M does not matter to its size; 0 for a single member."""
    return float(members.var(0, correction=1).mean()) if len(members) > 1 else 0.0


def disagreement(members: Tensor) -> float:
    """Return the share of (pair of members, input) in which the two name different labels; 0 for a single one."""
    labels = members.argmax(2)
    count = len(labels)
    if count < 2:
        return 0.0
    differs = labels[:, None] != labels[None]
    return float(differs.float().mean()) * count / (count - 1)
