"""Learned DNA, our reading of Model DNA (Mu et al., ECAI 2024): a small encoder over raw sketches.

One vector a model: its centred unit sketches, each mapped, scaled to unit norm, weighted and put end to end; what a
model does not have is left out; the whole has unit norm again. The cosine of two such vectors is the learned score.
Coordinates of a sketch mean nothing outside their space and stratum (other probes, other signs), so maps belong to
those; weights of readouts belong to a readout's name and are shared by all spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
VARIANTS = ("readout weights", "diagonal", "identity + rank 8", "linear to 32", "MLP to 32")
WIDTH, RANK, HIDDEN = 32, 8, 64
#: How much more a hard negative counts in the softmax than any other.
HARD = 4.0
EVERY, STEPS, RATE, DECAY = 10, 50, 1e-2, 1e-2
START_TEMPERATURE = 0.1


@dataclass(frozen=True)
class Group:
    """The sketches of one stratum in one space. `values`: models × readouts × dimensions, zero where missing;
    `there`: models × readouts. `readouts` are names without a space, as `dna noise@1/6`."""

    readouts: tuple[str, ...]
    values: Tensor
    there: Tensor


@dataclass(frozen=True)
class Sketches:
    """All sketches of some models. `rows`: by space, which models; `groups`: by space, then stratum."""

    rows: Mapping[str, npt.NDArray[np.intp]]
    groups: Mapping[str, Mapping[str, Group]]

    @property
    def readouts(self) -> list[str]:
        """Names of all readouts, sorted."""
        groups = (g for held in self.groups.values() for g in held.values())
        return sorted({name for group in groups for name in group.readouts})

    def of(self, chosen: Bools) -> Sketches:
        """Those of some models alone; numbers of models stay what they are."""
        rows, groups = {}, {}
        for space, numbers in self.rows.items():
            kept = np.flatnonzero(chosen[numbers])
            if len(kept):
                rows[space] = numbers[kept]
                groups[space] = {
                    stratum: Group(group.readouts, group.values[kept], group.there[kept])
                    for stratum, group in self.groups[space].items()
                }
        return Sketches(rows, groups)


def gather(centred: Sequence[Mapping[str, Mapping[str, Floats]]]) -> Sketches:
    """Sketches from, for each model, its centred vectors by space and name (`dna noise@1/6`).

    Space here is what names a model's probes; a model may be in several or in none.
    """
    rows = {
        space: np.array([n for n, held in enumerate(centred) if space in held], np.intp)
        for space in sorted({space for held in centred for space in held})
    }
    groups: dict[str, dict[str, Group]] = {}
    for space, numbers in rows.items():
        held = [centred[int(n)][space] for n in numbers]
        names = sorted({name for vectors in held for name in vectors})
        for stratum in sorted({name.split("@")[0] for name in names}):
            own = tuple(name for name in names if name.split("@")[0] == stratum)
            size = next(len(vectors[own[0]]) for vectors in held if own[0] in vectors)
            values = np.zeros((len(held), len(own), size), np.float32)
            there = np.zeros((len(held), len(own)), np.float32)
            for row, vectors in enumerate(held):
                for column, name in enumerate(own):
                    if name in vectors:
                        values[row, column], there[row, column] = vectors[name], 1.0
            group = Group(own, torch.from_numpy(values), torch.from_numpy(there))
            groups.setdefault(space, {})[stratum] = group
    return Sketches(rows, groups)


class _Residual(nn.Module):
    """x + xUV: starts as the raw sketch."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(size, RANK) / size**0.5)
        self.up = nn.Parameter(torch.zeros(RANK, size))

    def forward(self, x: Tensor) -> Tensor:
        return x + x @ self.down @ self.up


