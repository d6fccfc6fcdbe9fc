"""Many tasks over the same pictures, encoders trained for each, and how much one's encoder helps with another.

The pictures are grey ones of ten classes (`pictures`), each painted in an ink and on a paper of its own. So an input
holds several things that can be asked for independently: what it shows, where and in what pose, its outline, and its
colours. Tasks name classes, predict numbers, or predict pictures. Every encoder is the same small network with a linear
layer to the task's outputs on its last pooled state, so that predicted pictures pass through that state too.

Transfer is measured as in Taskonomy (Zamir et al., CVPR 2018), smaller: the encoder is frozen, a linear readout is
fitted to few examples of the target task, and its error on pictures never seen counts. Inputs are float32
N×3×16×16 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from provray.testbed.digits import SIZE, generator, relabel
from provray.testbed.vision import Training, new_classifier, normalise

CHANNELS = 3
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance (ITU-R BT.601)."""
NOISE = 0.15
"""Deviation of the noise that `denoising` takes away."""
SILHOUETTE = 0.2
"""Ink below which a pixel counts as paper."""
REACH = 3
"""Pixels by which `shift` moves a picture at most."""
_HOLE = slice(SIZE // 4, 3 * SIZE // 4)
_HALF = SIZE // 2
_ORDERS = torch.tensor([order for order in permutations(range(4)) if order[0] == 0])
"""Orders of the four quarters that `jigsaw` tells apart: the first one stays."""

Kind = Literal["classes", "numbers", "picture"]


@dataclass(frozen=True)
class Scenes:
    """Pictures and what they were painted from. `shapes`: ink, N×1×16×16 in [0, 1]; `labels`: classes N; `ink`,
    `paper`: colours, N×3×1×1 in [0, 1]."""

    shapes: Tensor
    labels: Tensor
    ink: Tensor
    paper: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def painted(self, shapes: Tensor | None = None) -> Tensor:
        """The pictures N×3×16×16; with other `shapes` in the same colours if given."""
        drawn = self.shapes if shapes is None else shapes
        return self.paper + (self.ink - self.paper) * drawn

    def take(self, rows: slice) -> Scenes:
        """The scenes of these rows."""
        return Scenes(self.shapes[rows], self.labels[rows], self.ink[rows], self.paper[rows])


@dataclass(frozen=True)
class Examples:
    """Inputs N×3×16×16 in [0, 1] and targets: N class numbers (int64), or N×k float32."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Task:
    """One task. `outputs`: classes, or numbers to predict (a picture counts its values). `make`: examples of scenes."""

    name: str
    kind: Kind
    outputs: int
    make: Callable[[Scenes, torch.Generator], Examples]


def paint(shapes: Tensor, labels: Tensor, seed: int) -> Scenes:
    """Give every shape an ink of [0.45, 1]³ and a paper of [0, 0.4]³, drawn from `seed`."""
    draw = generator(seed, 21)
    ink = 0.45 + 0.55 * torch.rand(len(shapes), 3, 1, 1, generator=draw)
    paper = 0.4 * torch.rand(len(shapes), 3, 1, 1, generator=draw)
    return Scenes(shapes, labels, ink, paper)


def luminance(images: Tensor) -> Tensor:
    """Luminance N×1×H×W of colour images N×3×H×W."""
    return (images * torch.tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)


def sobel(planes: Tensor) -> Tensor:
    """Length of the Sobel gradient of N×1×H×W, an eighth of the kernel's sums; the border repeats."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    kernels = torch.stack([across, across.T])[:, None]
    gradient = F.conv2d(F.pad(planes, (1, 1, 1, 1), mode="replicate"), kernels)
    return gradient.square().sum(1, keepdim=True).sqrt()


def _plain(target: Callable[[Scenes], Tensor]) -> Callable[[Scenes, torch.Generator], Examples]:
    """A task whose inputs are the pictures as they are."""
    return lambda scenes, draw: Examples(scenes.painted(), target(scenes))


def _colours(scenes: Scenes) -> Tensor:
    return torch.cat([scenes.ink, scenes.paper], 1).flatten(1)


def _brightness(scenes: Scenes) -> Tensor:
    light = luminance(scenes.painted()).flatten(1)
    return torch.stack([light.mean(1), light.std(1)], 1)


def _coverage(scenes: Scenes) -> Tensor:
    return F.avg_pool2d(scenes.shapes, _HALF).flatten(1)


def _silhouette(scenes: Scenes) -> Tensor:
    return (scenes.shapes > SILHOUETTE).float().flatten(1)


def _rotation(scenes: Scenes, draw: torch.Generator) -> Examples:
    quarters = torch.randint(4, (len(scenes),), generator=draw)
    pairs = zip(scenes.shapes, quarters.tolist(), strict=True)
    turned = torch.stack([torch.rot90(shape, turns, (1, 2)) for shape, turns in pairs])
    return Examples(scenes.painted(turned), quarters)


def _jigsaw(scenes: Scenes, draw: torch.Generator) -> Examples:
    labels = torch.randint(len(_ORDERS), (len(scenes),), generator=draw)
    s = scenes.shapes
    quarters = torch.stack(
        [s[..., y : y + _HALF, x : x + _HALF] for y in (0, _HALF) for x in (0, _HALF)], 1
    )
    dealt = quarters[torch.arange(len(s))[:, None], _ORDERS[labels]]
    rows = [torch.cat([dealt[:, i], dealt[:, i + 1]], 3) for i in (0, 2)]
    return Examples(scenes.painted(torch.cat(rows, 2)), labels)


def _shift(scenes: Scenes, draw: torch.Generator) -> Examples:
    moves = torch.randint(-REACH, REACH + 1, (len(scenes), 2), generator=draw)
    padded = F.pad(scenes.shapes, (REACH,) * 4)
    moved = torch.stack(
        [
            image[:, REACH - dy : REACH - dy + SIZE, REACH - dx : REACH - dx + SIZE]
            for image, (dy, dx) in zip(padded, moves.tolist(), strict=True)
        ]
    )
    return Examples(scenes.painted(moved), moves.float())


def _denoising(scenes: Scenes, draw: torch.Generator) -> Examples:
    clean = scenes.painted()
    noisy = clean + NOISE * torch.randn(clean.shape, generator=draw)
    return Examples(noisy.clamp(0, 1), clean.flatten(1))


def _inpainting(scenes: Scenes, draw: torch.Generator) -> Examples:
    whole = scenes.painted()
    holed = whole.clone()
    holed[..., _HOLE, _HOLE] = 0.5
    return Examples(holed, whole[..., _HOLE, _HOLE].flatten(1))


_PIXELS = SIZE * SIZE

TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task("classes", "classes", 10, _plain(lambda s: s.labels)),
        Task("kind", "classes", 5, _plain(lambda s: relabel(s.labels, "kind"))),
        # odd against even classes: a grouping that means nothing
        Task("parity", "classes", 2, _plain(lambda s: relabel(s.labels, "parity"))),
        Task("rotation", "classes", 4, _rotation),
        Task("jigsaw", "classes", len(_ORDERS), _jigsaw),
        Task("shift", "numbers", 2, _shift),
        Task("coverage", "numbers", 4, _plain(_coverage)),
        Task("brightness", "numbers", 2, _plain(_brightness)),
        Task("colours", "numbers", 6, _plain(_colours)),
        Task(
            "autoencoding",
            "picture",
            CHANNELS * _PIXELS,
            _plain(lambda s: s.painted().flatten(1)),
        ),
        Task("denoising", "picture", CHANNELS * _PIXELS, _denoising),
        Task("inpainting", "picture", CHANNELS * _PIXELS // 4, _inpainting),
        Task(
            "edges",
            "picture",
            _PIXELS,
            _plain(lambda s: sobel(luminance(s.painted())).flatten(1)),
        ),
        Task("silhouette", "picture", _PIXELS, _plain(_silhouette)),
    )
}


