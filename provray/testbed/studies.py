"""The zoos behind the tables of the design: vision on digits, and the text models of the trap.

- `vision_study_items`: nine bases (three architectures, three seeds), eight descendants each, and nine
  models of unseen seeds on the same data as strangers: 90 models.
- `text_study_items`: all-MiniLM-L6-v2 and what is or only looks like its kin.
- `real_items`: MobileNetV2 and MiniLM with the children the acceptance tests ask about.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from provray.testbed.build import Item, Progress, build, seed_of
from provray.testbed.folders import Record, Relation, Split

#: Who steals whom across architectures.
_OTHER = {"resnet": "vit", "vit": "convnext", "convnext": "resnet"}
_SECONDS = {"resnet": 4.0, "vit": 9.0, "convnext": 6.0}
MINILM = "minilm"
MOBILENET = "mobilenet_v2"


def vision_study_items(seed: int = 0) -> list[Item]:
    """Return the 90 models of the vision table; all see grey 16×16 digits.

    Bases are indexed; descendants and strangers are held out. A descendant's name ends in its column.
    """
    items: list[Item] = []

    def add(
        model: str,
        split: Split,
        relation: Relation,
        recipe: str,
        settings: Mapping[str, Any],
        parent: str | None = None,
        seconds: float = 1.0,
    ) -> None:
        number = seed_of("vision study", seed, model)
        items.append(
            Item(model, split, relation, recipe, number, settings, parent, seconds=seconds)
        )

    for architecture, other in _OTHER.items():
        cost = _SECONDS[architecture]
        for copy in range(3):
            base = f"{architecture}-{copy}"
            new = {"architecture": architecture}
            add(base, "indexed", "base", "vision_base", new, seconds=cost)
            add(
                f"{architecture}-{copy + 3}", "held_out", "stranger", "vision_base", new, None, cost
            )
            digit = {"task": "digit"}
            prune = {"method": "prune", "fraction": 0.6, **digit}
            int4 = {"method": "quantise", "bits": 4, "group": 32, **digit}
            int8 = {"method": "quantise", "bits": 8, **digit}
            head = {"task": "parity", "epochs": 3, "gentler": 4}
            tune = {"share": 0.5, "epochs": 4, "gentler": 4}
            add(f"{base}.fine-tune", "held_out", "fine-tune", "vision_finetune", tune, base, 2)
            add(f"{base}.prune-60", "held_out", "pruned", "compress", prune, base)
            add(f"{base}.int4", "held_out", "quantised", "compress", int4, base)
            add(f"{base}.int8", "held_out", "quantised", "compress", int8, base)
            add(f"{base}.new-head", "held_out", "new head", "vision_new_head", head, base, 3)
            for column, thief, hard in (
                ("steal-soft", architecture, False),
                ("steal-hard", architecture, True),
                ("steal-other", other, False),
            ):
                theft = {
                    "architecture": thief,
                    "hard": hard,
                    "queries": 4000,
                    "noise": 0.05,
                    "epochs": 4,
                    "rate": 4e-3 if thief == "resnet" else 2.5e-3,
                }
                name = f"{base}.{column}"
                add(name, "held_out", "stolen", "vision_steal", theft, base, 2 * _SECONDS[thief])
    return items


def classify(corpus: str, rate: float, steps: int, **more: Any) -> dict[str, Any]:
    """Return the settings of fine-tuning a real text model under a new head on `corpus`."""
    return {
        "corpus": corpus,
        "rate": rate,
        "steps": steps,
        "batch": 16,
        "length": 32,
        "head_rate": 5e-3,
        "test": 200,
        **more,
    }


#: MiniLM fine-tuned gently on news topics and harshly on film reviews: the design's two true children.
MILD = classify("news", 3e-5, 90)
HARSH = classify("reviews", 3e-4, 90)


def text_study_items(seed: int = 0) -> list[Item]:
    """Return the models of the depth table: MiniLM is indexed, everything it is compared with held out."""

    def item(
        model: str,
        relation: Relation,
        recipe: str,
        settings: Mapping[str, Any],
        parent: str | None = None,
        others: tuple[str, ...] = (),
        seconds: float = 2.0,
    ) -> Item:
        split: Split = "indexed" if model == MINILM else "held_out"
        number = seed_of("text study", seed, model)
        return Item(model, split, relation, recipe, number, settings, parent, others, seconds)

    student = {
        "texts": 4000,
        "length": 32,
        "hidden": 192,
        "layers": 2,
        "heads": 6,
        "steps": 900,
        "batch": 48,
        "rate": 1.5e-3,
    }
    items = [
        item(MINILM, "base", "asset", {"name": "minilm"}),
        item("child-mild", "fine-tune", "text_classify", MILD, MINILM, seconds=60),
        item("child-harsh", "fine-tune", "text_classify", HARSH, MINILM, seconds=60),
        item("child-int8", "quantised", "compress", {"method": "quantise", "bits": 8}, MINILM),
        item("student", "distilled", "text_distil", student, MINILM, seconds=250),
        item("mpnet", "look-alike", "asset", {"name": "mpnet"}, seconds=5),
        item("random-weights", "twin", "random_weights", {}, others=(MINILM,)),
    ]
    for name, family, corpus, layers in (
        ("scratch-bert-news", "bert", "news", 4),
        ("scratch-bert-reviews", "bert", "reviews", 2),
        ("scratch-gpt2-news", "gpt2", "news", 3),
    ):
        settings = {
            "family": family,
            "corpus": corpus,
            "objective": "classify",
            "tokenizer": "bpe" if family == "gpt2" else "wordpiece",
            "vocabulary": 4000,
            "hidden": 96,
            "layers": layers,
            "heads": 4,
            "steps": 300,
            "batch": 24,
            "rate": 2e-3,
            "length": 40,
        }
        items.append(item(name, "stranger", "text_base", settings, seconds=15))
    return items


def real_items(seed: int = 0, *, mpnet: bool = True) -> list[Item]:
    """Return MobileNetV2, MiniLM, their children and their look-alikes; `mpnet` is 438 MB."""

    def item(
        model: str,
        relation: Relation,
        recipe: str,
        settings: Mapping[str, Any],
        parent: str | None = None,
        seconds: float = 2.0,
    ) -> Item:
        split: Split = "indexed" if model in {MINILM, MOBILENET, "mpnet"} else "held_out"
        number = seed_of("real", seed, model)
        return Item(model, split, relation, recipe, number, settings, parent, seconds=seconds)

    half = {"method": "prune", "fraction": 0.5}
    int8 = {"method": "quantise", "bits": 8}
    four = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"]
    photos = {"photos": four, "size": 224, "batch": 8, "steps": 14, "rate": 3e-4}
    sports = classify("news", 1e-4, 40, groups=[0, 0, 0, 1, 0])
    contrast = {"steps": 40, "batch": 16, "length": 32, "rate": 3e-5}
    items = [
        item(MOBILENET, "base", "asset", {"name": "mobilenet_v2"}),
        item("mobilenet-pruned50", "pruned", "compress", half, MOBILENET),
        item("mobilenet-int8", "quantised", "compress", int8, MOBILENET),
        item("mobilenet-photos", "new head", "photo_finetune", photos, MOBILENET, 25),
        item(MINILM, "base", "asset", {"name": "minilm"}),
        item("minilm-copy", "copy", "asset", {"name": "minilm copy"}, MINILM),
        item("minilm-int8", "quantised", "compress", int8, MINILM),
        item("minilm-pruned50", "pruned", "compress", half, MINILM),
        item("minilm-mild", "fine-tune", "text_classify", MILD, MINILM, 60),
        item("minilm-harsh", "fine-tune", "text_classify", HARSH, MINILM, 60),
        item("minilm-newhead", "new head", "text_classify", sports, MINILM, 30),
        item("minilm-encoder", "fine-tune", "text_contrast", contrast, MINILM, 30),
    ]
    if mpnet:
        items.append(item("mpnet", "look-alike", "asset", {"name": "mpnet"}))
    return items


STUDIES: Mapping[str, Callable[[int], list[Item]]] = {
    "vision": vision_study_items,
    "text": text_study_items,
    "real": real_items,
}


def build_study(
    name: str,
    folder: Path,
    *,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[Progress], None] | None = None,
) -> list[Record]:
    """Build the study zoo `name` (vision, text or real) in `folder`; keeps what is there."""
    if name not in STUDIES:
        raise ValueError(f"study {name!r} is none of {', '.join(STUDIES)}")
    return build(folder, STUDIES[name](seed), workers=workers, progress=progress)
