"""The image classifiers of the zoo: bases, their children, thieves and hard strangers."""

from collections.abc import Collection, Mapping
from typing import Any

from provray.testbed.folders import Relation
from provray.testbed.pictures import Pictures
from provray.testbed.zoo_plan import Base, Plan

ARCHITECTURES = ("resnet", "vit", "convnext", "efficientnet")
#: Who steals and learns whom across architectures.
OTHER = {"resnet": "vit", "vit": "convnext", "convnext": "efficientnet", "efficientnet": "resnet"}
_RATE = {"resnet": 4e-3, "vit": 2.5e-3, "convnext": 3e-3, "efficientnet": 4e-3}
#: Milliseconds of training a picture, for guesses of cost.
_COST = {"resnet": 0.5, "vit": 1.0, "convnext": 0.75, "efficientnet": 1.2}
_HEAD_TASK: Mapping[Pictures, str] = {"fashion": "kind", "digits": "parity"}
_OTHER_DATA: Mapping[Pictures, Pictures] = {"fashion": "digits", "digits": "fashion"}
_TRAINING_PICTURES: Mapping[Pictures, int] = {"fashion": 4000, "digits": 1000}
DIGIT = {"task": "digit"}


def networks(
    plan: Plan, data: Pictures, architecture: str, *, longer: float = 1.0
) -> tuple[Base, Base]:
    """Add four networks of one configuration on one collection, and return the two that get families.

    The other two are their twins, one in each fold.
    """
    seconds = 8 * longer * _TRAINING_PICTURES[data] * _COST[architecture] / 1000
    names = [f"{data}/{architecture}-{number}" for number in range(4)]
    for number, name in enumerate(names):
        settings = {
            "architecture": architecture,
            "pictures": data,
            "longer": longer,
            "fold": number % 2,
        }
        relation: Relation = "base" if number < 2 else "twin"
        plan.add(
            name, relation, "vision_base", settings, data=data, seconds=seconds, method=relation
        )
    first, second = (
        Base(names[n], architecture, data, n, seconds, twin=names[n + 2]) for n in (0, 1)
    )
    return first, second


def _pictures(base: Base) -> Pictures:
    return "fashion" if base.data == "fashion" else "digits"


def trained_children(plan: Plan, base: Base, only: Collection[str] | None = None) -> None:
    """Add the children that further training makes; `only` names methods, None takes all."""
    data = _pictures(base)
    own: dict[str, Any] = {"pictures": data}
    epochs = {"fashion": 1.0, "digits": 3.0}[data]
    tune = {"share": 0.5, "epochs": epochs, "gentler": 4, **own}
    cost = epochs * _TRAINING_PICTURES[data] * _COST[base.architecture] / 1000

    def add(
        method: str,
        relation: Relation,
        recipe: str,
        settings: Mapping[str, Any],
        parent: str = base.model,
        **more: Any,
    ) -> str:
        name = f"{base.model}.{method}"
        if only is None or method in only:
            given = {"seconds": cost, "data": data, **more}
            plan.add(name, relation, recipe, settings, parent=parent, method=method, **given)
        return name

    tuned = add("fine-tune", "fine-tune", "vision_finetune", tune)
    task = _HEAD_TASK[data]
    head = {"task": task, "epochs": epochs, "gentler": 4, **own}
    headed = add("new-head", "new head", "vision_new_head", head)
    add("frozen-body", "new head", "vision_new_head", {**head, "frozen": True, "gentler": 1})
    add("adapter", "adapter", "vision_finetune", {**tune, "adapter": 4, "gentler": 1})
    distil = {"queries": 4000, "epochs": 3, **own}
    other = OTHER[base.architecture]
    for method, architecture in (("distil-same", base.architecture), ("distil-other", other)):
        settings = {**distil, "architecture": architecture, "rate": _RATE[architecture]}
        seconds = 12 * _COST[architecture]
        add(method, "distilled", "vision_distil", settings, seconds=seconds)
    if only is not None:
        return
    away = _OTHER_DATA[data]
    more = {**tune, "pictures": away, "share": 1.0 if away == "digits" else 0.25}
    add("continued", "continued", "vision_finetune", more, data=away)
    again = add("fine-tune-again", "fine-tune", "vision_finetune", {**tune, "share": 0.4})
    pruned = {"method": "prune", **DIGIT, **own}
    for percent in (60, 80):
        cut = add(
            f"prune-{percent}",
            "pruned",
            "compress",
            {**pruned, "fraction": percent / 100},
            seconds=1,
        )
        add(
            f"prune-{percent} recovered", "pruned", "vision_finetune", {**tune, "masked": True}, cut
        )
    add("fine-tune, prune-60", "pruned", "compress", {**pruned, "fraction": 0.6}, tuned)
    int4 = {"method": "quantise", "bits": 4, "group": 32, "task": task, **own}
    add("new-head, int4", "quantised", "compress", int4, headed)
    for method in ("linear", "slerp", "ties"):
        siblings = (tuned, again)
        plan.add(
            f"{base.model}.merge-{method}",
            "merged",
            "merge",
            {"method": method, **DIGIT, **own},
            others=(*siblings, base.model) if method == "ties" else siblings,
            lineage=siblings,
            method=f"merge-{method}",
            data=data,
        )
    members = (base.model, base.twin)
    plan.add(
        f"{base.model}.ensemble",
        "distilled",
        "vision_distil",
        {**distil, "architecture": base.architecture, "rate": _RATE[base.architecture]},
        others=members,
        lineage=members,
        method="ensemble",
        data=data,
        seconds=12 * _COST[base.architecture],
    )


