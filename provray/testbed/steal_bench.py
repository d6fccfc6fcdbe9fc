"""Model stealing under uncertainty: what members add to a thief, and whether its victim can be named.

After Pape et al. (2023), whose own five methods are not known to us; ours are a deep ensemble, Monte-Carlo dropout,
SWAG, last-layer Laplace and a mean-field variational network, beside a single network as control. One victim; each
seed draws other queries and other initial weights, and all surrogates of a seed share both.

What is there from an interrupted run with the same settings (trainings of one surrogate and seed, models, rows of the
crawl) is kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from provray.crawl.progress import Progress
from provray.testbed.build import seed_of
from provray.testbed.digits import SIZE, generator
from provray.testbed.domain_probes import domain_probes
from provray.testbed.folders import load_own_model, write_json
from provray.testbed.pictures import Pictures, pictures
from provray.testbed.steal_naming import INDEXED, Naming, Suspect, name_victims
from provray.testbed.steal_results import (
    Alikeness,
    Look,
    Outcome,
    alikeness,
    first_claim,
    outcomes,
    second_claim,
)
from provray.testbed.theft import Budget, oracle_of, query_inputs
from provray.testbed.uncertainty import (
    Control,
    DeepEnsemble,
    Lessons,
    Surrogate,
    disagreement,
    member_variance,
)
from provray.testbed.uncertainty_surrogates import all_surrogates
from provray.testbed.vision import Training, new_classifier, probabilities, save_classifier, train

VICTIM = f"{INDEXED}/victim"
#: Pictures at the end of Fashion-MNIST's thief part that no query is drawn from: held out beside its 250 of `test`.
RESERVED = 750
#: Every fourth stranger is of another architecture than the victim, these in turn.
OTHER_ARCHITECTURES = ("resnet-bottleneck", "regnet")
_IMITATED = ", imitated"
#: Raised whenever trainings with the same settings come out differently.
_VERSION = 1


@dataclass(frozen=True)
class StealSettings:
    """How much is stolen and measured.

    `pictures`: the collection; `queries` to the victim, `seeds` repetitions. A surrogate trains `steps` iterations of
    `batch` pictures at a peak `rate` and is looked at after each of `checkpoints`. `strangers` are indexed beside the
    victim, all trained for `base_steps` on the same `base_pictures`, few enough for each to have errors of its own;
    networks that imitate an averaged output train for `imitation_steps`.
    """

    pictures: Pictures = "fashion"
    queries: int = 2000
    seeds: int = 3
    architecture: str = "resnet"
    steps: int = 200
    batch: int = 40
    rate: float = 4e-3
    checkpoints: tuple[int, ...] = (10, 30, 60, 100, 150, 200)
    strangers: int = 15
    base_pictures: int = 1000
    base_steps: int = 200
    imitation_steps: int = 150

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.strangers < 3:
            raise ValueError(
                f"one seed and three strangers at least, got {self.seeds} and {self.strangers}"
            )
        if self.queries < self.batch:
            raise ValueError(f"{self.queries} queries are fewer than one batch, {self.batch}")


@dataclass(frozen=True)
class Imitation:
    """The single network trained to answer like a surrogate's averaged output: its path below the zoo, its agreement
    with the victim and with the surrogate on held-out pictures, 0..1."""

    surrogate: str
    seed: int
    model: str
    fidelity: float
    to_surrogate: float


@dataclass(frozen=True)
class StealResult:
    """A whole run. `victim_accuracy` 0..1; `held_out`: pictures measured on; `looks`: every checkpoint; `outcomes` and
    `alikeness`: over seeds; `claims`: what they say in words; `stages`: (what, wall s, CPU s of this process)."""

    settings: StealSettings
    victim_accuracy: float
    held_out: int
    looks: tuple[Look, ...]
    imitations: tuple[Imitation, ...]
    outcomes: tuple[Outcome, ...]
    alikeness: tuple[Alikeness, ...]
    claims: tuple[str, str]
    naming: Naming
    stages: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class _Measuring:
    """What a surrogate is measured on: held-out pictures, their labels, the victim's labels for them."""

    images: Tensor
    labels: Tensor
    victim: Tensor


