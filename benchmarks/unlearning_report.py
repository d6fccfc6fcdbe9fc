"""What a run of `unlearning.py` says: summary, Markdown and figure of its checkpoints. No program of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from provray.testbed.unlearning import Knowledge, separation

CLASSES = ("forgotten", "others")
"""Natural probes of the forgotten class, and as many of the others, for the fields by class."""
REAL = ("retrained", "retrained, same start")
APPROXIMATE = ("fine-tuned", "random labels, repair", "ascent, repair", "fine-tuned hard")
UNRELATED = ("other seed", "other labels", "other data")
ROWS = (
    "GiF top logit",
    "GiF feature norm",
    "GiF top logit, stored sketch",
    "GiF feature norm, stored sketch",
    "DNA probabilities, mixed",
    "DNA last layer, noise",
    "weights sketch",
)
HEADLINE = ROWS[0]
CONTESTS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "retrained against all four": (REAL[:1], APPROXIMATE),
    "retrained from the same start against all four": (REAL[1:], APPROXIMATE),
    "retrained from the same start against the three gentle ones": (REAL[1:], APPROXIMATE[:3]),
}


@dataclass(frozen=True)
class Point:
    """One checkpoint, `fraction` of its own training done. Distances to the reference and to a retrained model by row;
    `by_class`: GiF distance to the reference on natural probes of the forgotten class and on others."""

    architecture: str
    seed: int
    forgotten: int
    condition: str
    fraction: float
    reference: Mapping[str, float]
    retrained: Mapping[str, float]
    by_class: Mapping[str, float]
    knows: Knowledge


def summarise(points: Sequence[Point]) -> dict[str, Any]:
    """Where every condition ends, by architecture; and how well each distance tells real from approximate."""
    final = [p for p in points if p.fraction == 1]
    ends: dict[str, Any] = {}
    for architecture in _architectures(points):
        ends[architecture] = {}
        for condition in ("reference", *REAL, *APPROXIMATE, *UNRELATED):
            of = [p for p in final if (p.architecture, p.condition) == (architecture, condition)]
            ends[architecture][condition] = {
                "reference": {row: [p.reference[row] for p in of] for row in ROWS},
                "retrained": {row: [p.retrained[row] for p in of] for row in ROWS},
                "by_class": {name: [p.by_class[name] for p in of] for name in of[0].by_class},
                "forgotten": [p.knows.forgotten for p in of],
                "kept": [p.knows.kept for p in of],
            }
    told = {
        name: {row: asdict(separation(_cells(final, row, *sides))) for row in ROWS}
        for name, sides in CONTESTS.items()
    }
    ascended = [p for p in points if p.condition == APPROXIMATE[2] and 0 < p.fraction < 0.5]
    unrepaired = {
        architecture: {
            "reference": [
                p.reference[HEADLINE] for p in ascended if p.architecture == architecture
            ],
            "kept": [p.knows.kept for p in ascended if p.architecture == architecture],
        }
        for architecture in ends
    }
    return {"ends": ends, "told": told, "unrepaired": unrepaired}


def _cells(
    final: Sequence[Point], row: str, real: Sequence[str], approximate: Sequence[str]
) -> list[tuple[list[float], list[float]]]:
    """Distances to the reference of real and of approximate unlearning, a pair for each architecture and seed."""
    found: dict[tuple[str, int], tuple[list[float], list[float]]] = {}
    for p in final:
        sides = found.setdefault((p.architecture, p.seed), ([], []))
        for side, conditions in zip(sides, (real, approximate), strict=True):
            if p.condition in conditions:
                side.append(p.reference[row])
    return list(found.values())


def short(value: Any) -> Any:
    """The same figures with three decimals."""
    return json.loads(json.dumps(value), parse_float=lambda number: round(float(number), 3))


def markdown(figures: dict[str, Any], protocol: Mapping[str, int]) -> str:
    """The results in words and tables, hard cases first. `protocol`: the numbers that its last section names."""
    told = figures["told"]
    contests = [
        "| distance to the reference | " + " | ".join(CONTESTS) + " |",
        "| --- |" + " --- |" * len(CONTESTS),
    ]
    for row in ROWS:
        cells = []
        for name in CONTESTS:
            found = told[name][row]
            gap = f"{found['gap']:+.2f} {_span(found['gap_interval'])}, lowest {found['lowest_gap']:+.2f}"
            cells.append(f"{found['auc']:.2f} {_span(found['auc_interval'])}; {gap}")
        contests.append(f"| {row} | {' | '.join(cells)} |")
    ends = []
    for architecture, conditions in figures["ends"].items():
        ends += [
            f"### {architecture}",
            "",
            END_HEAD,
            "| --- |" + " --- |" * END_HEAD[:-1].count(" |"),
        ]
        for condition, end in conditions.items():
            near, knows = end["reference"], [end["forgotten"], end["kept"]]
            shown = [near[row] for row in (*ROWS[:2], ROWS[4], ROWS[6])]
            shown += [end["retrained"][HEADLINE], *end["by_class"].values()]
            cells = [_range(values) for values in shown]
            # of models with other classes this means nothing
            cells += (
                ["–", "–"] if condition in UNRELATED[1:] else [_range(values) for values in knows]
            )
            ends.append(f"| {condition} | {' | '.join(cells)} |")
        ends.append("")
    whole, same, _ = (told[name] for name in CONTESTS)
    everyone = figures["ends"].values()

    def over(conditions: Sequence[str], *path: str) -> str:
        """Lowest and highest of these conditions over architectures and seeds."""
        found = []
        for ends in everyone:
            for condition in conditions:
                value = ends[condition]
                for key in path:
                    value = value[key]
                found += value
        return f"{min(found):.2f} – {max(found):.2f}"

    groups = {
        "retrained": REAL[:1],
        "same": REAL[1:],
        "stranger": UNRELATED[:1],
        "gentle": APPROXIMATE[:3],
        "hard": APPROXIMATE[3:],
        "all": APPROXIMATE,
        "reference": ("reference",),
    }
    return TEXT.format(
        contests="\n".join(contests),
        ends="\n".join(ends),
        whole=whole[HEADLINE],
        same=same[HEADLINE],
        dna=same[ROWS[4]],
        verdict="yes"
        if min(whole[HEADLINE]["lowest_gap"], same[HEADLINE]["lowest_gap"]) > 0
        else "not always",
        near={name: over(of, "reference", HEADLINE) for name, of in groups.items()},
        far={name: over(of, "retrained", HEADLINE) for name, of in groups.items()},
        unrepaired="; ".join(
            f"{name} {_range(of['reference'])}, right on {_range(of['kept'])} of the other classes"
            for name, of in figures["unrepaired"].items()
        ),
        weights=over(REAL[1:], "reference", "weights sketch").split()[-1],
        by_class={name: over(APPROXIMATE[:3], "by_class", name) for name in CLASSES},
        moved={name: over(REAL[:1], "by_class", name) for name in CLASSES},
        room=100 * (1 - 0.05 ** (1 / protocol["cells"])),
        **protocol,
    )


END_HEAD = (
    "| model | GiF top logit | GiF norm | DNA probabilities | weights | GiF to retrained | "
    "GiF, forgotten class | GiF, others | knows class | knows others |"
)


def _architectures(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(p.architecture for p in points))


def _span(interval: Sequence[float]) -> str:
    return f"[{interval[0]:.2f}, {interval[1]:.2f}]"


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    mean = f"{float(np.mean(values)) + 0.0:.2f}"
    return mean if high - low < 0.005 else f"{mean} ({low:.2f} – {high:.2f})"


def draw(points: Sequence[Point], path: Path) -> None:
    """GiF distance to the reference and to a retrained model, and what is known of the class, over training."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = (
        ("GiF distance to the reference", lambda p: p.reference[HEADLINE]),
        ("GiF distance to a retrained model", lambda p: p.retrained[HEADLINE]),
        ("forgotten class recognised", lambda p: p.knows.forgotten),
    )
    names = _architectures(points)
    figure, axes = plt.subplots(
        len(names), 3, figsize=(13, 7.5), layout="constrained", squeeze=False
    )
    for line, architecture in zip(axes, names, strict=True):
        for axis, (title, value) in zip(line, panels, strict=True):
            for number, condition in enumerate((*REAL, *APPROXIMATE, *UNRELATED)):
                of = [
                    p for p in points if (p.architecture, p.condition) == (architecture, condition)
                ]
                shares = sorted({round(p.fraction, 2) for p in of})
                values = [[value(p) for p in of if round(p.fraction, 2) == s] for s in shares]
                mean = [float(np.mean(v)) for v in values]
                style = "-" if condition in REAL else "--"
                colour = f"C{number}"
                if condition in UNRELATED[1:]:
                    continue
                if condition in UNRELATED:
                    axis.axhline(mean[-1], color="black", ls=":", label="other seed, all classes")
                    continue
                axis.plot(shares, mean, style, color=colour, marker="o", ms=4, label=condition)
                low, high = [min(v) for v in values], [max(v) for v in values]
                axis.fill_between(shares, low, high, color=colour, alpha=0.1, lw=0)
            axis.set(title=f"{architecture}: {title}", ylim=(-0.03, 1.13))
            axis.set_xlabel("share of its training")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
    figure.savefig(path, dpi=80)
    plt.close(figure)


