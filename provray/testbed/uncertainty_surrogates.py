"""Four surrogates that draw their members from a posterior over one network: MC dropout, SWAG, Laplace, variational."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, parametrize, vector_to_parameters
from torch.optim.swa_utils import update_bn
from transformers import PreTrainedModel

from provray.testbed.uncertainty import (
    AT_ONCE,
    DRAWS,
    Control,
    DeepEnsemble,
    Lessons,
    Logits,
    Surrogate,
    Watch,
    fixed_draws,
    learn,
    trained,
)
from provray.testbed.vision import head, probabilities


class MonteCarloDropout:
    """Dropout that stays on when asked (Gal and Ghahramani, 2016).

    The small ResNet has no dropout of its own: a share `between` of single activations is dropped after each of its
    stages and a share `features` of the pooled features, when learning and when answering. A member is one pass
    with its own masks, drawn for every image; normalisation statistics are those of evaluation.
    """

    name = "Monte-Carlo dropout"

    def __init__(self, draws: int = DRAWS, between: float = 0.05, features: float = 0.1) -> None:
        self.draws, self.between, self.features = draws, between, features
        self._network: PreTrainedModel | None = None
        self._seed = 0

    @property
    def about(self) -> str:
        """How it is made, in a sentence."""
        return (
            f"{self.between:.0%} of activations dropped after each stage and {self.features:.0%} of the "
            f"pooled features, when learning and when answering; {self.draws} passes"
        )

    def train(self, lessons: Lessons, seed: int, watch: Watch) -> None:
        """Train one network with dropout; see Surrogate. Raises ValueError for anything but a ResNet."""
        network, self._seed = lessons.network(seed), seed
        if network.config.model_type != "resnet":
            raise ValueError(f"dropout is laid into ResNets alone, not {lessons.architecture!r}")
        body: Any = network
        stages = body.resnet.encoder.stages
        for number, stage in enumerate(stages):
            stages[number] = nn.Sequential(stage, nn.Dropout(self.between))
        flatten, linear = body.classifier
        body.classifier = nn.Sequential(flatten, nn.Dropout(self.features), linear)
        self._network = network
        learn(network, lessons, seed, at_checkpoint=lambda iteration: watch(iteration, self))

    def members(self, images: Tensor) -> Tensor:
        """Return the probabilities of `draws` passes, M×N×k. Raises ValueError before training."""
        network = trained(self._network)
        logits = Logits(network.eval())
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        with fixed_draws(self._seed), torch.no_grad():
            passes = [
                torch.cat([logits(part) for part in images.split(AT_ONCE)]).softmax(1)
                for _ in range(self.draws)
            ]
        network.eval()
        return torch.stack(passes)


@dataclass(frozen=True)
class SwagPosterior:
    """The normal distribution over P weights that SWAG reads off a training: mean P, diagonal P, deviations P×K.

    Its covariance is ½ (diag(diagonal) + deviations · deviationsᵀ / (K − 1)).
    """

    mean: Tensor
    diagonal: Tensor
    deviations: Tensor

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """Return one vector of weights."""
        count = self.deviations.shape[1]
        spread = torch.randn(self.mean.shape, generator=generator)
        low = torch.randn(count, generator=generator)
        return (
            self.mean
            + (self.diagonal / 2).sqrt() * spread
            + self.deviations @ low / math.sqrt(2 * (count - 1))
        )


def swag_posterior(visited: Sequence[Tensor], rank: int) -> SwagPosterior:
    """Fit SWAG's distribution to the weights that a training `visited`, vectors of P numbers in order.

    Mean and diagonal rest on all of them, the low-rank part on the last `rank`. Raises ValueError for fewer than two.
    """
    if len(visited) < 2 or rank < 2:
        raise ValueError(
            f"SWAG needs two sets of weights and rank 2, got {len(visited)} and {rank}"
        )
    weights = torch.stack(list(visited))
    mean = weights.mean(0)
    diagonal = (weights.square().mean(0) - mean.square()).clamp_min(0)
    return SwagPosterior(mean, diagonal, (weights[-rank:] - mean).T.contiguous())


class Swag:
    """Stochastic weight averaging, Gaussian (Maddox et al., 2019), low rank and diagonal.

    The network learns at a level rate after the warm-up. Stopped at iteration t, its posterior is fitted to the weights
    visited at every fifth iteration of the second half, t/2 to t; the original collects once an epoch, but here a
    training is a few epochs long. Deviations are from the final mean, not the running one. Every draw measures
    its own normalisation statistics on some of the queries. AdamW instead of the original's plain SGD.
    """

    name = "SWAG"
    every = 5
    refreshed = 400

    def __init__(self, draws: int = DRAWS, rank: int = 10) -> None:
        self.draws, self.rank = draws, rank
        self._network: PreTrainedModel | None = None
        self._posterior: SwagPosterior | None = None
        self._batches: tuple[Tensor, ...] = ()
        self._seed = 0

    @property
    def about(self) -> str:
        """How it is made, in a sentence."""
        return (
            f"our own, low rank {self.rank} and diagonal, at a level rate; weights of every "
            f"{self.every}th iteration of the second half so far; normalisation statistics measured "
            f"anew for each of {self.draws} draws"
        )

    def train(self, lessons: Lessons, seed: int, watch: Watch) -> None:
        """Train one network and collect where it goes; see Surrogate."""
        network, self._seed = lessons.network(seed), seed
        self._batches = lessons.queries[: self.refreshed].split(100)
        visited: dict[int, Tensor] = {}

        def collect(iteration: int) -> None:
            if iteration % self.every == 0:
                visited[iteration] = parameters_to_vector(network.parameters()).detach().clone()

        def look(iteration: int) -> None:
            second_half = [w for step, w in visited.items() if 2 * step >= iteration]
            self._posterior = swag_posterior(second_half, self.rank)
            kept = {name: value.clone() for name, value in network.state_dict().items()}
            watch(iteration, self)
            network.load_state_dict(kept)

        self._network = network
        learn(network, lessons, seed, at_checkpoint=look, after_step=collect, level=True)

    def members(self, images: Tensor) -> Tensor:
        """Return the probabilities of `draws` networks, M×N×k. Raises ValueError before training."""
        network, posterior = trained(self._network), trained(self._posterior)
        draw = torch.Generator().manual_seed(self._seed)
        answers = []
        for _ in range(self.draws):
            vector_to_parameters(posterior.draw(draw), network.parameters())
            update_bn(self._batches, Logits(network))
            answers.append(probabilities(network, images, AT_ONCE))
        return torch.stack(answers)


class LastLayerLaplace:
    """A normal distribution over the last layer's weights around a trained network (Daxberger et al., 2021).

    By laplace-torch: Kronecker-factored generalised Gauss-Newton matrix over all queries, the prior's precision by
    marginal likelihood, members drawn from the weights' posterior. The network is the control's.
    """

    name = "last-layer Laplace"

    def __init__(self, draws: int = DRAWS) -> None:
        self.draws = draws
        self._network: PreTrainedModel | None = None
        self._heads: Tensor | None = None

    @property
    def about(self) -> str:
        """How it is made, in a sentence."""
        return f"laplace-torch on the control, Kronecker-factored; {self.draws} draws of its last layer"

    def train(self, lessons: Lessons, seed: int, watch: Watch) -> None:
        """Train one network and fit the posterior at each checkpoint; see Surrogate."""
        trajectory = lessons.plain(seed)
        for iteration in lessons.checkpoints:
            self._network = trajectory.at(iteration)
            with fixed_draws(seed):
                self._heads = self._draw_heads(self._network, lessons)
            watch(iteration, self)

    def _draw_heads(self, network: PreTrainedModel, lessons: Lessons) -> Tensor:
        # seconds to import, and no part of provray's own dependencies
        from laplace import Laplace
        from torch.utils.data import DataLoader, TensorDataset

        loader = DataLoader(TensorDataset(lessons.queries, lessons.replies), batch_size=250)
        posterior: Any = Laplace(
            # it leaves hooks on what it is given, and the network is the control's, too
            Logits(copy.deepcopy(network)),
            "classification",
            subset_of_weights="last_layer",
            hessian_structure="kron",
        )
        posterior.fit(loader)
        with warnings.catch_warnings():
            # about predictions through the link function, which are not asked for
            warnings.filterwarnings("ignore", message="By default `link_approx`")
            posterior.optimize_prior_precision(method="marglik")
        heads: Tensor = posterior.sample(self.draws)
        return heads.detach()

    @torch.no_grad()
    def members(self, images: Tensor) -> Tensor:
        """Return the probabilities under `draws` last layers, M×N×k. Raises ValueError before training."""
        network, heads = trained(self._network), trained(self._heads)
        linear = last_layer(network)
        features: list[Tensor] = []
        seen = linear.register_forward_hook(lambda _, given, __: features.append(given[0]))
        probabilities(network, images, AT_ONCE)
        seen.remove()
        split = linear.weight.numel()
        weights = heads[:, :split].unflatten(1, linear.weight.shape)
        logits = torch.einsum("nf,mkf->mnk", torch.cat(features), weights)
        return (logits + heads[:, None, split:]).softmax(2)


def gaussian_divergence(mean: Tensor, deviation: Tensor, prior: float) -> Tensor:
    """Return KL(N(mean, deviation²) ‖ N(0, prior²)), summed over all weights, in nats."""
    ratio = (deviation.square() + mean.square()) / prior**2
    return 0.5 * (ratio - 1).sum() + (math.log(prior) - deviation.log()).sum()


class NormalWeight(nn.Module):
    """A parametrisation that makes a weight normal: its mean is the parameter, its deviation softplus(`rho`).

    Every access draws anew. `prior` is the deviation of the zero-mean prior: that of the weight's initial values.
    """

    def __init__(self, weight: Tensor, share: float) -> None:
        super().__init__()
        self.prior = float(weight.detach().std())
        start = math.log(math.expm1(share * self.prior))
        self.rho = nn.Parameter(torch.full_like(weight, start))

    def forward(self, mean: Tensor) -> Tensor:
        """Return a draw of the weight."""
        return mean + F.softplus(self.rho) * torch.randn_like(mean)

    def divergence(self, mean: Tensor) -> Tensor:
        """Return the divergence of this weight's distribution from its prior, in nats."""
        return gaussian_divergence(mean, F.softplus(self.rho), self.prior)


