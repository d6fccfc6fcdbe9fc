"""The family zoo of the demo: what is indexed, and what is held out to be asked about.

Two vision architectures with a base and a same-configuration twin each, a third architecture, the real
all-MiniLM-L6-v2 and small text networks from scratch are indexed, some of their children with them.
Held out are fine-tuned, re-headed, pruned, quantised and stolen children of both vision bases, children
of MiniLM, a true copy of it that the wild already holds under another name, and strangers.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from provray.testbed.build import Item, Progress, build, seed_of
from provray.testbed.folders import Record, Relation, Split

MINILM = "sentence-lab/all-minilm-l6-v2"


class _Plan:
    """Collects items; the seed of each follows from its name."""

    def __init__(self, seed: int) -> None:
        self.items: list[Item] = []
        self._seed = seed

    def add(
        self,
        model: str,
        split: Split,
        relation: Relation,
        recipe: str,
        settings: Mapping[str, Any],
        *,
        parent: str | None = None,
        seconds: float = 1.0,
    ) -> None:
        self.items.append(
            Item(
                model=model,
                split=split,
                relation=relation,
                recipe=recipe,
                seed=seed_of("demo", self._seed, model),
                settings=settings,
                parent=parent,
                seconds=seconds,
            )
        )


def _vision_family(plan: _Plan, base: str, architecture: str, other: str, seconds: float) -> None:
    """One vision base of `architecture`, its indexed and its held-out children; `other` is a thief's."""
    owner, name = base.split("/")
    shop = {"aurora": "polaris", "meadow": "harvest"}[owner]
    digit = {"task": "digit"}
    plan.add(
        base, "indexed", "base", "vision_base", {"architecture": architecture}, seconds=seconds
    )
    plan.add(
        f"{owner}/{name}-holes",
        "indexed",
        "new head",
        "vision_new_head",
        {"task": "holes", "epochs": 2, "gentler": 4},
        parent=base,
    )
    plan.add(
        f"{owner}/{name}-continued",
        "indexed",
        "fine-tune",
        "vision_finetune",
        {"share": 0.5, "epochs": 3, "gentler": 4},
        parent=base,
    )
    plan.add(
        f"{shop}/scan-reader-{architecture}",
        "held_out",
        "fine-tune",
        "vision_finetune",
        {"share": 0.5, "epochs": 4, "gentler": 4},
        parent=base,
    )
    plan.add(
        f"{shop}/odd-or-even-{architecture}",
        "held_out",
        "new head",
        "vision_new_head",
        {"task": "parity", "epochs": 3, "gentler": 4},
        parent=base,
    )
    plan.add(
        f"{shop}/lean-digits-{architecture}",
        "held_out",
        "pruned",
        "compress",
        {"method": "prune", "fraction": 0.5, "scope": "global", **digit},
        parent=base,
    )
    for bits, group in ((8, None), (4, 32)):
        plan.add(
            f"{shop}/digits-{architecture}-int{bits}",
            "held_out",
            "quantised",
            "compress",
            {"method": "quantise", "bits": bits, "group": group, **digit},
            parent=base,
        )
    for name, thief, hard in (
        (f"quickdigits-{architecture}", architecture, False),
        (f"labels-only-{architecture}", architecture, True),
        (f"fresh-{other}-from-{architecture}", other, False),
    ):
        # 4,000 queries, each seen two or three times: what a thief with a free trial can do
        plan.add(
            f"nightmarket/{name}",
            "held_out",
            "stolen",
            "vision_steal",
            {
                "architecture": thief,
                "hard": hard,
                "queries": 4000,
                "noise": 0.05,
                "epochs": 2.5 if thief == "resnet" else 2,
                "rate": 4e-3 if thief == "resnet" else 2.5e-3,
            },
            parent=base,
            seconds=6 if thief == "resnet" else 9,
        )