class _Scale(nn.Module):
    """One positive factor a coordinate: starts as the raw sketch."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.logs = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.logs.exp()


def _map(variant: str, size: int) -> nn.Module:
    if variant == "diagonal":
        return _Scale(size)
    if variant == "identity + rank 8":
        return _Residual(size)
    if variant == "linear to 32":
        linear = nn.Linear(size, WIDTH, bias=False)
        nn.init.orthogonal_(linear.weight)
        return linear
    if variant == "MLP to 32":
        return nn.Sequential(nn.Linear(size, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH))
    if variant == "readout weights":
        return nn.Identity()
    raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}")


class Encoder(nn.Module):
    """Sketches to one unit vector a model. Raises ValueError for a variant that is none of `VARIANTS`."""

    def __init__(self, variant: str, sketches: Sketches) -> None:
        super().__init__()
        self.names = sketches.readouts
        self.weights = nn.Parameter(torch.zeros(len(self.names)))
        self.temperature = nn.Parameter(torch.tensor(float(np.log(START_TEMPERATURE))))
        self.maps = nn.ModuleDict(
            {
                f"{space} {stratum}": _map(variant, group.values.shape[-1])
                for space, groups in sketches.groups.items()
                for stratum, group in groups.items()
            }
        )

    def forward(self, space: str, groups: Mapping[str, Group]) -> Tensor:
        """Models × width, unit norm, of one space's groups by stratum."""
        parts = []
        for stratum, group in groups.items():
            mapped = normalize(self.maps[f"{space} {stratum}"](group.values), dim=-1)
            chosen = [self.names.index(name) for name in group.readouts]
            scaled = mapped * (group.there * self.weights[chosen].exp())[..., None]
            parts.append(scaled.flatten(1))
        return normalize(torch.cat(parts, dim=1), dim=-1)

    def readout_weights(self) -> dict[str, float]:
        """The share of each readout in a score between two models that have all of them."""
        squared = (2 * self.weights.detach()).exp()
        shares = squared / squared.sum()
        return {name: round(float(x), 4) for name, x in zip(self.names, shares, strict=True)}


@dataclass(frozen=True)
class Questions:
    """Who is held against whom, as in `Cases`: suspects × candidates. `candidates` are numbers of models.

    weight: of each suspect in the loss."""

    candidates: npt.NDArray[np.intp]
    asked: Bools
    true: Bools
    hard: Bools
    weight: Floats


def contrast(similar: Tensor, asked: Tensor, true: Tensor, hard: Tensor, weight: Tensor) -> Tensor:
    """InfoNCE: −log of the ancestors' share in the softmax over candidates, hard negatives counted `HARD` times.

    similar: suspects × candidates, divided by the temperature. Every row needs a true candidate.
    """
    logits = similar + float(np.log(HARD)) * hard
    whole = logits.masked_fill(~asked, -torch.inf).logsumexp(1)
    right = similar.masked_fill(~true, -torch.inf).logsumexp(1)
    return (weight * (whole - right)).sum() / weight.sum()


@dataclass(frozen=True)
class _Part:
    """The questions of one space, as tensors, with each model's place in the space."""

    suspects: Tensor
    candidates: Tensor
    tables: tuple[Tensor, Tensor, Tensor, Tensor]


def _parts(
    sketches: Sketches, questions: Questions, suspects: Bools, candidates: Bools
) -> dict[str, _Part]:
    found = {}
    for space, rows in sketches.rows.items():
        place = np.full(len(questions.asked), -1)
        place[rows] = np.arange(len(rows))
        columns = np.flatnonzero(candidates & (place[questions.candidates] >= 0))
        asking = suspects & (place >= 0)
        asking &= (questions.true[:, columns] & questions.asked[:, columns]).any(1)
        numbers = np.flatnonzero(asking)
        if not len(numbers):
            continue
        block = np.ix_(numbers, columns)
        tables = [questions.asked[block], questions.true[block], questions.hard[block]]
        held = [torch.from_numpy(table) for table in tables]
        weight = torch.from_numpy(questions.weight[numbers].astype(np.float32))
        found[space] = _Part(
            torch.from_numpy(place[numbers]),
            torch.from_numpy(place[questions.candidates[columns]]),
            (held[0], held[1], held[2], weight),
        )
    return found


