"""The zoo that verdicts are chosen and scored on: `small` for tests, `standard` for figures.

Every family belongs to one of two folds, and so do its hard strangers: twins of the same configuration and data,
networks that start from the same weights, look-alikes trained on the same data by another architecture. What is
fitted on one fold is scored on the other (`settings["fold"]` of the models without parents).
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from provray.testbed.build import Item, Progress, build
from provray.testbed.folders import Record
from provray.testbed.zoo_plan import Plan
from provray.testbed.zoo_real import real_families
from provray.testbed.zoo_text import encoders, text_family, text_twins
from provray.testbed.zoo_vision import (
    ARCHITECTURES,
    compressed,
    controls,
    evasions,
    networks,
    same_start,
    thefts,
    trained_children,
)


def small_items(seed: int = 0) -> list[Item]:
    """Return some forty models on digits and news: what a test can build in about a minute on two cores."""
    plan = Plan("small", seed)
    for architecture in ("resnet", "convnext"):
        bases = networks(plan, "digits", architecture, longer=0.6)
        for base in bases:
            trained_children(plan, base, only=("fine-tune", "new-head"))
            compressed(plan, base, only=("prune-60", "int4"))
            evasions(plan, base, only=("permuted",))
            thefts(plan, base, budgets=(1000,), hard=(False,), same=(True,))
    for base in text_twins(plan, "bert", "news"):
        text_family(plan, base, only=("fine-tune", "int8"))
    return plan.items


def standard_items(seed: int = 0) -> list[Item]:
    """Return the models of the scoreboard: Fashion-MNIST and digits, news and reviews, and real models."""
    plan = Plan("standard", seed)
    for architecture in ARCHITECTURES:
        for base in networks(plan, "fashion", architecture, longer=0.5):
            trained_children(plan, base)
            compressed(plan, base)
            evasions(plan, base)
            thefts(plan, base, budgets=(500, 2000, 10000))
            thefts(plan, base, budgets=(2000,), adversarial=True)
            same_start(plan, base)
            controls(plan, base)
        for base in networks(plan, "digits", architecture):
            trained_children(
                plan, base, only=("fine-tune", "new-head", "frozen-body", "adapter", "distil-other")
            )
            compressed(plan, base, only=("prune-60", "prune-80", "int4", "int8"))
            evasions(plan, base, only=("permuted",))
            thefts(plan, base, budgets=(2000,))
            same_start(plan, base)
    for family in ("bert", "gpt2"):
        for corpus in ("news", "reviews"):
            for base in text_twins(plan, family, corpus):
                text_family(plan, base)
    encoders(plan)
    real_families(plan)
    return plan.items


SPECS: Mapping[str, Callable[[int], list[Item]]] = {
    "small": small_items,
    "standard": standard_items,
}


def zoo_items(spec: str, seed: int = 0) -> list[Item]:
    """Return the models of a spec, `small` or `standard`. Raises ValueError for another name."""
    if spec not in SPECS:
        raise ValueError(f"spec {spec!r} is none of {', '.join(SPECS)}")
    return SPECS[spec](seed)


def build_zoo(
    folder: Path,
    spec: str,
    *,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[Progress], None] | None = None,
) -> list[Record]:
    """Build the zoo `spec` in `folder`; keeps what is there. Raises as `build.build` does."""
    return build(folder, zoo_items(spec, seed), workers=workers, progress=progress)
