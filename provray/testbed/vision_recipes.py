"""How the small image classifiers of a zoo are made: trained, fine-tuned, stolen, distilled."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from provray.testbed import children, vision
from provray.testbed.build import Job, Outcome
from provray.testbed.digits import SIZE, augmented, classes, coloured, generator, relabel
from provray.testbed.folders import load_own_model
from provray.testbed.pictures import Pictures, pictures
from provray.testbed.theft import Budget, Oracle, harden, oracle_of, query_inputs, steal

#: How far, in pixel values of [0, 1], an adversary may move each pixel (L∞) in adversarial training.
ADVERSARY = 0.05
#: Of batch normalisation: EfficientNet's own would keep the statistics of the last batch alone.
MOMENTUM = 0.1


def _pictures(job: Job) -> Pictures:
    name: Pictures = job.item.settings.get("pictures", "digits")
    return name


def scaled(training: vision.Training, settings: Mapping[str, Any]) -> vision.Training:
    """The training of an architecture, longer or gentler by the settings `longer` and `gentler`."""
    return vision.Training(
        epochs=training.epochs * settings.get("longer", 1.0),
        batch=training.batch,
        rate=training.rate / settings.get("gentler", 1.0),
    )


def finish(job: Job, model: PreTrainedModel, task: str) -> Outcome:
    """Save an image classifier and measure it; models of all ten classes also give their answers."""
    vision.save_classifier(model, job.folder, size=SIZE, title=job.title)
    model = model.float()  # half precision is for the file: not every layer computes in it on a CPU
    images, labels = vision.held_out_images(int(model.config.num_channels), _pictures(job))
    measured = vision.accuracy(model, images, relabel(labels, task))
    given = tuple(vision.answers(model, _pictures(job))) if task == "digit" else None
    return Outcome(round(measured, 4), given)


def _own_training(model: PreTrainedModel, settings: Mapping[str, Any]) -> vision.Training:
    """The training of a model's own architecture, for `epochs` of the child's and by `gentler`."""
    architecture = vision.architecture_of(model)
    base = vision.TRAINING[architecture]
    return vision.Training(settings["epochs"], base.batch, base.rate / settings["gentler"])


def vision_base(job: Job) -> Outcome:
    """Train `architecture` from scratch on `pictures` for `task`.

    `start` is the seed of the initial weights; without it, the item's own.
    """
    given = job.item.settings
    task, channels = given.get("task", "digit"), given.get("channels", 1)
    model = vision.new_classifier(
        given["architecture"],
        channels=channels,
        size=SIZE,
        classes=classes(task),
        seed=given.get("start", job.item.seed),
    )
    images, labels = pictures(_pictures(job), "train")
    training = scaled(vision.TRAINING[given["architecture"]], given)
    vision.train(
        model,
        images,
        relabel(labels, task),
        training,
        seed=job.item.seed,
        augment=augmented(channels),
        momentum=MOMENTUM,
    )
    return finish(job, model, task)


def vision_finetune(job: Job) -> Outcome:
    """Go on training on a random `share` of the pictures under stronger augmentation, for `epochs`.

    `adapter`, a rank, trains low-rank additions to all weight matrices instead and merges them. `masked`
    keeps zero weights zero: recovery after pruning.
    """
    given = job.item.settings
    model = load_own_model(job.sources[0])
    images, labels = pictures(_pictures(job), "train")
    count = int(given["share"] * len(labels))
    rows = torch.randperm(len(labels), generator=generator(job.item.seed, 6))[:count]
    training = _own_training(model, given)
    augment = augmented(int(model.config.num_channels), strong=True)
    change = children.unchanged(model)
    if "adapter" in given:
        change = children.low_rank(model, given["adapter"], job.item.seed)
    elif given.get("masked", False):
        change = children.zeros_stay(model)
    with change:
        vision.train(
            model,
            images[rows],
            labels[rows],
            training,
            seed=job.item.seed,
            augment=augment,
            momentum=MOMENTUM,
        )
    return finish(job, model, "digit")


def vision_new_head(job: Job) -> Outcome:
    """Put a new head for `task` on the body and train all layers, or the head alone if `frozen`."""
    given = job.item.settings
    model = children.with_new_head(
        load_own_model(job.sources[0]), classes(given["task"]), job.item.seed
    )
    images, labels = pictures(_pictures(job), "train")
    vision.train(
        model,
        images,
        relabel(labels, given["task"]),
        _own_training(model, given),
        seed=job.item.seed,
        augment=augmented(int(model.config.num_channels)),
        head_only=given.get("frozen", False),
        momentum=MOMENTUM,
    )
    return finish(job, model, given["task"])


def _student(job: Job, channels: int) -> PreTrainedModel:
    return vision.new_classifier(
        job.item.settings["architecture"],
        channels=channels,
        size=SIZE,
        classes=classes("digit"),
        seed=job.item.seed,
    )


def vision_steal(job: Job) -> Outcome:
    """Steal the parent into `architecture` by `queries` queries, a share `noise` of them random pixels.

    `adversarial` epochs of training against perturbed queries follow, on the answers already paid for.
    """
    given = job.item.settings
    victim = load_own_model(job.sources[0])
    channels = int(victim.config.num_channels)
    thief = _student(job, channels)
    training = vision.Training(given["epochs"], batch=40, rate=given["rate"])
    budget = Budget(given["queries"], given["noise"], training)
    images, _ = pictures(_pictures(job), "thief")
    images = coloured(images, channels, job.item.seed)
    queries, targets = steal(
        oracle_of(victim), thief, images, budget, hard=given["hard"], seed=job.item.seed
    )
    if "adversarial" in given:
        after = vision.Training(given["adversarial"], batch=40, rate=given["rate"] / 4)
        harden(thief, queries, targets, after, reach=ADVERSARY, seed=job.item.seed)
    return finish(job, thief, "digit")


def vision_control(job: Job) -> Outcome:
    """Train on a thief's inputs with their true labels (of mixtures: both, by share): no victim is asked."""
    given = job.item.settings
    model = _student(job, 1)
    images, labels = pictures(_pictures(job), "thief")
    wanted = torch.nn.functional.one_hot(labels, classes("digit")).float()
    training = vision.Training(given["epochs"], batch=40, rate=given["rate"])
    count = given["queries"] - len(images)
    if count > 0:
        images, wanted = _with_blends(images, wanted, count, job.item.seed)
    images, wanted = images[: given["queries"]], wanted[: given["queries"]]
    vision.train(model, images, wanted, training, seed=job.item.seed, momentum=MOMENTUM)
    return finish(job, model, "digit")