def run_steal_bench(
    folder: Path,
    settings: StealSettings,
    *,
    doing: Callable[[str], None],
    crawling: Progress | None = None,
) -> StealResult:
    """Run everything into `folder` on one compute thread. `doing` is told in words what is under way.

    Raises MissingAsset if Fashion-MNIST is asked for and not there.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run(folder, settings, doing, crawling)
    finally:
        torch.set_num_threads(threads)


def _run(
    folder: Path,
    settings: StealSettings,
    doing: Callable[[str], None],
    crawling: Progress | None,
) -> StealResult:
    stages: list[tuple[str, float, float]] = []
    clock = (time.perf_counter(), time.process_time())

    def stage(name: str) -> None:
        nonlocal clock
        now = (time.perf_counter(), time.process_time())
        stages.append((name, round(now[0] - clock[0], 1), round(now[1] - clock[1], 1)))
        clock = now

    zoo = folder / "models"
    images, labels = held_out(settings.pictures)
    victim = _indexed_models(zoo, settings, doing)
    replies = probabilities(victim, images).argmax(1)
    measuring = _Measuring(images, labels, replies)
    stage("train the victim and strangers")
    looks: list[Look] = []
    imitations: list[Imitation] = []
    suspects: list[Suspect] = []
    for seed in range(settings.seeds):
        lessons = lessons_of(victim, settings, seed)
        for surrogate in all_surrogates():
            doing(f"stealing, seed {seed + 1} of {settings.seeds}: {surrogate.name}")
            done = _stolen(folder, surrogate, lessons, seed, settings, measuring)
            looks.extend(Look(**look) for look in done["looks"])
            imitations.append(Imitation(**done["imitation"]))
            suspects.extend(Suspect(**suspect) for suspect in done["suspects"])
    stage("train the surrogates and their imitations")
    doing("fingerprinting")
    naming = name_victims(
        folder,
        VICTIM,
        sorted(suspects, key=lambda suspect: suspect.group.endswith(_IMITATED)),
        domain_probes({settings.pictures}, 128)[settings.pictures],
        images,
        crawling,
    )
    stage("crawl and compare")
    ends = outcomes(looks, Control.name)
    alike = alikeness(looks, Control.name)
    return StealResult(
        settings,
        float((replies == labels).float().mean()),
        len(images),
        tuple(looks),
        tuple(imitations),
        tuple(ends),
        tuple(alike),
        (first_claim(ends), second_claim(alike)),
        naming,
        tuple(stages),
    )


def held_out(name: Pictures) -> tuple[Tensor, Tensor]:
    """Return pictures that no model is trained on or queried with, N×1×16×16, and their labels N.

    The `test` part, and of Fashion-MNIST the last RESERVED of the thief's part.
    """
    images, labels = pictures(name, "test")
    if name == "digits":
        return images, labels
    more, their_labels = pictures(name, "thief")
    return torch.cat([images, more[-RESERVED:]]), torch.cat([labels, their_labels[-RESERVED:]])


def lessons_of(victim: PreTrainedModel, settings: StealSettings, seed: int) -> Lessons:
    """Return the queries of a seed with the victim's answers, and how thieves learn from them.

    Queries are drawn at random from the thief's pictures; mixtures of these where they are too few.
    """
    own, _ = pictures(settings.pictures, "thief")
    if settings.pictures != "digits":
        own = own[:-RESERVED]
    number = seed_of("steal-bench", seed, "queries")
    order = torch.randperm(len(own), generator=generator(number))
    budget = Budget(settings.queries, 0.0, Training(1.0, settings.batch, settings.rate))
    queries = query_inputs(own[order], budget, number)
    return Lessons(
        queries,
        oracle_of(victim)(queries),
        settings.architecture,
        settings.steps,
        settings.batch,
        settings.rate,
        settings.checkpoints,
    )


def look_at(
    surrogate: Surrogate, seed: int, iteration: int, images: Tensor, labels: Tensor, victim: Tensor
) -> Look:
    """Measure a surrogate as it is: held-out `images`, their `labels`, the `victim`'s labels for them."""
    members = surrogate.members(images)
    said = members.mean(0).argmax(1)
    return Look(
        surrogate.name,
        seed,
        iteration,
        float((said == victim).float().mean()),
        float((said == labels).float().mean()),
        float((members.argmax(2) == victim).float().mean()),
        member_variance(members),
        disagreement(members),
    )


