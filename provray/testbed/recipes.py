"""How each kind of model in a zoo is made. A recipe reads its sources' folders and writes its own.

`RECIPES` maps a name to a function of a `Job`; the settings each understands are its item's `settings`,
written into `truth.json` beside the result.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from provray.testbed import assets, children, text, vision
from provray.testbed.build import Job, Outcome
from provray.testbed.corpora import (
    corpus_texts,
    encode,
    read_tokenizer,
    train_tokenizer,
    write_tokenizer,
)
from provray.testbed.digits import (
    SIZE,
    augmented,
    classes,
    coloured,
    digits,
    generator,
    relabel,
    tint,
)
from provray.testbed.folders import load_own_model, save_model
from provray.testbed.photos import crops, turned
from provray.testbed.theft import Budget, oracle_of, steal


def _title(job: Job) -> str:
    return job.item.model.rsplit("/", 1)[-1]


def _scaled(training: vision.Training, settings: Mapping[str, Any]) -> vision.Training:
    """The training of an architecture, longer or gentler by the settings `longer` and `gentler`."""
    return vision.Training(
        epochs=training.epochs * settings.get("longer", 1.0),
        batch=training.batch,
        rate=training.rate / settings.get("gentler", 1.0),
    )


def _finish_vision(job: Job, model: PreTrainedModel, task: str) -> Outcome:
    """Save an image classifier and measure it; models that name digits also give their answers."""
    vision.save_classifier(model, job.folder, size=SIZE, title=_title(job))
    images, labels = vision.test_images(int(model.config.num_channels))
    measured = vision.accuracy(model, images, relabel(labels, task))
    given = tuple(vision.answers(model)) if task == "digit" else None
    return Outcome(round(measured, 4), given)


def _architecture(model: PreTrainedModel) -> str:
    return str(model.config.model_type)


def vision_base(job: Job) -> Outcome:
    """Train `architecture` from scratch on the training digits for `task`."""
    given = job.item.settings
    task, channels = given.get("task", "digit"), given.get("channels", 1)
    model = vision.new_classifier(
        given["architecture"],
        channels=channels,
        size=SIZE,
        classes=classes(task),
        seed=job.item.seed,
    )
    images, labels = digits("train")
    training = _scaled(vision.TRAINING[given["architecture"]], given)
    vision.train(
        model,
        images,
        relabel(labels, task),
        training,
        seed=job.item.seed,
        augment=augmented(channels),
    )
    return _finish_vision(job, model, task)


def vision_finetune(job: Job) -> Outcome:
    """Go on training on a random `share` of the digits under stronger augmentation, for `epochs`."""
    given = job.item.settings
    model = load_own_model(job.sources[0])
    images, labels = digits("train")
    count = int(given["share"] * len(labels))
    rows = torch.randperm(len(labels), generator=generator(job.item.seed, 6))[:count]
    base = vision.TRAINING[_architecture(model)]
    training = vision.Training(given["epochs"], base.batch, base.rate / given["gentler"])
    augment = augmented(int(model.config.num_channels), strong=True)
    vision.train(model, images[rows], labels[rows], training, seed=job.item.seed, augment=augment)
    return _finish_vision(job, model, "digit")


def vision_new_head(job: Job) -> Outcome:
    """Put a new head for `task` on the body and train all layers, or the head alone if `frozen`."""
    given = job.item.settings
    model = children.with_new_head(
        load_own_model(job.sources[0]), classes(given["task"]), job.item.seed
    )
    images, labels = digits("train")
    base = vision.TRAINING[_architecture(model)]
    training = vision.Training(given["epochs"], base.batch, base.rate / given["gentler"])
    vision.train(
        model,
        images,
        relabel(labels, given["task"]),
        training,
        seed=job.item.seed,
        augment=augmented(int(model.config.num_channels)),
        head_only=given.get("frozen", False),
    )
    return _finish_vision(job, model, given["task"])


def vision_steal(job: Job) -> Outcome:
    """Steal the parent into `architecture` by `queries` queries, a share `noise` of them random pixels."""
    given = job.item.settings
    victim = load_own_model(job.sources[0])
    channels = int(victim.config.num_channels)
    thief = vision.new_classifier(
        given["architecture"],
        channels=channels,
        size=SIZE,
        classes=classes("digit"),
        seed=job.item.seed,
    )
    training = vision.Training(given["epochs"], batch=40, rate=given["rate"])
    budget = Budget(given["queries"], given["noise"], training)
    images, _ = digits("train")
    images = coloured(images, channels, job.item.seed)
    steal(oracle_of(victim), thief, images, budget, hard=given["hard"], seed=job.item.seed)
    return _finish_vision(job, thief, "digit")


def compress(job: Job) -> Outcome:
    """Change the weights without training: `method` prune, quantise, bfloat16 or noise."""
    given = job.item.settings
    model = load_own_model(job.sources[0])
    method = given["method"]
    if method == "prune":
        model = children.prune(model, given["fraction"], given.get("scope", "tensor"))
    elif method == "quantise":
        model = children.quantise(model, given["bits"], given.get("group"))
    elif method == "bfloat16":
        model = children.to_bfloat16(model)
    elif method == "noise":
        model = children.add_noise(model, given["scale"], job.item.seed)
    else:
        raise ValueError(f"method {method!r} is none of prune, quantise, bfloat16, noise")
    return _finish_like_source(job, model)


def merge(job: Job) -> Outcome:
    """Average the weights of two siblings, the item's `others`."""
    siblings = [load_own_model(folder) for folder in job.sources[-len(job.item.others) :]]
    return _finish_like_source(job, children.merge(siblings))