def compressed(plan: Plan, base: Base, only: Collection[str] | None = None) -> None:
    """Add what rounding, casting, pruning, noise and dropped layers make; prune-60 and -80 only if `only` asks.

    Without `only` those two come from `trained_children`, which needs them for recovery.
    """
    ways: dict[str, tuple[Relation, dict[str, Any]]] = {
        "prune-30": ("pruned", {"method": "prune", "fraction": 0.3}),
        "prune-60": ("pruned", {"method": "prune", "fraction": 0.6}),
        "prune-80": ("pruned", {"method": "prune", "fraction": 0.8}),
        "int8": ("quantised", {"method": "quantise", "bits": 8}),
        "int4": ("quantised", {"method": "quantise", "bits": 4, "group": 32}),
        "bfloat16": ("cast", {"method": "bfloat16"}),
        "float16": ("cast", {"method": "float16"}),
        "noise": ("noise", {"method": "noise", "scale": 0.05}),
    }
    if base.architecture in ("vit", "convnext"):
        layer = 2 if base.architecture == "vit" else 1
        ways["layer-dropped"] = ("layers dropped", {"method": "drop layer", "layer": layer})
    for method, (relation, settings) in ways.items():
        if method in only if only is not None else method not in ("prune-60", "prune-80"):
            plan.add(
                f"{base.model}.{method}",
                relation,
                "compress",
                {**settings, **DIGIT, "pictures": base.data},
                parent=base.model,
                method=method,
            )


def evasions(plan: Plan, base: Base, only: Collection[str] | None = None) -> None:
    """Add what keeps the function and changes every weight."""
    ways: dict[str, tuple[Relation, str]] = {
        "permuted": ("permuted", "permute"),
        "rescaled": ("rescaled", "rescale"),
        "classes permuted": ("permuted", "permute classes"),
    }
    if base.architecture == "efficientnet":
        del ways["rescaled"]  # no function between its layers is homogeneous
    for method, (relation, way) in ways.items():
        if only is None or method in only:
            settings = {"method": way, **DIGIT, "pictures": base.data}
            name = f"{base.model}.{method}"
            plan.add(name, relation, "evade", settings, parent=base.model, method=method)


def thefts(
    plan: Plan,
    base: Base,
    *,
    budgets: Collection[int],
    hard: Collection[bool] = (False, True),
    same: Collection[bool] = (True, False),
    adversarial: bool = False,
) -> None:
    """Add thieves: soft or hard labels, the same or another architecture, by budget of queries."""
    for is_same in same:
        architecture = base.architecture if is_same else OTHER[base.architecture]
        for is_hard in hard:
            for queries in budgets:
                epochs = {500: 10.0, 1000: 5.0, 2000: 3.0, 10000: 1.5}[queries]
                method = (
                    f"steal {'hard' if is_hard else 'soft'} "
                    f"{'same' if is_same else 'other'} {queries}"
                )
                settings: dict[str, Any] = {
                    "architecture": architecture,
                    "pictures": base.data,
                    "hard": is_hard,
                    "queries": queries,
                    "noise": 0.05,
                    "epochs": epochs,
                    "rate": _RATE[architecture],
                }
                if adversarial:
                    method += " adversarial"
                    settings["adversarial"] = 1.0
                plan.add(
                    f"{base.model}.{method}",
                    "stolen",
                    "vision_steal",
                    settings,
                    parent=base.model,
                    method=method,
                    data=f"{base.data}, the thief's",
                    seconds=epochs * queries * _COST[architecture] / 1000,
                )


def same_start(plan: Plan, base: Base) -> None:
    """Add two networks that start from the base's initial weights: one learns other data, one the same data in another
    order. Kin by start only."""
    away = _OTHER_DATA[_pictures(base)]
    for name, data in (
        (f"{base.model} start on {away}", away),
        (f"{base.model} start again", base.data),
    ):
        longer = {"longer": 0.5} if data == "fashion" else {}
        plan.add(
            name,
            "same start",
            "vision_base",
            {
                "architecture": base.architecture,
                "pictures": data,
                "start": plan.seed(base.model),
                "fold": base.fold,
                **longer,
            },
            method="same start",
            data=data,
            seconds=base.seconds,
        )


def controls(plan: Plan, base: Base) -> None:
    """Add a network trained on a thief's 2,000 inputs with their true labels: the same data, no victim."""
    plan.add(
        f"{base.model} control",
        "control",
        "vision_control",
        {
            "architecture": base.architecture,
            "pictures": base.data,
            "queries": 2000,
            "epochs": 3.0,
            "rate": _RATE[base.architecture],
            "fold": base.fold,
        },
        method="control",
        data=f"{base.data}, the thief's",
        seconds=6 * _COST[base.architecture],
    )