def _digest(settings: StealSettings, *names: str) -> str:
    """What a stored training depends on; how many there are in all is no part of it."""
    plain = asdict(replace(settings, seeds=1, strangers=3))
    text = json.dumps([_VERSION, plain, names], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _stored(file: Path, digest: str) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return stored if stored["digest"] == digest else None


def _indexed_models(
    zoo: Path, settings: StealSettings, doing: Callable[[str], None]
) -> PreTrainedModel:
    """Train the victim and the strangers that are not there, and return the victim."""
    images, labels = (
        part[: settings.base_pictures] for part in pictures(settings.pictures, "train")
    )
    epochs = settings.base_steps / (len(images) // settings.batch)
    training = Training(epochs, settings.batch, settings.rate)
    plan = {VICTIM: settings.architecture}
    for number in range(1, settings.strangers + 1):
        other = OTHER_ARCHITECTURES[(number // 4 - 1) % len(OTHER_ARCHITECTURES)]
        plan[f"{INDEXED}/stranger-{number:02}"] = settings.architecture if number % 4 else other
    expected = set(plan)
    for path in (zoo / INDEXED).glob("*/model.safetensors"):
        # strangers of an earlier run with more of them would be indexed, too
        if path.parent.relative_to(zoo).as_posix() not in expected:
            shutil.rmtree(path.parent)
    for count, (name, architecture) in enumerate(plan.items()):
        record = zoo.parent / "records" / f"{name.replace('/', '-')}.json"
        digest = _digest(settings, name, architecture)
        if _stored(record, digest) is not None and (zoo / name / "model.safetensors").is_file():
            continue
        doing(f"training models {count + 1}/{len(plan)}: {name} ({architecture})")
        seed = seed_of("steal-bench", 0, name)
        model = new_classifier(
            architecture, channels=1, size=SIZE, classes=int(labels.max()) + 1, seed=seed
        )
        train(model, images, labels, training, seed=seed)
        save_classifier(model, zoo / name, size=SIZE, title=name)
        write_json(record, {"digest": digest})
    return load_own_model(zoo / VICTIM)


def _stolen(
    folder: Path,
    surrogate: Surrogate,
    lessons: Lessons,
    seed: int,
    settings: StealSettings,
    measuring: _Measuring,
) -> Mapping[str, Any]:
    """Train a surrogate, watch it, save its networks and its imitation; or read what an earlier run left."""
    short = surrogate.name.replace(" ", "-").lower()
    record = folder / "records" / f"seed-{seed}-{short}.json"
    digest = _digest(settings, surrogate.name, str(seed))
    done = _stored(record, digest)
    if done is not None:
        return done
    looks: list[Look] = []

    def watch(iteration: int, watched: Surrogate) -> None:
        looks.append(
            look_at(watched, seed, iteration, measuring.images, measuring.labels, measuring.victim)
        )

    surrogate.train(lessons, seed_of("steal-bench", seed, "surrogates"), watch)
    zoo, place = folder / "models", f"asked/seed-{seed}/{short}"
    suspects = []

    def save(network: PreTrainedModel, name: str, group: str) -> None:
        save_classifier(network, zoo / place / name, size=SIZE, title=name)
        suspects.append(Suspect(f"{place}/{name}", group, seed))

    if isinstance(surrogate, Control) and surrogate.network is not None:
        save(surrogate.network, "itself", surrogate.name)
    if isinstance(surrogate, DeepEnsemble):
        # the first one is the control
        for number, network in enumerate(surrogate.networks[1:], start=2):
            save(network, f"member-{number}", f"{surrogate.name}, its members")
    averaged = replace(
        lessons,
        replies=surrogate.members(lessons.queries).mean(0),
        steps=settings.imitation_steps,
        checkpoints=(settings.imitation_steps,),
        learned={},
    )
    imitation = averaged.plain(seed_of("steal-bench", seed, "imitations")).network
    save(imitation, "imitation", f"{surrogate.name}{_IMITATED}")
    said = probabilities(imitation, measuring.images).argmax(1)
    own = surrogate.members(measuring.images).mean(0).argmax(1)
    made = Imitation(
        surrogate.name,
        seed,
        f"{place}/imitation",
        float((said == measuring.victim).float().mean()),
        float((said == own).float().mean()),
    )
    done = {
        "digest": digest,
        "looks": [asdict(look) for look in looks],
        "imitation": asdict(made),
        "suspects": [asdict(suspect) for suspect in suspects],
    }
    write_json(record, done)
    return done