def _minilm_family(plan: _Plan) -> None:
    def classify(corpus: str, rate: float, steps: int, **more: Any) -> dict[str, Any]:
        base = {"corpus": corpus, "rate": rate, "steps": steps, "batch": 12, "length": 24}
        return {**base, "head_rate": 5e-3, "test": 80, **more}

    plan.add(MINILM, "indexed", "base", "asset", {"name": "minilm"}, seconds=0.5)
    plan.add(
        "pressbox/sports-or-not",
        "indexed",
        "new head",
        "text_classify",
        classify("news", 5e-5, 16, groups=[0, 0, 0, 1, 0]),
        parent=MINILM,
        seconds=8,
    )
    plan.add(
        "newsroom/article-search-encoder",
        "held_out",
        "fine-tune",
        "text_contrast",
        {"steps": 14, "batch": 16, "length": 24, "rate": 3e-5},
        parent=MINILM,
        seconds=12,
    )
    plan.add(
        "newsroom/topic-desk",
        "held_out",
        "new head",
        "text_classify",
        classify("news", 5e-5, 30),
        parent=MINILM,
        seconds=14,
    )
    plan.add(
        "edge-ai/sentence-encoder-sparse50",
        "held_out",
        "pruned",
        "compress",
        {"method": "prune", "fraction": 0.5},
        parent=MINILM,
        seconds=2,
    )
    plan.add(
        "edge-ai/sentence-encoder-int8",
        "held_out",
        "quantised",
        "compress",
        {"method": "quantise", "bits": 8},
        parent=MINILM,
        seconds=2,
    )
    plan.add(
        "acme/internal-embedding-model-v1",
        "held_out",
        "copy",
        "asset",
        {"name": "minilm copy"},
        parent=MINILM,
        seconds=0.5,
    )


def _small_text(family: str, corpus: str, *, hidden: int = 64, layers: int = 3) -> dict[str, Any]:
    return {
        "family": family,
        "corpus": corpus,
        "objective": "classify",
        "tokenizer": "bpe" if family in {"gpt2", "roberta"} else "wordpiece",
        "vocabulary": 3000,
        "hidden": hidden,
        "layers": layers,
        "heads": 4,
        "steps": 220,
        "batch": 16,
        "rate": 3e-3,
        "length": 40 if corpus == "news" else 32,
    }


def demo_items(seed: int = 0) -> list[Item]:
    """Return the items of the demo zoo; another seed gives other networks of the same plan."""
    plan = _Plan(seed)
    _vision_family(plan, "aurora/resnet-digits", "resnet", "convnext", 4)
    _vision_family(plan, "meadow/vit-digits", "vit", "resnet", 8)
    networks: tuple[tuple[str, Split, Relation, str], ...] = (
        ("borealis/resnet-digits", "indexed", "twin", "resnet"),
        ("prairie/vit-digits", "indexed", "twin", "vit"),
        ("tundra/convnext-digits", "indexed", "base", "convnext"),
        ("lonesome/digit-net", "held_out", "stranger", "resnet"),
        ("lonesome/digit-transformer", "held_out", "stranger", "vit"),
    )
    for model, split, relation, architecture in networks:
        plan.add(
            model,
            split,
            relation,
            "vision_base",
            {"architecture": architecture},
            seconds=4 if architecture == "resnet" else 8,
        )
    _minilm_family(plan)
    texts: tuple[tuple[str, Split, Relation, dict[str, Any]], ...] = (
        ("gazette/bert-mini-topics", "indexed", "base", _small_text("bert", "news", layers=2)),
        ("cinema/gpt-mini-reviews", "indexed", "base", _small_text("gpt2", "reviews", layers=2)),
        (
            "lonesome/tiny-reviewer",
            "held_out",
            "stranger",
            _small_text("bert", "reviews", layers=2),
        ),
    )
    for model, split, relation, settings in texts:
        plan.add(model, split, relation, "text_base", settings, seconds=7)
    return plan.items


def build_demo_zoo(
    folder: Path,
    *,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[Progress], None] | None = None,
) -> list[Record]:
    """Build the demo zoo in `folder` (`indexed/`, `held_out/`, `truth.parquet`); keeps what is there.

    About 90 s on two free cores (155 s of CPU time) and 0.7 GB of disk. Raises `assets.MissingAsset`
    (as the cause of a RuntimeError) if the packages of MiniLM or of the texts are not installed.
    """
    return build(folder, demo_items(seed), workers=workers, progress=progress)