TEXT = """# Unlearning

Does GiF tell a model that never saw a class from one that was made to forget it? Distances are 1 − cosine: 0 is the
same model, 1 is chance. Ranges are over {cells} cells: two architectures × three seeds, another forgotten class under
each.

## What to know first

- **By its distance to a retrained model: no.** That is {far[retrained]} for another retrained one, {far[reference]}
  for the reference itself and {far[all]} for approximate ones. Models retrained alike from different initial weights
  are as far apart as strangers.
- **Wreckage passes.** Stopped after climbing the loss, before any repair, a model is far from the reference too:
  {unrepaired}. So far from the reference means made anew only of a model that works.
- **It tells descent, not knowledge.** A model of another seed that knows the class is as far as a retrained one, so
  what a model knows must be asked beside it; and asked alone, that cannot tell the better approximate ways from
  retraining.
- **By its distance to the reference: {verdict}.** Top-logit GiF puts models retrained from other initial weights at
  {near[retrained]}, as far as a model of another seed ({near[stranger]}); retrained from the reference's own initial
  weights at {near[same]}; approximate ones at {near[gentle]}; and, the hard case, {near[hard]} after fine-tuning as
  long and as fast as the reference was trained (longer would cost more than retraining, and was not tried). Pairs in
  the right order: {whole[auc]:.2f}, from the same start {same[auc]:.2f}; worst gaps {whole[lowest_gap]:+.2f} and
  {same[lowest_gap]:+.2f}.
- **Weights see it less clearly.** Retrained from the same initial weights, a model stays within {weights} of the
  reference by the weights sketch: initial weights outlast this much training. DNA of probabilities orders
  {dna[auc]:.2f} of those pairs.
- The approximate ways move the fields on images of the forgotten class (GiF {by_class[forgotten]}) more than on
  others ({by_class[others]}); retraining from another start moves both ({moved[forgotten]} and {moved[others]}).

## Real against approximate

Cells: AUC with 95 % interval over bootstrap samples of the {cells} cells; gap between the nearest real and the
farthest approximate model of a cell, mean with Student's 95 % interval, and the lowest of all cells. An interval of
[1, 1] says that no cell failed, no more: {cells} cells leave room for failure in {room:.0f} % of them.

{contests}

## Where each model ends

Mean over three seeds (lowest – highest).

{ends}
![Distances over training](unlearning.png)

## Protocol

- *Data.* Fashion-MNIST at 16×16. Training: 4,000 images, of which the forgotten class is about a tenth. Knowledge is
  measured on 1,000 others, probes are 128 more (with provray's mixtures and noise, default settings): no model was
  trained on either. Forgotten: bag, sandal, t-shirt under seeds 0, 1, 2.
- *Models.* The small ResNet and DeiT of the testbed, {steps} steps of {batch} images. Retrained: the same training
  without the class, from other initial weights or from the reference's. Approximate, all from the reference:
  fine-tuning on the other classes; random other labels for the class, then repair; climbing its loss, then repair
  ({short} steps, {first} of them to forget, a fifth of the rate); and fine-tuning hard, {steps} steps at the full
  rate. Unrelated: the reference of another seed, one trained for kinds of clothes, one trained on digits.
- *Distances.* GiF: mean over probes and points of the path, before the sketch; `stored sketch` is what an index
  keeps. DNA and weights as stored, none of them centred. The retrained model that distances go to is one more, of yet
  other initial weights.
- Rates and steps of the approximate ways were set on the first seed so that the class is forgotten and the others
  kept, before the other seeds were run. Nothing else was tuned.
- {cpu_seconds} s of CPU time on one thread."""