def _loss(encoder: Encoder, sketches: Sketches, parts: Mapping[str, _Part]) -> Tensor:
    losses, weights = [], []
    for space, part in parts.items():
        embedded = encoder(space, sketches.groups[space])
        similar = embedded[part.suspects] @ embedded[part.candidates].T
        asked, true, hard, weight = part.tables
        similar = similar / encoder.temperature.exp()
        losses.append(contrast(similar, asked, true, hard, weight) * weight.sum())
        weights.append(weight.sum())
    return torch.stack(losses).sum() / torch.stack(weights).sum()


@torch.no_grad()
def similarities(encoder: Encoder, sketches: Sketches, models: int) -> Floats:
    """Learned scores, models × models; NaN for pairs that share no space."""
    found = np.full((models, models), np.nan)
    for space, rows in sketches.rows.items():
        embedded = encoder(space, sketches.groups[space]).numpy().astype(np.float64)
        found[np.ix_(rows, rows)] = embedded @ embedded.T
    return found


def train(
    variant: str,
    sketches: Sketches,
    questions: Questions,
    known: Bools,
    steps: int,
    seen: Callable[[int, Encoder], None] | None = None,
) -> Encoder:
    """An encoder fitted on the questions among `known` models alone; `seen` is called every `EVERY` steps, from 0.

    Raises ValueError if there is no such question.
    """
    learnt = sketches.of(known)
    parts = _parts(learnt, questions, known, known[questions.candidates])
    if not parts:
        raise ValueError("no model with an ancestor among those to learn from: build a larger zoo")
    torch.manual_seed(0)
    encoder = Encoder(variant, sketches)
    few = [encoder.weights, encoder.temperature]
    groups: list[dict[str, Any]] = [
        {"params": few, "lr": 4 * RATE},
        {"params": list(encoder.maps.parameters())},
    ]
    optimiser = torch.optim.AdamW(
        groups,
        lr=RATE,
        weight_decay=DECAY,
    )
    for step in range(steps + 1):
        if seen is not None and step % EVERY == 0:
            seen(step, encoder)
        if step < steps:
            optimiser.zero_grad()
            _loss(encoder, learnt, parts).backward()
            optimiser.step()
    return encoder


@dataclass(frozen=True)
class Rehearsal:
    """What cross-validation within the training fold found. steps: how long to train; loss: of held-out families
    there after these steps, and untrained; scores: models × models, each held-out family's rows by an encoder that
    never saw it, NaN elsewhere."""

    steps: int
    loss: float
    untrained: float
    scores: Floats


def rehearse(
    variant: str,
    sketches: Sketches,
    questions: Questions,
    known: Bools,
    groups: npt.NDArray[np.intp],
) -> Rehearsal:
    """Leave out each of `groups` (a number per model) of the known models in turn; stop where their loss is least."""
    own, count = sketches.of(known), len(known)
    losses: dict[int, list[tuple[float, float]]] = {}
    scores: dict[int, Floats] = {}
    for group in np.unique(groups[known]):
        out = known & (groups == group)
        parts = _parts(own, questions, out, known[questions.candidates])
        size = sum(float(part.tables[3].sum()) for part in parts.values())

        def seen(
            step: int,
            encoder: Encoder,
            out: Bools = out,
            parts: Mapping[str, _Part] = parts,
            size: float = size,
        ) -> None:
            if parts:
                with torch.no_grad():
                    loss = float(_loss(encoder, own, parts))
                losses.setdefault(step, []).append((loss, size))
            whole = scores.setdefault(step, np.full((count, count), np.nan))
            whole[out] = similarities(encoder, own, count)[out]

        train(variant, own, questions, known & ~out, STEPS, seen)
    means = {
        step: sum(loss * size for loss, size in pairs) / sum(size for _, size in pairs)
        for step, pairs in losses.items()
    }
    best = min(means, key=lambda step: means[step])
    return Rehearsal(best, means[best], means[0], scores[best])