class MeanFieldVariational:
    """Independent normal weights learned by variational inference, Bayes by backprop (Blundell et al., 2015).

    All convolutions and the last layer's matrix are normal; biases and normalisation stay numbers. One draw of the
    weights a batch; a member is one draw for all images. The divergence counts `temper` times (a "cold"
    posterior; Wenzel et al., 2020): 175,000 weights against 2,000 queries, at full weight a training this short loses
    fidelity, and what members differ by rises almost to its end.
    """

    name = "mean-field variational"

    def __init__(self, draws: int = DRAWS, temper: float = 0.1, share: float = 0.1) -> None:
        self.draws, self.temper, self.share = draws, temper, share
        self._network: PreTrainedModel | None = None
        self._seed = 0

    @property
    def about(self) -> str:
        """How it is made, in a sentence."""
        return (
            f"all convolutions and the last layer normal, divergence counted {self.temper:g} times (at "
            f"full weight a trial lost fidelity and its variance rose almost to the end); {self.draws} draws"
        )

    def train(self, lessons: Lessons, seed: int, watch: Watch) -> None:
        """Train means and deviations; see Surrogate."""
        network, self._seed = lessons.network(seed), seed
        normals: list[tuple[NormalWeight, Tensor]] = []
        for layer in list(network.modules()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                normal, mean = NormalWeight(layer.weight, self.share), layer.weight
                parametrize.register_parametrization(layer, "weight", normal)
                normals.append((normal, mean))
        scale = self.temper / len(lessons.queries)
        self._network = network
        learn(
            network,
            lessons,
            seed,
            at_checkpoint=lambda iteration: watch(iteration, self),
            penalty=lambda: scale * torch.stack([n.divergence(m) for n, m in normals]).sum(),
        )

    def members(self, images: Tensor) -> Tensor:
        """Return the probabilities of `draws` networks, M×N×k. Raises ValueError before training."""
        network = trained(self._network)
        answers = []
        with fixed_draws(self._seed):
            for _ in range(self.draws):
                # one draw for all batches of images
                with parametrize.cached():
                    answers.append(probabilities(network, images, AT_ONCE))
        return torch.stack(answers)


def last_layer(network: PreTrainedModel) -> nn.Linear:
    """Return the matrix that makes logits of features. Raises ValueError if the head does not end in one."""
    linear = list(head(network).modules())[-1]
    if not isinstance(linear, nn.Linear):
        raise ValueError(f"the head of {type(network).__name__} does not end in a linear layer")
    return linear


def all_surrogates() -> tuple[Surrogate, ...]:
    """Return the control and then the five, untrained."""
    return (
        Control(),
        DeepEnsemble(),
        MonteCarloDropout(),
        Swag(),
        LastLayerLaplace(),
        MeanFieldVariational(),
    )