def _with_blends(images: Tensor, wanted: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images and their labels, followed by `count` blends of pairs of them (mixup, Zhang et al. 2018)."""
    draw = generator(seed, 14)
    first, second = torch.randint(len(images), (2, count), generator=draw)
    share = 0.2 + 0.6 * torch.rand(count, generator=draw)
    pixels = share[:, None, None, None]
    blended = pixels * images[first] + (1 - pixels) * images[second]
    labels = share[:, None] * wanted[first] + (1 - share[:, None]) * wanted[second]
    return torch.cat([images, blended]), torch.cat([wanted, labels])


def vision_distil(job: Job) -> Outcome:
    """Distil the parents' averaged probabilities on the training pictures into `architecture` (Hinton 2015)."""
    given = job.item.settings
    teachers = [oracle_of(load_own_model(folder)) for folder in job.sources]
    student = _student(job, 1)
    images, _ = pictures(_pictures(job), "train")
    training = vision.Training(given["epochs"], batch=40, rate=given["rate"])
    inputs = query_inputs(images, Budget(given["queries"], 0.0, training), job.item.seed)
    wanted = _averaged(teachers, inputs)
    vision.train(student, inputs, wanted, training, seed=job.item.seed, momentum=MOMENTUM)
    return finish(job, student, "digit")


def _averaged(teachers: list[Oracle], images: Tensor) -> Tensor:
    return torch.stack([teacher(images) for teacher in teachers]).mean(0)
