"""The real models of the zoo: MiniLM and its look-alike mpnet in one fold, MobileNetV2 in the other."""

from collections.abc import Mapping
from typing import Any

from provray.testbed.assets import MPNET_PACKAGES, has_package
from provray.testbed.folders import Relation
from provray.testbed.studies import HARSH, MILD, classify
from provray.testbed.zoo_plan import Plan

MINILM = "real/minilm"
MOBILENET = "real/mobilenet_v2"


def real_families(plan: Plan) -> None:
    """Add MiniLM with its children, MobileNetV2 with its own, and mpnet if its packages are installed."""

    def add(
        base: str,
        method: str,
        relation: Relation,
        recipe: str,
        settings: Mapping[str, Any],
        seconds: float = 2.0,
    ) -> None:
        name = f"{base}.{method}"
        plan.add(name, relation, recipe, settings, parent=base, method=method, seconds=seconds)

    def compress(base: str, percent: int) -> None:
        cut = {"method": "prune", "fraction": percent / 100}
        add(base, f"prune-{percent}", "pruned", "compress", cut)
        int4 = {"method": "quantise", "bits": 4, "group": 32}
        add(base, "int8", "quantised", "compress", {"method": "quantise", "bits": 8})
        add(base, "int4", "quantised", "compress", int4)
        add(base, "bfloat16", "cast", "compress", {"method": "bfloat16"})
        add(base, "permuted", "permuted", "evade", {"method": "permute"})

    plan.add(MINILM, "base", "asset", {"name": "minilm", "fold": 0}, method="base")
    add(MINILM, "copy", "copy", "asset", {"name": "minilm copy"})
    add(MINILM, "fine-tune", "fine-tune", "text_classify", MILD, 60)
    add(MINILM, "fine-tune harsh", "fine-tune", "text_classify", HARSH, 60)
    sports = classify("news", 1e-4, 40, groups=[0, 0, 0, 1, 0])
    add(MINILM, "new-head", "new head", "text_classify", sports, 30)
    adapter = classify("reviews", 1e-3, 40, adapter=8)
    add(MINILM, "adapter", "adapter", "text_classify", adapter, 30)
    contrast = {"steps": 40, "batch": 16, "length": 32, "rate": 3e-5}
    add(MINILM, "continued", "continued", "text_contrast", contrast, 30)
    compress(MINILM, 60)
    student = {
        "texts": 3000,
        "length": 24,
        "hidden": 128,
        "layers": 2,
        "heads": 4,
        "steps": 400,
        "batch": 32,
        "rate": 1.5e-3,
    }
    add(MINILM, "distil-other", "distilled", "text_distil", student, 80)
    if has_package(*MPNET_PACKAGES):
        plan.add(
            "real/mpnet",
            "look-alike",
            "asset",
            {"name": "mpnet", "fold": 0},
            method="look-alike encoder",
        )
    plan.add(
        "real/minilm, random",
        "twin",
        "random_weights",
        {"fold": 0},
        others=(MINILM,),
        lineage=(),
        method="random weights",
    )
    plan.add(MOBILENET, "base", "asset", {"name": "mobilenet_v2", "fold": 1}, method="base")
    four = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"]
    photos = {"photos": four, "size": 224, "batch": 8, "steps": 14, "rate": 3e-4}
    add(MOBILENET, "new-head", "new head", "photo_finetune", photos, 25)
    compress(MOBILENET, 60)