def examples(task: Task, scenes: Scenes, seed: int) -> Examples:
    """The examples of `task` over `scenes`; what is random about them (noise, turns) is drawn from `seed`."""
    return task.make(scenes, generator(seed, 22))


def columns(task: Task, targets: Tensor) -> Tensor:
    """Targets as float32 columns: classes as one-hot N×k, numbers and pictures as they are."""
    return F.one_hot(targets, task.outputs).float() if task.kind == "classes" else targets


def new_encoder(architecture: str, task: Task, seed: int) -> PreTrainedModel:
    """A network of `architecture` with weights drawn from `seed` and a linear layer to the task's outputs."""
    return new_classifier(
        architecture, channels=CHANNELS, size=SIZE, classes=task.outputs, seed=seed
    )


def train_encoder(
    model: PreTrainedModel, task: Task, scenes: Scenes, training: Training, *, seed: int
) -> None:
    """Train `model` in place for `task`: cross-entropy for classes, else squared error over the targets' variance.

    AdamW, one-cycle rate. Random parts of the inputs are drawn anew in every pass over the scenes.
    """
    draw = generator(seed, 23)
    steps = max(5, round(training.epochs * (len(scenes) // training.batch)))
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=training.rate, weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.rate, total_steps=steps + 1, pct_start=0.2
    )
    centre, variance = _moments(task, examples(task, scenes, seed).targets)
    torch.manual_seed(seed)
    model.train()
    batches = _batches(task, scenes, training.batch, draw)
    for _ in range(steps):
        inputs, targets = next(batches)
        outputs = model(pixel_values=normalise(inputs)).logits
        if task.kind == "classes":
            loss = F.cross_entropy(outputs, targets)
        else:
            # the network predicts standardised targets, so every task's loss starts at about 1
            loss = F.mse_loss(outputs, (targets - centre) / variance.sqrt())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()


def _moments(task: Task, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each column, and variance: of each number, or one for a whole picture (dark corners stay unimportant)."""
    values = columns(task, targets)
    centred = values - values.mean(0)
    variance = centred.square().mean(0 if task.kind == "numbers" else (0, 1))
    return values.mean(0), variance.clamp_min(1e-8)


def _batches(
    task: Task, scenes: Scenes, batch: int, draw: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        made = task.make(scenes, draw)
        order = torch.randperm(len(scenes), generator=draw)
        for rows in order.split(batch):
            if len(rows) == batch:
                yield made.inputs[rows], made.targets[rows]


@torch.no_grad()
def settle(model: PreTrainedModel, images: Tensor, batch: int = 250) -> None:
    """Let the normalisation layers of an untrained network measure their statistics on `images`, weights untouched."""
    model.train()
    for part in images.split(batch):
        model(pixel_values=normalise(part))
    model.eval()


@torch.no_grad()
def features(model: PreTrainedModel, images: Tensor, batch: int = 250) -> Tensor:
    """The last state of the model's body averaged over positions, N×d: what a CNN's linear layer reads."""
    model.eval()
    parts = []
    for part in images.split(batch):
        state = model.base_model(pixel_values=normalise(part)).last_hidden_state
        parts.append(state.flatten(2).mean(2) if state.dim() == 4 else state.mean(1))
    return torch.cat(parts)


def readout_error(
    fit: tuple[npt.ArrayLike, npt.ArrayLike], held_out: tuple[npt.ArrayLike, npt.ArrayLike]
) -> float:
    """Error of a linear readout fitted to (features N×d, targets N×k), on held-out ones: squared error over variance.

    Ridge regression on centred features, its strength chosen by leave-one-out on the fitted examples. 0 is
    perfect, 1 no better than the mean target, above 1 worse. Columns of targets are added up, not averaged. Raises
    ValueError if the held-out targets do not vary.
    """
    from sklearn.linear_model import RidgeCV

    given, wanted = (np.asarray(part, dtype=np.float64) for part in fit)
    seen, truth = (np.asarray(part, dtype=np.float64) for part in held_out)
    # One scale for all features: by its own, a unit that is hardly ever active would count as much as any other.
    centre, scale = given.mean(axis=0), given.std(axis=0)
    given, seen = (
        (part - centre) / max(float(np.sqrt(np.mean(scale**2))), 1e-12) for part in (given, seen)
    )
    ridge = RidgeCV(alphas=np.logspace(-2, 5, 15)).fit(given, wanted)
    spread = float(np.square(truth - wanted.mean(axis=0)).sum())
    if spread == 0:
        raise ValueError("held-out targets that do not vary cannot be explained")
    predicted = ridge.predict(seen).reshape(truth.shape)
    return float(np.square(predicted - truth).sum()) / spread


def transfer_errors(
    model: PreTrainedModel, few: Sequence[Scenes], held_out: Scenes, seed: int
) -> dict[str, float]:
    """Error of linear readouts of the frozen encoder for every task of `TASKS`, by its name.

    A readout is fitted to each of `few` and judged on `held_out`; the mean over `few` is returned. What is random about
    the examples is drawn from `seed`, the same for every encoder.
    """
    scenes = [*few, held_out]
    pictures = [part.painted() for part in scenes]
    plain = [features(model, part) for part in pictures]
    errors = {}
    for name, task in TASKS.items():
        parts = []
        for number, part in enumerate(scenes):
            made = examples(task, part, seed + number)
            same = torch.equal(made.inputs, pictures[number])
            states = plain[number] if same else features(model, made.inputs)
            parts.append((states.numpy(), columns(task, made.targets).numpy()))
        errors[name] = float(np.mean([readout_error(part, parts[-1]) for part in parts[:-1]]))
    return errors


def gain(
    errors: npt.NDArray[np.float64], random_errors: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Transfer gains: the share of a random frozen encoder's error that these take away; negative if they add to it.

    errors: …×targets; random_errors: targets. Raises ValueError unless all of the latter are positive.
    """
    if not (random_errors > 0).all():
        raise ValueError(f"random encoders' errors must be positive, got {random_errors}")
    return 1.0 - errors / random_errors
