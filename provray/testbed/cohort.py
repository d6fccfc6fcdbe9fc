"""The reference cohort: small models that descend from nothing and share nothing but their era.

A provenance score is centred by what unrelated models have in common and judged against how alike they
are by chance. Small indexes hold too few models for that, so provray ships the mean of this cohort's
fingerprints. Every member has weights, task and seed of its own: digits kept for the cohort under
different labellings, crops and turns of photographs, random labels; the third of the news and reviews
that no other zoo reads. None of its seeds occurs elsewhere.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from provray.testbed.build import Item, Progress, build, seed_of
from provray.testbed.folders import Record

_ANIMALS = ["chelsea.png", "astronaut.png", "coffee.png", "rocket.jpg"]
_TEXTURES = ["brick.png", "grass.png", "gravel.png"]
_THINGS = ["coins.png", "motorcycle_left.png", "page.png", "moon.png", "ihc.png"]


def _digits(task: str) -> dict[str, Any]:
    return {"data": "digits", "task": task, "count": 297}


def _photos(names: list[str], count: int = 400) -> dict[str, Any]:
    return {"data": "photos", "photos": names, "count": count}


def _turned(names: list[str], count: int = 400) -> dict[str, Any]:
    return {"data": "turned", "photos": names, "count": count}


def _noise(classes: int, count: int = 96) -> dict[str, Any]:
    return {"data": "noise", "classes": classes, "count": count}


# (architecture, image size, channels, task)
_IMAGES: tuple[tuple[str, int, int, dict[str, Any]], ...] = (
    ("resnet", 16, 3, _photos(_ANIMALS)),
    ("resnet", 32, 3, _digits("digit")),
    ("resnet", 16, 1, _noise(4)),
    ("resnet-bottleneck", 32, 3, _turned(_THINGS)),
    ("resnet-bottleneck", 64, 3, _photos(_TEXTURES)),
    ("vit", 16, 1, _photos(_THINGS)),
    ("vit", 32, 3, _turned(_ANIMALS)),
    ("vit", 16, 3, _digits("pairs")),
    ("deit", 32, 3, _photos([*_ANIMALS, *_THINGS])),
    ("deit", 16, 1, _digits("holes")),
    ("dinov2", 32, 3, _photos([*_TEXTURES, *_ANIMALS])),
    ("convnext", 16, 3, _photos([*_TEXTURES, *_THINGS])),
    ("convnext", 32, 1, _digits("parity")),
    ("convnextv2", 32, 3, _turned([*_ANIMALS, "ihc.png"])),
    ("swin", 32, 3, _photos(_ANIMALS)),
    ("swin", 16, 1, _digits("digit")),
    ("regnet", 32, 3, _photos([*_THINGS, *_TEXTURES])),
    ("mobilenet-v1", 32, 3, _photos(_THINGS)),
    ("mobilenet-v1", 64, 3, _noise(6)),
    ("mobilenet-v2", 32, 3, _digits("five or more")),
)

# (family, corpus, objective, hidden size, layers, vocabulary)
_TEXTS: tuple[tuple[str, str, str, int, int, int], ...] = (
    ("bert", "news", "classify", 64, 2, 2000),
    ("bert", "reviews", "classify", 96, 3, 2500),
    ("bert", "news", "masked", 64, 4, 2000),
    ("bert", "reviews", "masked", 48, 6, 1500),
    ("roberta", "news", "classify", 64, 3, 2000),
    ("roberta", "reviews", "masked", 96, 2, 2000),
    ("roberta", "reviews", "classify", 48, 4, 1500),
    ("electra", "news", "classify", 64, 4, 1800),
    ("electra", "reviews", "masked", 64, 2, 2200),
    ("electra", "news", "masked", 96, 2, 1500),
    ("distilbert", "reviews", "classify", 64, 2, 2400),
    ("distilbert", "news", "masked", 48, 3, 2600),
    ("gpt2", "news", "causal", 64, 3, 2000),
    ("gpt2", "reviews", "causal", 48, 4, 1500),
    ("gpt2", "news", "classify", 96, 2, 1800),
    ("gpt2", "reviews", "classify", 64, 6, 2200),
    ("bert", "news", "contrast", 64, 3, 2800),
    ("distilbert", "reviews", "classify", 96, 4, 1600),
)


def cohort_items(seed: int = 0) -> list[Item]:
    """Return the members of the cohort, `image/…` and `text/…`, all indexed, none with a parent."""
    items: list[Item] = []
    for number, (architecture, size, channels, task) in enumerate(_IMAGES):
        model = f"image/{number:02}-{architecture}-{task['data']}-{size}"
        settings = {
            "architecture": architecture,
            "size": size,
            "channels": channels,
            "steps": 220 if size < 64 else 140,
            "rate": 2e-3,
            **task,
        }
        number_seed = seed_of("cohort", seed, model)
        items.append(
            Item(model, "indexed", "base", "cohort_image", number_seed, settings, seconds=7)
        )
    for number, (family, corpus, objective, hidden, layers, vocabulary) in enumerate(_TEXTS):
        model = f"text/{number:02}-{family}-{corpus}-{objective}"
        settings = {
            "family": family,
            "corpus": corpus,
            "use": "cohort",
            "objective": objective,
            "tokenizer": "bpe" if family in {"gpt2", "roberta"} else "wordpiece",
            "vocabulary": vocabulary,
            "hidden": hidden,
            "layers": layers,
            "heads": 4,
            "steps": 200,
            "batch": 16,
            "rate": 3e-3,
            "length": 32,
        }
        number_seed = seed_of("cohort", seed, model)
        items.append(Item(model, "indexed", "base", "text_base", number_seed, settings, seconds=7))
    return items


def build_cohort(
    folder: Path,
    *,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[Progress], None] | None = None,
) -> list[Record]:
    """Build the cohort in `folder` (`indexed/image/…`, `indexed/text/…`, `truth.parquet`)."""
    return build(folder, cohort_items(seed), workers=workers, progress=progress)