def _finish_like_source(job: Job, model: PreTrainedModel) -> Outcome:
    if "task" in job.item.settings:
        return _finish_vision(job, model, job.item.settings["task"])
    save_model(model, job.folder, title=_title(job), inputs=job.sources[0])
    return Outcome()


def asset(job: Job) -> Outcome:
    """Put a real model in place: `name` minilm, minilm copy, mobilenet_v2 or mpnet."""
    name = job.item.settings["name"]
    if name == "minilm":
        assets.copy_model(assets.minilm_folder(), job.folder, title=_title(job))
    elif name == "minilm copy":
        assets.copy_model(assets.minilm_copy_folder(), job.folder, title=_title(job))
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
    save_model(model, job.folder, title=_title(job), inputs=job.sources[0])
    return Outcome(round(measured, 4))


def random_weights(job: Job) -> Outcome:
    """Keep the configuration and tokenizer of the model in `others`, and draw all weights anew."""
    source = load_own_model(job.sources[-1])
    model = text.random_weights_like(source, job.item.seed)
    save_model(model, job.folder, title=_title(job), inputs=job.sources[-1])
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
    vision.save_classifier(model, job.folder, size=given["size"], title=_title(job))
    return Outcome(round(measured, 4))


def _passages(documents: Sequence[str], words: int) -> list[str]:
    """The first passage of every document, then the second of every document."""
    split = [document.split() for document in documents]
    first = [" ".join(document[:words]) for document in split]
    return first + [" ".join(document[words : 2 * words]) for document in split]


def text_base(job: Job) -> Outcome:
    """Train a small text network and its tokenizer from scratch on `corpus` for `objective`."""
    given = job.item.settings
    parts = corpus_texts(given["corpus"], given.get("use", "zoo"))
    tokenizer = train_tokenizer(given["tokenizer"], parts.train.texts, given["vocabulary"])
    shape = text.TextShape(
        given["family"],
        tokenizer.get_vocab_size(),
        given["hidden"],
        given["layers"],
        given["heads"],
    )
    objective = given["objective"]
    model = text.new_text_model(
        shape, objective, classes=len(parts.train.classes), seed=job.item.seed
    )
    training = text.TextTraining(given["steps"], given["batch"], given["rate"])
    if objective == "contrast":
        tokens = encode(tokenizer, _passages(parts.train.texts, given["length"]), given["length"])
        labels = torch.zeros(len(tokens.ids), dtype=torch.long)
    else:
        tokens = encode(tokenizer, parts.train.texts, given["length"])
        labels = torch.tensor(parts.train.labels)
    text.train_text(model, tokens, labels, training, objective=objective, seed=job.item.seed)
    measured: float | None = None
    if objective == "classify":
        held_out = encode(tokenizer, parts.test.texts[:300], given["length"])
        measured = text.text_accuracy(model, held_out, torch.tensor(parts.test.labels[:300]))

    def inputs(folder: Path) -> None:
        write_tokenizer(tokenizer, folder, max_length=shape.positions)

    save_model(model, job.folder, title=_title(job), inputs=inputs)
    return Outcome(None if measured is None else round(measured, 4))


