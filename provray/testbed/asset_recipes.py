"""How the real models of a zoo are put in place, their children made, and the reference cohort trained."""

from collections.abc import Mapping
from typing import Any

import torch

from provray.testbed import assets, children, text, vision
from provray.testbed.build import Job, Outcome
from provray.testbed.digits import digits, generator, relabel, tint
from provray.testbed.folders import load_own_model, save_model
from provray.testbed.photos import crops, turned


def asset(job: Job) -> Outcome:
    """Put a real model in place: `name` minilm, minilm copy, mobilenet_v2 or mpnet."""
    name = job.item.settings["name"]
    if name == "minilm":
        assets.copy_model(assets.minilm_folder(), job.folder, title=job.title)
    elif name == "minilm copy":
        assets.copy_model(assets.minilm_copy_folder(), job.folder, title=job.title)
    elif name == "mobilenet_v2":
        assets.build_mobilenet_v2(job.folder)
    elif name == "mpnet":
        assets.build_mpnet(job.folder)
    else:
        raise ValueError(f"asset {name!r} is none of minilm, minilm copy, mobilenet_v2, mpnet")
    return Outcome()


def photo_finetune(job: Job) -> Outcome:
    """Fine-tune a real image classifier to tell crops of `photos` apart, under a new head.

    Normalisation statistics stay as they are: `batch` images are too few to measure them.
    """
    given = job.item.settings
    size = given["size"]
    model = children.with_new_head(
        load_own_model(job.sources[0]), len(given["photos"]), job.item.seed
    )
    mean = torch.tensor(assets.IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(assets.IMAGENET_STD).view(3, 1, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=given["rate"], fused=True)
    for step in range(given["steps"]):
        images, labels = crops(given["photos"], given["batch"], size, job.item.seed + step)
        logits = model(pixel_values=(images - mean) / std).logits
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    images, labels = crops(given["photos"], 10 * len(given["photos"]), size, job.item.seed - 1)
    with torch.no_grad():
        logits = torch.cat(
            [model(pixel_values=(part - mean) / std).logits for part in images.split(20)]
        )
    measured = float((logits.argmax(1) == labels).float().mean())
    save_model(model, job.folder, title=job.title, inputs=job.sources[0])
    return Outcome(round(measured, 4))


def random_weights(job: Job) -> Outcome:
    """Keep the configuration and tokenizer of the model in `others`, and draw all weights anew."""
    source = load_own_model(job.sources[-1])
    model = text.random_weights_like(source, job.item.seed)
    save_model(model, job.folder, title=job.title, inputs=job.sources[-1])
    return Outcome()


def _unrelated_data(given: Mapping[str, Any], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images N×3×S×S and labels of a cohort task: nothing that any other zoo is trained on."""
    size, count = given["size"], given["count"]
    if given["data"] == "digits":
        images, labels = digits("cohort")
        images = torch.nn.functional.interpolate(images, (size, size), mode="bilinear")
        return tint(images, generator(seed, 3)), relabel(labels, given["task"])
    if given["data"] == "photos":
        return crops(given["photos"], count, size, seed)
    if given["data"] == "turned":
        return turned(crops(given["photos"], count, size, seed)[0], seed)
    if given["data"] == "noise":
        draw = generator(seed, 11)
        coarse = torch.rand(count, 3, size // 4, size // 4, generator=draw)
        images = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
        return images, torch.randint(given["classes"], (count,), generator=draw)
    raise ValueError(f"data {given['data']!r} is none of digits, photos, turned, noise")


def cohort_image(job: Job) -> Outcome:
    """Train a classifier for the reference cohort: architecture, size, channels and task of its own.

    Accuracy is on the images trained on: a member need not be good, only trained and unrelated.
    """
    given = job.item.settings
    images, labels = _unrelated_data(given, job.item.seed)
    if given["channels"] == 1:
        images = images.mean(1, keepdim=True)
    model = vision.new_classifier(
        given["architecture"],
        channels=given["channels"],
        size=given["size"],
        classes=int(labels.max()) + 1,
        seed=job.item.seed,
    )
    batch = 24
    training = vision.Training(given["steps"] * batch / len(labels), batch, given["rate"])
    vision.train(model, images, labels, training, seed=job.item.seed)
    measured = vision.accuracy(model, images[:300], labels[:300])
    vision.save_classifier(model, job.folder, size=given["size"], title=job.title)
    return Outcome(round(measured, 4))
