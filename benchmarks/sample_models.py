"""The models of `benchmarks/sample.py`: real ones with their children, small trained ones, strangers to all of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provray.testbed.build import Item, Job
from provray.testbed.folders import Relation
from provray.testbed.recipes import RECIPES
from provray.testbed.studies import classify
from provray.testbed.zoo_plan import Plan

REAL = ("minilm", "mpnet", "mobilenet")
_SMALL = {
    "family": "bert",
    "tokenizer": "wordpiece",
    "vocabulary": 4000,
    "hidden": 192,
    "layers": 2,
    "heads": 4,
    "batch": 16,
    "length": 40,
    "objective": "classify",
    "steps": 160,
    "rate": 2e-3,
}
_TUNED = {"corpus": "news", "same_head": True, "steps": 60, "batch": 16, "rate": 5e-4, "length": 40}


def sample_items() -> list[Item]:
    """Return the models, parents first. A child is called `family.method`; `parents` are what it descends from."""
    plan = Plan("sample", 0)

    def add(
        family: str, method: str, relation: Relation, recipe: str, settings: Mapping[str, Any]
    ) -> str:
        name = f"{family}.{method}"
        return plan.add(name, relation, recipe, settings, parent=family, method=method)

    def compress(family: str) -> None:
        add(family, "int8", "quantised", "compress", {"method": "quantise", "bits": 8})
        int4 = {"method": "quantise", "bits": 4, "group": 32}
        add(family, "int4", "quantised", "compress", int4)
        for percent in (50, 80):
            cut = {"method": "prune", "fraction": percent / 100}
            add(family, f"prune-{percent}", "pruned", "compress", cut)
        add(family, "noise", "noise", "compress", {"method": "noise", "scale": 1e-3})

    plan.add("minilm", "base", "asset", {"name": "minilm"})
    plan.add("mpnet", "look-alike", "asset", {"name": "mpnet"})
    plan.add("mobilenet", "base", "asset", {"name": "mobilenet_v2"})
    for family in REAL:
        compress(family)
    minilm = "minilm"
    mild = add(
        minilm, "fine-tune", "fine-tune", "text_classify", classify("news", 3e-5, 40, test=50)
    )
    fast = add(
        minilm, "fine-tune fast", "fine-tune", "text_classify", classify("news", 1e-4, 40, test=50)
    )
    harsh = classify("reviews", 3e-4, 40, test=50)
    add(minilm, "fine-tune harsh", "fine-tune", "text_classify", harsh)
    sports = classify("news", 1e-4, 20, groups=[0, 0, 0, 1, 0], test=50)
    add(minilm, "new-head", "new head", "text_classify", sports)
    adapter = classify("reviews", 1e-3, 30, adapter=8, test=50)
    add(minilm, "adapter", "adapter", "text_classify", adapter)
    add(minilm, "bfloat16", "cast", "compress", {"method": "bfloat16"})
    add(minilm, "drop-layer", "layers dropped", "compress", {"method": "drop layer", "layer": 2})
    add(minilm, "permuted", "permuted", "evade", {"method": "permute"})
    plan.add("minilm.merged", "merged", "merge", {}, others=(mild, fast), lineage=(mild, fast))
    plan.add("minilm random", "twin", "random_weights", {}, others=(minilm,), lineage=())
    longer = {"steps": 15, "batch": 8, "length": 32, "rate": 3e-5}
    add("mpnet", "continued", "continued", "text_contrast", longer)
    four = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"]
    photos = {"photos": four, "size": 224, "batch": 8, "steps": 8, "rate": 3e-4}
    add("mobilenet", "new-head", "new head", "photo_finetune", photos)

    news = {**_SMALL, "corpus": "news"}
    first = plan.add("bert a", "base", "text_base", news)
    second = plan.add("bert b", "twin", "text_base", news)
    other = {**_SMALL, "corpus": "reviews", "start": plan.seed(first)}
    plan.add("bert a, start on reviews", "same start", "text_base", other)
    for family in (first, second):
        add(family, "fine-tune", "fine-tune", "text_classify", _TUNED)
        head = {**_TUNED, "corpus": "reviews", "same_head": False, "head_rate": 5e-3}
        add(family, "new-head", "new head", "text_classify", head)
        compress(family)
    for number in range(2):
        family = plan.add(f"resnet {number}", "twin", "vision_base", {"architecture": "resnet"})
        tune = {"share": 0.5, "epochs": 2, "gentler": 4}
        add(family, "fine-tune", "fine-tune", "vision_finetune", tune)
        cut = {"method": "prune", "fraction": 0.8, "task": "digit"}
        add(family, "prune-80", "pruned", "compress", cut)
    return plan.items


def make_models(work: Path, items: list[Item]) -> None:
    """Make what is missing in `work`, one folder a model; progress goes to stderr."""
    for item in items:
        folder = work / item.model
        if not folder.is_dir():
            began = time.perf_counter()
            sources = tuple(work / source for source in item.sources)
            outcome = RECIPES[item.recipe](Job(item, folder, sources))
            if item.model == "mpnet":
                _name_encoder(folder)
            taken = time.perf_counter() - began
            print(f"{item.model}: {taken:.0f} s {outcome.accuracy or ''}", file=sys.stderr)


def _name_encoder(folder: Path) -> None:
    """Its config names a masked language model whose head the file lacks: children are made of what is there."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "architectures": ["MPNetModel"]}), encoding="utf-8")


def family_of(model: str) -> str:
    """The base that a model of `sample_items` belongs to."""
    return model.split(".")[0]
