"""The text models of the zoo: small classifiers and encoders from scratch, their children and thieves."""

from collections.abc import Collection, Mapping
from typing import Any

from provray.testbed.folders import Relation
from provray.testbed.zoo_plan import Base, Plan

_LENGTH = {"news": 40, "reviews": 32}
_OTHER_CORPUS = {"news": "reviews", "reviews": "news"}
_OTHER_FAMILY = {"bert": "gpt2", "gpt2": "bert"}
_TOKENIZER = {"bert": "wordpiece", "distilbert": "wordpiece", "gpt2": "bpe", "roberta": "bpe"}


def _shape(family: str, corpus: str) -> dict[str, Any]:
    return {
        "family": family,
        "tokenizer": _TOKENIZER[family],
        "vocabulary": 3000,
        "hidden": 64,
        "layers": 3,
        "heads": 4,
        "batch": 16,
        "length": _LENGTH[corpus],
    }


def text_twins(plan: Plan, family: str, corpus: str) -> tuple[Base, Base]:
    """Add four classifiers of one configuration on one corpus, and return the two that get families."""
    names = [f"{corpus}/{family}-{number}" for number in range(4)]
    for number, name in enumerate(names):
        settings = {
            **_shape(family, corpus),
            "corpus": corpus,
            "objective": "classify",
            "steps": 220,
            "rate": 3e-3,
            "fold": number % 2,
        }
        relation: Relation = "base" if number < 2 else "twin"
        plan.add(name, relation, "text_base", settings, method=relation, data=corpus, seconds=7)
    for number, name in enumerate(names[:2]):
        for data in (corpus, _OTHER_CORPUS[corpus]):
            ending = "start again" if data == corpus else f"start on {data}"
            settings = {
                **_shape(family, data),
                "corpus": data,
                "objective": "classify",
                "steps": 220,
                "rate": 3e-3,
                "start": plan.seed(name),
                "fold": number,
            }
            plan.add(
                f"{name} {ending}",
                "same start",
                "text_base",
                settings,
                method="same start",
                data=data,
                seconds=7,
            )
    first, second = (Base(names[n], family, corpus, n, 7, twin=names[n + 2]) for n in (0, 1))
    return first, second


def text_family(plan: Plan, base: Base, only: Collection[str] | None = None) -> None:
    """Add the children and thieves of a text classifier; `only` names methods, None takes all."""
    corpus, other = base.data, _OTHER_CORPUS[base.data]
    tune = {
        "corpus": corpus,
        "same_head": True,
        "steps": 60,
        "batch": 16,
        "rate": 5e-4,
        "length": _LENGTH[corpus],
    }
    head = {**tune, "corpus": other, "same_head": False, "head_rate": 5e-3}

    def add(
        method: str,
        relation: Relation,
        recipe: str,
        settings: Mapping[str, Any],
        parent: str = base.model,
        seconds: float = 2.0,
    ) -> str:
        name = f"{base.model}.{method}"
        if only is None or method in only:
            plan.add(
                name,
                relation,
                recipe,
                settings,
                parent=parent,
                method=method,
                data=str(settings.get("corpus", "")),
                seconds=seconds,
            )
        return name

    tuned = add("fine-tune", "fine-tune", "text_classify", tune)
    add("int8", "quantised", "compress", {"method": "quantise", "bits": 8})
    if only is not None:
        return
    add("int4", "quantised", "compress", {"method": "quantise", "bits": 4, "group": 32})
    add("bfloat16", "cast", "compress", {"method": "bfloat16"})
    add("float16", "cast", "compress", {"method": "float16"})
    add("noise", "noise", "compress", {"method": "noise", "scale": 0.05})
    headed = add("new-head", "new head", "text_classify", head)
    add("frozen-body", "new head", "text_classify", {**head, "frozen": True})
    add("adapter", "adapter", "text_classify", {**tune, "adapter": 4, "rate": 2e-3})
    contrast = {"corpus": other, "steps": 50, "batch": 16, "length": 24, "words": 12, "rate": 5e-4}
    add("continued", "continued", "text_contrast", contrast)
    for percent in (30, 60, 80):
        cut = add(
            f"prune-{percent}", "pruned", "compress", {"method": "prune", "fraction": percent / 100}
        )
        if percent > 30:
            again = {**tune, "masked": True}
            add(f"prune-{percent} recovered", "pruned", "text_classify", again, cut)
    add("fine-tune, prune-60", "pruned", "compress", {"method": "prune", "fraction": 0.6}, tuned)
    add(
        "new-head, int4",
        "quantised",
        "compress",
        {"method": "quantise", "bits": 4, "group": 32},
        headed,
    )
    add("layer-dropped", "layers dropped", "compress", {"method": "drop layer", "layer": 1})
    add("permuted", "permuted", "evade", {"method": "permute"})
    add("rescaled", "rescaled", "evade", {"method": "rescale"})
    add("classes permuted", "permuted", "evade", {"method": "permute classes"})
    siblings = (tuned, add("fine-tune-again", "fine-tune", "text_classify", {**tune, "rate": 8e-4}))
    for method in ("linear", "slerp", "ties"):
        plan.add(
            f"{base.model}.merge-{method}",
            "merged",
            "merge",
            {"method": method},
            others=(*siblings, base.model) if method == "ties" else siblings,
            lineage=siblings,
            method=f"merge-{method}",
            data=corpus,
        )
    for is_same in (True, False):
        family = base.architecture if is_same else _OTHER_FAMILY[base.architecture]
        student = {**_shape(family, corpus), "corpus": corpus, "rate": 3e-3, "steps": 220}
        for hard, budget in ((False, 500), (False, 2000), (True, 500), (True, 2000)):
            method = f"steal {'hard' if hard else 'soft'} {'same' if is_same else 'other'} {budget}"
            settings = {**student, "hard": hard, "queries": budget}
            add(method, "stolen", "text_steal", settings, seconds=8)
        label = "same" if is_same else "other"
        # on the victim's own training texts: distillation by its owner
        settings = {**student, "hard": False, "queries": 1000, "use": "zoo"}
        add(f"distil-{label}", "distilled", "text_steal", settings, seconds=8)


def encoders(plan: Plan) -> None:
    """Add encoders of several architectures and seeds, trained alike on the news: look-alikes of each other."""
    for family in ("bert", "distilbert", "roberta", "gpt2"):
        for number in range(2):
            settings = {
                **_shape(family, "news"),
                "corpus": "news",
                "objective": "contrast",
                "length": 24,
                "words": 18,
                "steps": 260,
                "batch": 32,
                "rate": 2e-3,
                "fold": number,
            }
            plan.add(
                f"encoders/{family}-{number}",
                "look-alike",
                "text_base",
                settings,
                method="look-alike encoder",
                data="news, contrastive",
                seconds=12,
            )