def text_classify(job: Job) -> Outcome:
    """Fine-tune the parent under a new classification head on `corpus`; `groups` regroups its labels."""
    given = job.item.settings
    tokenizer = read_tokenizer(job.sources[0])
    parts = corpus_texts(given["corpus"], "zoo")
    groups = torch.tensor(given.get("groups", range(len(parts.train.classes))))
    model = text.classifier_on(load_own_model(job.sources[0]), int(groups.max()) + 1, job.item.seed)
    training = text.TextTraining(
        given["steps"], given["batch"], given["rate"], given.get("head_rate")
    )
    text.train_text(
        model,
        encode(tokenizer, parts.train.texts[:2000], given["length"]),
        groups[torch.tensor(parts.train.labels[:2000])],
        training,
        objective="classify",
        seed=job.item.seed,
        head_only=given.get("frozen", False),
    )
    count = given.get("test", 100)
    held_out = encode(tokenizer, parts.test.texts[:count], given["length"])
    labels = groups[torch.tensor(parts.test.labels[:count])]
    measured = text.text_accuracy(model, held_out, labels)
    save_model(model, job.folder, title=_title(job), inputs=job.sources[0])
    return Outcome(round(measured, 4))


def text_contrast(job: Job) -> Outcome:
    """Fine-tune the parent as an encoder: two passages of one news document belong together."""
    given = job.item.settings
    tokenizer = read_tokenizer(job.sources[0])
    documents = corpus_texts("news", "zoo").train.texts
    tokens = encode(tokenizer, _passages(documents, given["length"]), given["length"])
    model = load_own_model(job.sources[0])
    training = text.TextTraining(given["steps"], given["batch"], given["rate"])
    none = torch.zeros(len(tokens.ids), dtype=torch.long)
    text.train_text(model, tokens, none, training, objective="contrast", seed=job.item.seed)
    save_model(model, job.folder, title=_title(job), inputs=job.sources[0])
    return Outcome()


def text_distil(job: Job) -> Outcome:
    """Train a small student from scratch on the parent's embeddings of `texts` snippets, outputs alone.

    `accuracy` is the correlation of the student's cosines with the teacher's.
    """
    given = job.item.settings
    tokenizer = read_tokenizer(job.sources[0])
    teacher = load_own_model(job.sources[0])
    half = given["texts"] // 2
    snippets = [
        *corpus_texts("reviews", "zoo").train.texts[:half],
        *corpus_texts("news", "zoo").train.texts[:half],
    ]
    tokens = encode(tokenizer, snippets, given["length"])
    shape = text.TextShape(
        "bert", int(teacher.config.vocab_size), given["hidden"], given["layers"], given["heads"]
    )
    student = text.new_text_model(shape, "contrast", classes=2, seed=job.item.seed)
    training = text.TextTraining(given["steps"], given["batch"], given["rate"])
    wanted = text.embed(teacher, tokens)
    likeness = text.distil(wanted, student, tokens, training, seed=job.item.seed)
    save_model(student, job.folder, title=_title(job), inputs=job.sources[0])
    return Outcome(round(likeness, 4))


RECIPES: Mapping[str, Callable[[Job], Outcome]] = {
    "vision_base": vision_base,
    "vision_finetune": vision_finetune,
    "vision_new_head": vision_new_head,
    "vision_steal": vision_steal,
    "compress": compress,
    "merge": merge,
    "asset": asset,
    "photo_finetune": photo_finetune,
    "random_weights": random_weights,
    "cohort_image": cohort_image,
    "text_base": text_base,
    "text_classify": text_classify,
    "text_contrast": text_contrast,
    "text_distil": text_distil,
}
