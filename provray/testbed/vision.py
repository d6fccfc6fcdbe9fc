"""Training small image classifiers in seconds on one thread, and measuring them.

Images come in [0, 1] and are normalised by mean ½, deviation ½, which
is what the saved `preprocessor_config.json` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from provray.testbed.architectures import ARCHITECTURES
from provray.testbed.assets import write_preprocessor
from provray.testbed.digits import Augment, coloured, generator, mixtures
from provray.testbed.folders import save_model
from provray.testbed.pictures import Pictures, pictures

MEAN, STD = 0.5, 0.5
#: How many test pictures, and then mixtures of them, two models are compared on.
TEST_ANSWERS, MIXED_ANSWERS = 250, 750


@dataclass(frozen=True)
class Training:
    """How long and how fast a network is trained: AdamW, one-cycle learning rate peaking at `rate`."""

    epochs: float
    batch: int
    rate: float


#: What takes each architecture to 95 % and more of the test digits.
TRAINING: Mapping[str, Training] = {
    "resnet": Training(epochs=8, batch=40, rate=4e-3),
    "vit": Training(epochs=9, batch=24, rate=2e-3),
    "convnext": Training(epochs=8, batch=32, rate=5e-3),
    "efficientnet": Training(epochs=8, batch=40, rate=4e-3),
}


def new_classifier(
    architecture: str, *, channels: int, size: int, classes: int, seed: int
) -> PreTrainedModel:
    """Return a classifier of `architecture` (a key of ARCHITECTURES) with weights drawn from `seed`."""
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"architecture {architecture!r} is none of {known}")
    torch.manual_seed(seed)
    return ARCHITECTURES[architecture](size, channels, classes).eval()


def architecture_of(model: PreTrainedModel) -> str:
    """Return the key of TRAINING that a model was built under."""
    return str(model.config.model_type)


def normalise(images: Tensor) -> Tensor:
    """Return images of [0, 1] as the models take them."""
    return (images - MEAN) / STD


@torch.no_grad()
def probabilities(model: PreTrainedModel, images: Tensor, batch: int = 125) -> Tensor:
    """Return the class probabilities, N×k, of images in [0, 1]; the model is put in evaluation mode."""
    model.eval()
    parts = [model(pixel_values=normalise(part)).logits for part in images.split(batch)]
    return torch.cat(parts).softmax(1)


def accuracy(model: PreTrainedModel, images: Tensor, labels: Tensor) -> float:
    """Return the share of images whose most probable class is their label."""
    return float((probabilities(model, images).argmax(1) == labels).float().mean())


def train(
    model: PreTrainedModel,
    images: Tensor,
    targets: Tensor,
    training: Training,
    *,
    seed: int,
    augment: Augment | None = None,
    head_only: bool = False,
    momentum: float | None = None,
) -> None:
    """Train what can be trained of `model` in place on images in [0, 1].

    `targets` is N labels, or N×k probabilities to imitate. `head_only` leaves the body as it is, its
    normalisation statistics included. `momentum` is that of batch normalisation, None for the model's own.
    """
    trained = head(model) if head_only else model
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    for module in model.modules():
        if momentum is not None and isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = momentum
    # with a frozen body, BatchNorm must not go on counting
    model.train(not head_only)
    draw = generator(seed, 1)
    torch.manual_seed(seed)  # dropout, stochastic depth
    per_epoch = len(images) // training.batch
    # the one-cycle schedule divides by zero at four steps: its warm-up would have none
    steps = max(5, round(training.epochs * per_epoch))
    optimiser = torch.optim.AdamW(parameters, lr=training.rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.rate, total_steps=steps + 1, pct_start=0.2
    )
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < training.batch:
            order = torch.randperm(len(images), generator=draw)
        rows, order = order[: training.batch], order[training.batch :]
        inputs = images[rows]
        if augment is not None:
            inputs = augment(inputs, draw)
        loss = F.cross_entropy(model(pixel_values=normalise(inputs)).logits, targets[rows])
        optimiser.zero_grad()
        torch.autograd.backward(loss, inputs=parameters)
        optimiser.step()
        schedule.step()
    model.eval()


def head(model: PreTrainedModel) -> torch.nn.Module:
    """Return the classification head of an image or sequence classifier."""
    module = getattr(model, "classifier", None) or getattr(model, "score", None)
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"{type(model).__name__} has no classification head")
    return module


def held_out_images(channels: int, name: Pictures = "digits") -> tuple[Tensor, Tensor]:
    """Return the held-out pictures as a model with `channels` channels sees them, and their labels."""
    images, labels = pictures(name, "test")
    return coloured(images, channels, seed=11), labels


def answers(model: PreTrainedModel, name: Pictures = "digits") -> list[int]:
    """Return the labels `model` gives the 250 held-out pictures and 750 mixtures of them.

    Two models of the same channels and task are compared by how often these agree.
    """
    images, _ = pictures(name, "test")
    channels = int(model.config.num_channels)
    mixed = coloured(mixtures(images, MIXED_ANSWERS, seed=12), channels, seed=13)
    both = torch.cat([held_out_images(channels, name)[0], mixed])
    labels: list[int] = probabilities(model, both).argmax(1).tolist()
    return labels


def save_classifier(model: PreTrainedModel, folder: Path, *, size: int, title: str) -> None:
    """Write `model` as a complete model folder with its preprocessor configuration."""
    channels = int(model.config.num_channels)
    save_model(
        model,
        folder,
        title=title,
        inputs=lambda target: write_preprocessor(
            target, size=size, mean=[MEAN] * channels, std=[STD] * channels
        ),
    )
